"""Where the running stack answers, as `stack up` writes it and every other command reads it; shown without secrets."""

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from k2ctl.errors import NotRunning, StackError
from k2ctl.files import read_object, write_atomically
from k2ctl.home import Home

LOGGER: Final = logging.getLogger("k2ctl.stack")

HIDDEN: Final = "…"
_SECRET: Final = re.compile(
    r"secret|session-token|password|passphrase|key-id|key\.pem|bearer\.config|^(token|credential)$"
)


class ProcessId(NamedTuple):
    """A process for as long as it lives: its number is used again, its number and start time are not."""

    pid: int
    created_s: float


@dataclass(frozen=True)
class Endpoints:
    """Where the running stack answers. What may hold a password stays out of the repr."""

    # embedded, local, docker or external
    engine: str
    bootstrap_servers: str
    catalog_uri: str = field(repr=False)
    warehouse: str
    state_url: str = field(default="memory://", repr=False)
    # Where the embedded Kafka is asked for what its wire protocol lacks.
    control_socket: str | None = None
    # The incarnation of the embedded Kafka; None: cluster id and topic id name it.
    epoch: str | None = None
    # A shipped profile by name, or a file by its whole path.
    profile: str = "laptop"
    # The table of trades; empty for the one that is made where nothing else is said.
    table: str = ""
    started_at_us: int = 0
    # Service → its process, for `status`, `logs` and `down`.
    processes: dict[str, "ProcessId"] = field(default_factory=dict)
    # What Iceberg's file IO needs to reach the warehouse (`s3.endpoint`, …); empty for local files.
    storage: dict[str, str] = field(default_factory=dict, repr=False)
    # What a REST catalog asks for (`token`, or `credential` and `scope`, …); empty for a database.
    catalog_access: dict[str, str] = field(default_factory=dict, repr=False)
    # What librdkafka's clients need to reach Kafka (`security.protocol`, …); empty for plain text.
    kafka: dict[str, str] = field(default_factory=dict, repr=False)
    # The state directory of the stack. It is not part of the document, which is written in it.
    home: Home = field(default_factory=Home.of_user, repr=False, compare=False)

    def document(self) -> dict[str, Any]:
        """What is written and shown, as JSON takes it."""
        found = asdict(self)
        del found["home"]
        return found

    def shown(self) -> "Endpoints":
        """The same for people's eyes and scripts' logs: without passwords and keys."""
        return replace(
            self,
            catalog_uri=without_password(self.catalog_uri),
            state_url=without_password(self.state_url),
            storage=without_secrets(self.storage),
            catalog_access=without_secrets(self.catalog_access),
            kafka=without_secrets(self.kafka),
        )


def _endpoints_file(home: Home) -> Path:
    """`K2CTL_ENDPOINTS` names it where another process wrote it: in a container, as a secret. Else the state's own."""
    configured = os.environ.get("K2CTL_ENDPOINTS")
    return Path(configured) if configured else home.path / "endpoints.json"


def save_endpoints(endpoints: Endpoints) -> None:
    """Replace the endpoints in one step, so that a reader never sees half a file."""
    write_atomically(_endpoints_file(endpoints.home), json.dumps(endpoints.document(), indent=2))


def load_endpoints(home: Home) -> Endpoints | None:
    """The endpoints that the last `stack up` left, or None; says nothing of whether the stack still lives."""
    try:
        raw = read_object(_endpoints_file(home))
        raw["processes"] = {
            service: ProcessId(int(pid), float(created_s))
            for service, (pid, created_s) in raw.get("processes", {}).items()
        }
        known = {f.name for f in fields(Endpoints) if f.name != "home"}
        return Endpoints(**{name: _checked(name, raw[name]) for name in known if name in raw}, home=home)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StackError(
            f"{_endpoints_file(home)} cannot be read: {error}", "Repair it with: k2ctl stack down && k2ctl stack up"
        ) from error


def _checked(name: str, value: Any) -> Any:
    """A member of the file of endpoints, if it is of the kind that it must be."""
    kinds = {"processes": ProcessId, "storage": str, "catalog_access": str, "kafka": str}
    if name in kinds:
        fits = isinstance(value, dict) and all(isinstance(one, kinds[name]) for one in value.values())
    elif name == "started_at_us":
        fits = isinstance(value, int)
    else:
        fits = isinstance(value, str) or (value is None and name in ("control_socket", "epoch"))
    if not fits:
        raise ValueError(f"{name} is not what `stack up` writes there")
    return value


def load_endpoints_or_nothing(home: Home) -> Endpoints | None:
    """The endpoints, or None; a damaged file is removed, since whoever asks is about to put things right."""
    try:
        return load_endpoints(home)
    except StackError as error:
        LOGGER.warning("the endpoints are removed", extra={"error": str(error)})
    forget_endpoints(home)
    return None


def require_endpoints(home: Home) -> Endpoints:
    """The endpoints of the stack. `K2CTL_TABLE` names another table than its profile's.

    Raises:
        NotRunning: there are none.
        StackError: the state directory is not where it was.
    """
    endpoints = load_endpoints(home)
    if endpoints is None:
        raise NotRunning
    endpoints.home.require_unmoved()
    return replace(endpoints, table=os.environ.get("K2CTL_TABLE") or endpoints.table)


def forget_endpoints(home: Home) -> None:
    """The stack is down."""
    _endpoints_file(home).unlink(missing_ok=True)


def is_secret(name: str) -> bool:
    """True if a setting of that name holds a secret."""
    return _SECRET.search(name) is not None


def without_secrets(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings with their secrets hidden."""
    return {name: HIDDEN if is_secret(name) else value for name, value in settings.items()}


def without_password(url: str) -> str:
    """A URL as it may be shown: `postgresql://k2:…@host/catalog`."""
    bare = re.sub(r"(?<=://)([^/?#]*?):[^/?#]*@", rf"\1:{HIDDEN}@", url)
    return re.sub(
        r"([?&])([^=&#]+)=[^&#]*",
        lambda found: f"{found[1]}{found[2]}={HIDDEN}" if is_secret(found[2]) else found[0],
        bare,
    )
