"""The engine external: services that others run. Nothing is started, stopped or deleted; each is used for real."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from typing import Final

from k2ctl.endpoints import Endpoints, forget_endpoints, load_endpoints, save_endpoints, without_password
from k2ctl.errors import K2Error, NotAllowed, StackError, UnknownTable, UsageError
from k2ctl.home import Home
from k2ctl.kafka.probe import PROBE_TOPIC
from k2ctl.profiles import External, load_external, load_profile, profile_names, profile_path
from k2ctl.stack.engine import Event, Phase, Report, ServiceStatus, Up, Wanted, note
from k2ctl.stack.processes import log_lines
from k2ctl.stack.readiness import health, try_for_real
from k2ctl.stack.replicas import started_records, stop_processes

CATALOG_PATIENCE_S: Final = 10
_ASKED: Final = {
    "kafka": "asked at {} for a record there and back",
    "redis": "pinged",
    "catalog": "asked for its namespaces",
    "warehouse": "asked to put an object, give it back and delete it",
}


class ExternalEngine:
    """Reads where the services are from the profile, and tries them."""

    def __init__(self, home: Home) -> None:
        self._home = home

    @property
    def name(self) -> str:
        """See `Engine`."""
        return "external"

    def up(self, profile: str, wanted: Wanted, report: Report) -> Up:
        """See `Engine`. The endpoints are written once every service works; a second `up` reads the secrets again.

        Not to wait is to write them untried, for those who wait themselves.
        """
        wanted.refuse_containers(self.name, always_waits=False)
        started_s = time.monotonic()
        endpoints, before = _endpoints(load_external(profile), profile, self._home), self._endpoints()
        same = before is not None and replace(endpoints, started_at_us=before.started_at_us) == before
        if before is not None and not same:
            _require_no_consumers(self._home)
        if wanted.wait:
            _require_all(endpoints, report)
        if before is None or not same:
            save_endpoints(endpoints)
        return Up(endpoints, same, False, time.monotonic() - started_s, tried=wanted.wait)

    def down(self, *, volumes: bool, report: Report) -> bool:  # noqa: ARG002 - the data is others'
        """See `Engine`. Consumers of this machine end; what others run is not touched, with `volumes` neither."""
        endpoints = self._endpoints()
        if endpoints is not None:
            report(note("stopping consumers"))
            stop_processes(self._home, [record.name for record in started_records(self._home)])
            forget_endpoints(self._home)
        return endpoints is not None

    def is_up(self) -> bool:
        """See `Engine`."""
        return self._endpoints() is not None

    def _endpoints(self) -> Endpoints | None:
        endpoints = load_endpoints(self._home)
        return endpoints if endpoints is not None and endpoints.engine == self.name else None

    def status(self, *, figures: bool = True) -> list[ServiceStatus]:  # noqa: ARG002 - they are others' to know
        """Every service is tried again."""
        endpoints = self._endpoints()
        if endpoints is None:
            return []
        services = _addresses(endpoints)
        with ThreadPoolExecutor() as pool:
            found = pool.map(lambda service: health(endpoints, service), services)
        return [
            ServiceStatus(service, self.name, said, address)
            for (service, address), said in zip(services.items(), found, strict=True)
        ]

    def log_lines(self, service: str, *, follow: bool) -> Iterator[str]:
        """See `Engine`. Only consumers in the background have one here."""
        endpoints = self._endpoints()
        address = _addresses(endpoints).get(service) if endpoints else None
        if address is not None:
            raise UsageError(
                f"The log of {service} is with those who run it, at {without_password(address)}.",
                "Whether it works: k2ctl stack status. Consumers have theirs here: k2ctl stack logs consumer-1",
            )
        return log_lines(service, follow=follow, home=self._home)


def _endpoints(platform: External, profile: str, home: Home) -> Endpoints:
    """The endpoints that a profile names; the profile itself by a path that holds in every folder."""
    return Endpoints(
        engine="external",
        bootstrap_servers=platform.kafka.bootstrap_servers,
        catalog_uri=_patient(platform.catalog),
        warehouse=platform.warehouse.rstrip("/"),
        state_url="memory://" if platform.state == "memory" else platform.state,
        table=load_profile(profile).lake.table,
        profile=profile if profile in profile_names() else str(profile_path(profile).resolve()),
        started_at_us=time.time_ns() // 1000,
        storage=dict(platform.storage),
        catalog_access=dict(platform.catalog_access),
        kafka=dict(platform.kafka.properties),
        home=home,
    )


def _patient(catalog: str) -> str:
    """The catalog's address, of a service without a slash at its end.

    Of a database with a limit on how long a connection may take: without one it is the system's minutes.
    """
    if catalog.startswith("http"):
        return catalog.rstrip("/")
    if not catalog.startswith("postgresql") or "connect_timeout=" in catalog:
        return catalog
    return f"{catalog}{'&' if '?' in catalog else '?'}connect_timeout={CATALOG_PATIENCE_S}"


def _addresses(endpoints: Endpoints) -> dict[str, str]:
    """service → where it is; passwords and all."""
    found = {"kafka": endpoints.bootstrap_servers, "redis": endpoints.state_url, "catalog": endpoints.catalog_uri}
    if endpoints.state_url == "memory://":
        del found["redis"]
    return {**found, "warehouse": endpoints.warehouse}


def _require_no_consumers(home: Home) -> None:
    running = [record.name for record in started_records(home) if record.alive]
    if running:
        raise StackError(
            f"{', '.join(running)}: running with the endpoints as they were, and the profile names others now.",
            "End them first: k2ctl consume stop --all",
        )


def _require_all(endpoints: Endpoints, report: Report) -> None:
    """Use every service for real, all at the same time.

    Raises:
        StackError: those that do not work: what was asked where, and what came back.
    """
    services = _addresses(endpoints)
    failed = {}
    with ThreadPoolExecutor() as pool:
        for service in services:
            report(Event(Phase.PROBE, service))
        tried = {pool.submit(_try, endpoints, service): service for service in services}
        for done in as_completed(tried):
            service, (works, said) = tried[done], done.result()
            report(Event(Phase.HEALTHY if works else Phase.FAILED, service, said))
            if not works:
                failed[service] = said
    if failed:
        reports = [
            f"\n  {service}, {_ASKED[service].format(address)}: {failed[service]}"
            for service, address in services.items()
            if service in failed
        ]
        raise StackError(
            f"Of {len(services)} external services {len(failed)} did not do what was asked:{''.join(reports)}",
            f"Correct the section `external` of {endpoints.profile}, or ask those who run it; then again: "
            f"k2ctl stack up --engine external --profile {endpoints.profile}",
        )


def _try(endpoints: Endpoints, service: str) -> tuple[bool, str]:
    """Whether a service works, and what there is to say of it."""
    try:
        try_for_real(endpoints, service)
        if service == "catalog" and endpoints.catalog_uri.startswith("http"):
            return True, _tried_service(endpoints)
    except NotAllowed as error:
        return True, f"answers; no record was tried on {PROBE_TOPIC}: {error}"
    except UnknownTable as error:
        return True, f"{error} {error.hint}"  # with the endpoints written it can be registered
    except K2Error as error:
        return False, str(error)
    return True, ""


def _tried_service(endpoints: Endpoints) -> str:
    """Use a REST catalog with a table of its own; what it does not offer, and what was left there."""
    from k2ctl.lake.trial import limits_of, try_service  # pyiceberg takes a second to import

    lacking, left = limits_of(endpoints), try_service(endpoints)
    said = [f"it does not offer to {'; to '.join(lacking)}"] if lacking else []
    return ". ".join([*said, *(f"it kept {what}" for what in left)])
