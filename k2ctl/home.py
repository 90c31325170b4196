"""The state directory: where it is, what it contains, and the endpoints that `stack up` leaves there."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import platformdirs

from k2ctl.errors import NotRunning, StackError
from k2ctl.private import make_private, private_folder, unchanged_by_others

SOCKET_PATH_LIMIT: Final = 100
"""A Unix socket's path has some 107 bytes."""


def state_dir() -> Path:
    """`K2CTL_HOME`, else the user's state directory by the XDG rules; made with mode 0700 when missing.

    Raises:
        StackError: it cannot be made.
    """
    configured = os.environ.get("K2CTL_HOME")
    # Absolute, for it is remembered, and other commands run in other folders.
    path = (Path(configured) if configured else platformdirs.user_state_path("k2ctl")).absolute()
    try:
        make_private(path)
    except OSError as error:
        raise StackError(
            f"The state directory {path} cannot be made: {error.strerror}", "Choose another: export K2CTL_HOME=~/k2ctl"
        ) from error
    return path


@contextmanager
def private_home(prefix: str) -> Iterator[Path]:
    """A state directory inside the state directory that is gone afterwards, for this process and those it starts."""
    before = os.environ.get("K2CTL_HOME")
    with tempfile.TemporaryDirectory(prefix=prefix, dir=state_dir()) as folder:
        os.environ["K2CTL_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["K2CTL_HOME"]
            else:
                os.environ["K2CTL_HOME"] = before


def socket_path(name: str) -> Path:
    """The path of a Unix socket: in the state directory, or in a private folder where that path is too long.

    Raises:
        StackError: another user can change the folder.
    """
    path = unchanged_by_others(state_dir()).absolute() / name
    if _fits(path):
        return path
    short = f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):  # noqa: S108  checked
        folder = Path(base) / f"k2ctl-{os.geteuid()}"
        if folder.is_absolute() and folder.parent.is_dir() and _fits(folder / short):
            return private_folder(folder) / short
    raise StackError(f"{path} is too long for a socket.", "Choose a shorter one: export K2CTL_HOME=~/k2ctl")


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= SOCKET_PATH_LIMIT


def cache_dir() -> Path:
    """Downloads that can be fetched again (Kafka's jars); for all state directories of the user.

    Raises:
        StackError: others can change its contents, which would be run.
    """
    return unchanged_by_others(platformdirs.user_cache_path("k2ctl"))


def shipped(kind: str) -> Path:
    """The folder `profiles` or `stack` as shipped: inside the wheel, or beside the package in a checkout."""
    inside = Path(__file__).parent / "shipped" / kind
    return inside if inside.is_dir() else Path(__file__).parent.parent / kind


class ProcessId(NamedTuple):
    """A process for as long as it lives: its number is used again, its number and start time are not."""

    pid: int
    created_s: float


HIDDEN: Final = "…"
_SECRET: Final = re.compile(r"secret|session-token|password|passphrase|key-id|key\.pem|bearer\.config")


def is_secret(name: str) -> bool:
    """Whether a setting of that name holds what nobody else may see."""
    return _SECRET.search(name) is not None


def _without_secrets(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: HIDDEN if is_secret(name) else value for name, value in settings.items()}


def without_password(url: str) -> str:
    """A URL as it may be shown: `postgresql://k2:…@host/catalog`."""
    bare = re.sub(r"(?<=://)([^/?#]*?):[^/?#]*@", rf"\1:{HIDDEN}@", url)
    return re.sub(
        r"([?&])([^=&#]+)=[^&#]*",
        lambda found: f"{found[1]}{found[2]}={HIDDEN}" if is_secret(found[2]) else found[0],
        bare,
    )


@dataclass(frozen=True)
class Endpoints:
    """Where the running stack answers. Written by `stack up`, read by every other command.

    `epoch` names this incarnation of the embedded Kafka; None means that cluster id and topic id tell.
    `processes` maps a service to its process, for `status`, `logs` and `down`. `storage` holds what Iceberg's file IO
    needs to reach the warehouse (`s3.endpoint`, `s3.access-key-id`, `s3.secret-access-key`, `s3.region`,
    `s3.force-virtual-addressing`); empty for local files. `kafka` holds what librdkafka's clients need to reach Kafka
    (`security.protocol`, `sasl.password`, …); empty for plain text. What may hold a password stays out of the repr.
    """

    engine: str
    bootstrap_servers: str
    catalog_uri: str = field(repr=False)
    warehouse: str
    state_url: str = field(default="memory://", repr=False)
    control_socket: str | None = None
    epoch: str | None = None
    profile: str = "laptop"
    started_at_us: int = 0
    processes: dict[str, "ProcessId"] = field(default_factory=dict)
    storage: dict[str, str] = field(default_factory=dict, repr=False)
    kafka: dict[str, str] = field(default_factory=dict, repr=False)

    def shown(self) -> "Endpoints":
        """The same for people's eyes and scripts' logs: without passwords and keys."""
        return replace(
            self,
            catalog_uri=without_password(self.catalog_uri),
            state_url=without_password(self.state_url),
            storage=_without_secrets(self.storage),
            kafka=_without_secrets(self.kafka),
        )


def _endpoints_file() -> Path:
    """`K2CTL_ENDPOINTS` names it where another process wrote it: in a container, as a secret. Else the state's own."""
    configured = os.environ.get("K2CTL_ENDPOINTS")
    return Path(configured) if configured else state_dir() / "endpoints.json"


def save_endpoints(endpoints: Endpoints) -> None:
    """Replace the endpoints in one step, so that a reader never sees half a file."""
    write_atomically(_endpoints_file(), json.dumps(asdict(endpoints), indent=2))


def load_endpoints() -> Endpoints | None:
    """The endpoints that the last `stack up` left, or None; says nothing of whether the stack still lives."""
    try:
        raw = read_object(_endpoints_file())
        raw["processes"] = {
            service: ProcessId(int(pid), float(created_s))
            for service, (pid, created_s) in raw.get("processes", {}).items()
        }
        return Endpoints(**{f.name: _checked(f.name, raw[f.name]) for f in fields(Endpoints) if f.name in raw})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StackError(
            f"{_endpoints_file()} cannot be read: {error}", "Repair it with: k2ctl stack down && k2ctl stack up"
        ) from error


def _checked(name: str, value: Any) -> Any:
    """A member of the file of endpoints, if it is of the kind that it must be."""
    kinds = {"processes": ProcessId, "storage": str, "kafka": str}
    if name in kinds:
        fits = isinstance(value, dict) and all(isinstance(one, kinds[name]) for one in value.values())
    elif name == "started_at_us":
        fits = isinstance(value, int)
    else:
        fits = isinstance(value, str) or (value is None and name in ("control_socket", "epoch"))
    if not fits:
        raise ValueError(f"{name} is not what `stack up` writes there")
    return value


def load_endpoints_or_nothing() -> Endpoints | None:
    """The endpoints, or None; a damaged file is removed, since whoever asks is about to put things right."""
    with suppress(StackError):
        return load_endpoints()
    forget_endpoints()
    return None


def require_endpoints() -> Endpoints:
    """The endpoints of the stack.

    Raises:
        NotRunning: there are none.
        StackError: the state directory is not where it was.
    """
    endpoints = load_endpoints()
    if endpoints is None:
        raise NotRunning
    require_unmoved()
    return endpoints


def _place_file() -> Path:
    return state_dir() / "place"


def remember_place() -> None:
    """Write down where the state directory is: a table's files and a stack's sockets are known by their whole paths."""
    write_atomically(_place_file(), str(state_dir()))


def forget_place() -> None:
    """Nothing that is known by its path is left."""
    _place_file().unlink(missing_ok=True)


def require_unmoved() -> None:
    """Raises:
    StackError: the state directory was moved, or is a copy of another; a link at its old place makes it whole.
    """
    here = state_dir()
    try:
        there = Path(_place_file().read_text())
    except OSError:
        return  # it holds nothing that is known by its path
    if not there.exists():
        raise StackError(
            f"The state directory was moved from {there} to {here}, and its table and stack are known by the old path. "
            "Nothing is lost.",
            f"Move it back, or leave a link: ln -s '{here}' '{there}'",
        )
    if not there.samefile(here):
        raise StackError(
            f"{here} is a copy of the state directory {there}: its table and stack are the other's.",
            f"Use the other: export K2CTL_HOME='{there}'; or an empty one: export K2CTL_HOME=~/another",
        )


def forget_endpoints() -> None:
    """The stack is down."""
    _endpoints_file().unlink(missing_ok=True)


def acknowledged_log_dir() -> Path:
    """Where loads write down what Kafka acknowledged; made when missing."""
    path = state_dir() / "acknowledged"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def forget_acknowledged_log() -> None:
    """The lake that it was written for is gone."""
    for path in acknowledged_log_dir().iterdir():
        path.unlink(missing_ok=True)


HighWatermarks = dict[str, dict[int, int]]
"""topic → partition → high watermark"""

_PAST_EPOCHS_KEPT = 100
_MOST_DIGITS: Final = 20


def _past_epochs_file() -> Path:
    return state_dir() / "past_epochs.json"


def save_past_epoch(epoch: str, marks: HighWatermarks) -> None:
    """Write down how far an embedded Kafka has come that is about to go, so that what was unread counts as lost."""
    epochs = {**past_epochs(), epoch: marks}
    kept = dict(list(epochs.items())[-_PAST_EPOCHS_KEPT:])
    write_atomically(_past_epochs_file(), json.dumps(kept))


def past_epochs() -> dict[str, HighWatermarks]:
    """How far each embedded Kafka had come when it was stopped, oldest first; one that was killed is not in it."""
    try:
        raw = json.loads(_past_epochs_file().read_text())
        return {
            epoch: {topic: {int(p): high for p, high in highs.items()} for topic, highs in topics.items()}
            for epoch, topics in raw.items()
        }
    except (OSError, ValueError, AttributeError):
        return {}


def forget_past_epochs() -> None:
    """The lake that they belong to is deleted."""
    _past_epochs_file().unlink(missing_ok=True)


def read_object(path: Path) -> dict[str, Any]:
    """A small file of ours that holds one JSON object.

    Raises:
        OSError: it cannot be read. ValueError: whatever else is wrong with it.
    """
    try:
        found = json.loads(path.read_bytes(), object_pairs_hook=_each_once, parse_int=_small_int)
    except RecursionError as error:
        raise ValueError("it is nested without end") from error
    if not isinstance(found, dict):
        raise ValueError("it holds no object")
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:40]!r} stands there twice")
        found[key] = value
    return found


def _small_int(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that readers see the old text or the new, also across a crash; mode 0600."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
