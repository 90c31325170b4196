"""Real readiness: a record goes in and comes out, a catalog lists, Redis answers. Not merely an open port."""

from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlparse

from k2ctl.domain.topics import TABLE
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, K2Error, LakeError, NotAllowed, StackError, UnknownTable
from k2ctl.kafka.probe import round_trip
from k2ctl.retry import RetryPolicy, retry
from k2ctl.stack.redis_server import ping

RETRY_S: Final = 0.2


def wait_for_kafka(endpoints: Endpoints, timeout_s: float, still_alive: Callable[[], bool]) -> None:
    """Wait until a record makes the round trip.

    Raises:
        StackError: the process ended, or time ran out.
    """

    def again(error: Exception) -> bool:
        if isinstance(error, BrokerError) and not still_alive():
            raise StackError("Kafka ended while it started.", "See: k2ctl stack logs kafka") from error
        return isinstance(error, BrokerError)

    try:
        retry(lambda: round_trip(endpoints, timeout_s=5.0), policy=RetryPolicy(timeout_s, RETRY_S), again=again)
    except BrokerError as error:
        raise StackError(
            f"Kafka was not ready within {timeout_s:.0f} s: {error}", "See: k2ctl stack logs kafka"
        ) from error


def try_for_real(endpoints: Endpoints, service: str, *, thorough: bool = True) -> None:
    """Use a service as k2ctl uses it: kafka, redis, catalog or postgres, warehouse or object-store; no others.

    thorough: also those that need pyiceberg, which takes a second or two to import.

    Raises:
        K2Error: what did not work.
    """
    if service == "kafka":
        round_trip(endpoints, timeout_s=5.0)
    elif service == "redis":
        ping(endpoints.state_url)
    elif thorough and service in ("catalog", "postgres", "warehouse", "object-store"):
        from k2ctl.lake import catalog, trial  # pyiceberg takes a second to import

        if service in ("warehouse", "object-store"):
            trial.object_round_trip(endpoints)
        else:
            catalog.list_catalog(endpoints)


def lost_catalog(endpoints: Endpoints) -> str:
    """What to say where a catalog's file is gone, or empty, and the table's metadata is not; else nothing."""
    file, folder = (Path(urlparse(url).path.replace("//", "/")) for url in (endpoints.catalog_uri, endpoints.warehouse))
    if not endpoints.catalog_uri.startswith("sqlite") or (file.exists() and file.stat().st_size):
        return ""
    if not any(folder.glob(f"{(endpoints.table or TABLE).replace('.', '/')}/metadata/*.metadata.json")):
        return ""
    return f"The catalog {file} is gone, and the table is not. Register it again: k2ctl lake register"


def health(endpoints: Endpoints, service: str) -> str:
    """`healthy`, or what is wrong, for a service that `try_for_real` knows."""
    try:
        try_for_real(endpoints, service)
    except NotAllowed:
        pass  # it answered; what it lets this user do is between the two
    except UnknownTable as error:
        return f"{error} {error.hint}"
    except K2Error as error:
        return str(error)
    return _forgotten_tables(endpoints) if service in ("catalog", "postgres") else "healthy"


def _forgotten_tables(endpoints: Endpoints) -> str:
    """What to say of a catalog that answers and does not know the tables of its warehouse; else `healthy`."""
    from k2ctl.lake.catalog import require_known_tables

    try:
        require_known_tables(endpoints)
    except UnknownTable as error:
        return f"{error} {error.hint}"
    except LakeError:
        return (
            "healthy"  # the warehouse has a row of its own, and what is wrong with a table is no fault of the catalog
        )
    return "healthy"
