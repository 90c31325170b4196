"""Where the services of the shipped Compose file answer, from this machine and from inside the network."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson

from k2ctl.endpoints import Endpoints
from k2ctl.home import Home
from k2ctl.stack.compose.model import Project
from k2ctl.stack.docker.instance import ensure_secret, write_secret

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
