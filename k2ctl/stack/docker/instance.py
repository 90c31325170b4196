"""The instance of the docker engine that belongs to a state directory: its id, ports, secrets and addresses.

Everything here is written before anything is created, so that whatever dies in between, the next `up` or `down`
knows by the id in the labels what is its own.
"""

import json
import os
import re
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import orjson

from k2ctl.endpoints import Endpoints
from k2ctl.errors import StackError, UsageError
from k2ctl.files import read_object, write_atomically
from k2ctl.home import Home, shipped
from k2ctl.profiles import load_profile
from k2ctl.stack.compose.model import Project
from k2ctl.stack.local import free_port

CONTAINER_USER_OF_ROOT: Final = 10001
"""Servers run as the user who runs k2ctl; for root as this one, since PostgreSQL refuses to be root."""

_PORT_VARIABLE = re.compile(r"\$\{K2_([A-Z0-9_]+)_PORT\b(?::-(\d+))?")


@dataclass(frozen=True)
class Instance:
    """Who we are to Docker."""

    # The value of the label `io.k2ctl.instance` on all that is ours.
    id: str
    # The prefix of container, volume and network names; empty until it is chosen.
    project: str
    # Name → port, as chosen by `--port`; the others are the file's.
    ports: dict[str, int] = field(default_factory=dict)
    # Containers may be there; False once `down` has removed them all.
    active: bool = False
    # Services left out, until one is named with `--service`.
    without: tuple[str, ...] = ()


FOLDER: Final = "docker"
"""What the docker engine keeps in the state directory."""


def secrets_dir(home: Home) -> Path:
    """The secret files; they are mounted into the containers one by one."""
    path = home.folder(FOLDER) / "secrets"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def load_instance(home: Home) -> Instance | None:
    """The instance of this state directory, or None before the first `up`.

    Raises:
        StackError: the file is damaged; the label of its containers is no longer known.
    """
    path = home.path / FOLDER / "instance.json"
    try:
        raw = read_object(path)
        return Instance(**{**raw, "without": tuple(raw.get("without", ()))})
    except FileNotFoundError:
        return None  # before the first `up`
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StackError(
            f"{path} cannot be read: {error}",
            "See what is there: docker ps -a --filter label=io.k2ctl.instance; remove it, then that file.",
        ) from error


def new_instance() -> Instance:
    """An instance with an id of its own, still without a name; nothing is written yet."""
    return Instance(id=str(uuid.uuid4()), project="")


def save_instance(instance: Instance, home: Home) -> None:
    """Write it down, durably."""
    write_atomically(home.folder(FOLDER) / "instance.json", json.dumps(asdict(instance), indent=2))


def port_names(compose_text: str) -> dict[str, int]:
    """The ports that a Compose file lets one choose, by the name in `K2_<NAME>_PORT`, with their defaults."""
    found = _PORT_VARIABLE.findall(compose_text)
    return {name.lower().replace("_", "-"): int(default or 0) for name, default in found}


def choose_ports(instance: Instance, wanted: Mapping[str, int | None], compose_text: str) -> Instance:
    """The instance with the ports that `--port` asks for; None is any free one, the name `auto` means all of them.

    Raises:
        UsageError: there is no port of that name.
    """
    known = port_names(compose_text)
    for name in wanted:
        if name not in known and name != "auto":
            raise UsageError(f"There is no port '{name}'.", f"There are: {', '.join(known)}; or: --port auto")
    ports = dict(instance.ports)
    if "auto" in wanted:
        ports |= {name: free_port() for name in known if name not in ports}
    ports |= {name: port or ports.get(name) or free_port() for name, port in wanted.items() if name != "auto"}
    return replace(instance, ports=ports)


def container_user() -> tuple[int, int]:
    """uid and gid of every server: ours, so that it can read our 0600 files; never root's."""
    uid, gid = os.getuid(), os.getgid()
    return (CONTAINER_USER_OF_ROOT, CONTAINER_USER_OF_ROOT) if uid == 0 else (uid, gid)


def variables(instance: Instance, home: Home) -> dict[str, str]:
    """What a Compose file may refer to: the environment, and over it what the instance has fixed."""
    uid, gid = container_user()
    ports = {f"K2_{name.upper().replace('-', '_')}_PORT": str(port) for name, port in instance.ports.items()}
    own = {"K2_UID": str(uid), "K2_GID": str(gid), "K2_SECRETS_DIR": str(secrets_dir(home))}
    named = {"K2_PROJECT": instance.project} if instance.project else {}
    return {**os.environ, **own, **named, **ports}


def ensure_secret(path: Path) -> None:
    """Make the secret of a file from 32 random bytes when there is none."""
    write_secret(path, path.read_text() if path.exists() else secrets.token_urlsafe(32))


def write_secret(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, and let the containers' user be the owner."""
    if not (path.exists() and path.read_text() == text):
        write_atomically(path, text)
    if os.getuid() == 0:  # every time: an `up` may have been killed between the two
        os.chown(path, *container_user())


def compose_file() -> Path:
    """The shipped Compose file, or the one that `K2CTL_COMPOSE_FILE` names."""
    configured = os.environ.get("K2CTL_COMPOSE_FILE")
    return Path(configured).expanduser().resolve() if configured else shipped("stack") / "compose.yaml"


INSIDE_PORTS: Final = {"kafka": 29092, "redis": 6379, "postgres": 5432, "object-store": 7070}
"""Kafka names its own address to clients: inside the network it is another listener than outside."""
BUCKET: Final = "k2-lake"
REGION: Final = "us-east-1"
ENDPOINTS_FILE: Final = "endpoints"
"""The one secret that is not random."""


def from_here(project: Project) -> Callable[[str], str]:
    """service → address:port as published on this machine; empty for one that is not published."""

    def address(service: str) -> str:
        found = project.services.get(service)
        return f"{found.ports[0].address}:{found.ports[0].host}" if found and found.ports else ""

    return address


def from_inside(project: Project) -> Callable[[str], str]:
    """service → name:port as containers of the same network reach it."""

    def address(service: str) -> str:
        return f"{service}:{INSIDE_PORTS[service]}" if service in project.services else ""

    return address


def endpoints(
    address: Callable[[str], str], secret: Callable[[str], str], profile: str, started_at_us: int, home: Home
) -> Endpoints:
    """The endpoints as seen from where `address` is; what the file has no service for stays empty."""
    redis, postgres, objects = address("redis"), address("postgres"), address("object-store")
    storage = {
        "s3.endpoint": f"http://{objects}",
        "s3.access-key-id": secret("s3_access_key"),
        "s3.secret-access-key": secret("s3_secret_key"),
        "s3.region": REGION,
        "s3.force-virtual-addressing": "false",
    }
    return Endpoints(
        engine="docker",
        bootstrap_servers=address("kafka"),
        catalog_uri=f"postgresql+psycopg://k2:{secret('postgres_password')}@{postgres}/k2" if postgres else "",
        warehouse=f"s3://{BUCKET}/warehouse" if objects else "",
        state_url=f"redis://:{secret('redis_password')}@{redis}/0" if redis else "memory://",
        profile=profile,
        table=load_profile(profile).lake.table,
        started_at_us=started_at_us,
        storage=storage if objects else {},
        home=home,
    )


def ensure_secrets(project: Project, profile: str, started_at_us: int, home: Home) -> Endpoints:
    """Make every secret file that is missing, write the one with the addresses inside, return the endpoints outside."""
    paths = {name: secret.file for name, secret in project.secrets.items()}
    for name, path in paths.items():
        if name != ENDPOINTS_FILE:
            ensure_secret(path)

    def read(name: str) -> str:
        return paths[name].read_text().strip() if name in paths else ""

    if ENDPOINTS_FILE in paths:
        # When it was started is not in it: the containers that read it must not change with every `up`.
        inside = endpoints(from_inside(project), read, profile, 0, home)
        write_secret(Path(paths[ENDPOINTS_FILE]), orjson.dumps(inside.document(), option=orjson.OPT_INDENT_2).decode())
    return endpoints(from_here(project), read, profile, started_at_us, home)
