"""Docker for tests: whether it is there with the images, a small stack of the tests' own, a proxy that can be cut."""

import os
import secrets
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException

from k2ctl.stack.docker.client import INSTANCE, docker_address
from tests.images.build import pinned

IMAGE = "redis:7.2.14"
NOT_TO_BE_HAD = "grafana"
"""No image of it can be made where no registry is."""

SMALL = f"""
services:
  prepare:
    image: {IMAGE}
    entrypoint: [sh, -c]
    command: ["${{PREPARE:-echo prepared; date +%N > /data/x}}"]
    volumes: ["data:/data"]
  web:
    image: {IMAGE}
    command: [redis-server, --save, ""]
    entrypoint: []
    user: "${{K2_UID}}:${{K2_GID}}"
    ports: ["127.0.0.1:${{K2_WEB_PORT:-18080}}:6379"]
    volumes: ["data:/data:ro"]
    secrets: [word]
    environment: {{COLOUR: "${{COLOUR:-red}}"}}
    healthcheck:
      test: "${{HEALTH:-cat /data/x /run/secrets/word >/dev/null}}"
      interval: 250ms
      timeout: 5s
      retries: 3
    depends_on: {{prepare: {{condition: service_completed_successfully}}}}
    restart: unless-stopped
  other:
    image: "${{OTHER_IMAGE:-{IMAGE}}}"
    entrypoint: [sleep]
    command: ["100000"]
    init: true
    depends_on: {{web: {{condition: service_healthy}}}}
    restart: unless-stopped
volumes: {{data: {{}}}}
secrets: {{word: {{file: "${{K2_SECRETS_DIR:-./secrets}}/word"}}}}
"""
"""A one-shot, a server with a health test that needs a volume and a secret, and one that waits for it."""


def connect() -> docker.DockerClient:
    """The engine behind our back; skips with the reason where none runs, or fails where CI demands it."""
    try:
        client = docker.from_env(timeout=60)
        client.ping()
    except DockerException as error:
        if os.environ.get("K2CTL_REQUIRE_DOCKER"):
            raise
        pytest.skip(f"no Docker: {error}")
    there = {tag for image in client.images.list() for tag in image.tags}
    missing = {image for service, image in pinned().items() if service != NOT_TO_BE_HAD} - there
    if missing and not os.environ.get("K2CTL_REQUIRE_DOCKER"):
        pytest.skip(f"images are missing ({', '.join(sorted(missing))}); build them: python -m tests.images")
    assert not missing
    return client


def project_name() -> str:
    """A project that no other test has."""
    return f"k2t{secrets.token_hex(3)}"


def small_stack(folder: Path) -> Path:
    """The small Compose file, in a folder with a project name of its own."""
    path = folder / "compose.yaml"
    path.write_text(f"name: {project_name()}\n{SMALL}")
    return path


def ours(client: docker.DockerClient, instance: str) -> dict[str, "docker.models.containers.Container"]:
    """service → container, of one instance."""
    found = client.containers.list(all=True, filters={"label": f"{INSTANCE}={instance}"}, ignore_removed=True)
    return {one.labels["com.docker.compose.service"]: one for one in found}


def of_project(client: docker.DockerClient, project: str, service: str) -> "docker.models.containers.Container":
    """The container of a service of the stack with this project's name."""
    labels = [f"com.docker.compose.project={project}", f"com.docker.compose.service={service}"]
    (found,) = client.containers.list(all=True, filters={"label": labels})
    return found


def left_of(client: docker.DockerClient, label: str) -> list[str]:
    """The names of the containers, networks and volumes that carry a label."""
    filters = {"label": label}
    containers = client.containers.list(all=True, filters=filters)
    return [
        one.name for one in (*containers, *client.networks.list(filters=filters), *client.volumes.list(filters=filters))
    ]


def remove_all(client: docker.DockerClient, label: str) -> None:
    """Whatever a test left with a label."""
    for one in client.containers.list(all=True, filters={"label": label}):
        one.remove(force=True, v=True)
    for network in client.networks.list(filters={"label": label}):
        network.remove()
    for volume in client.volumes.list(filters={"label": label}):
        volume.remove(force=True)


class DockerProxy:
    """Docker's own socket behind one that can be cut, as when the engine dies in the middle."""

    def __init__(self, path: Path, cut_at: bytes) -> None:
        """cut_at: the connection that carries these bytes is the last; they do not arrive."""
        self.address = f"unix://{path}"
        self.was_cut = threading.Event()
        self._cut_at = cut_at
        self._engine = docker_address().removeprefix("unix://")
        self._open: list[socket.socket] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self.was_cut.is_set():
                client, _ = self._server.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(self._engine)
                self._open += [client, engine]
                threading.Thread(target=self._pump, args=(client, engine, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(engine, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, asks: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if asks and self._cut_at in data:
                    self.cut()
                    return
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Every connection ends, and no new one is taken."""
        self.was_cut.set()
        for one in [self._server, *self._open]:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a path that leaves room for a socket's."""
    path = Path("/tmp") / f"k2-{secrets.token_hex(4)}"  # noqa: S108
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path)
