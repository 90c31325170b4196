"""Builds what is missing; an image whose inputs are unchanged is left alone, and so is one that came from a registry.

The programs are the real ones: Kafka's published jars, Redis, PostgreSQL and Prometheus from Debian, the object store
by `go install`, k2ctl by `stack/Dockerfile`. Only their packing differs from the official images, and, where Debian's
does, the version: Redis 7.0 and Prometheus 2.42. Grafana is in none of the places that can be reached.
"""

import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import docker
import yaml
from docker.errors import ImageNotFound

from k2ctl.stack.kafka_jars import KAFKA_VERSION, kafka_libraries
from tests.images.programs import CannotBuild, run, versitygw

ROOT: Final = Path(__file__).parent.parent.parent
HERE: Final = Path(__file__).parent
SUITE: Final = "bookworm"
MIRROR: Final = "http://deb.debian.org/debian"
CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
BASE: Final = f"k2ctl-local/debian:{SUITE}"
PYTHON: Final = "k2ctl-local/python:3.11"
INPUTS_LABEL: Final = "io.k2ctl.local-build.inputs"
SERVICES: Final = ("redis", "postgres", "object-store", "prometheus", "kafka")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """One image: its name, what its content is made of (the key of the cache), and the files for its Dockerfile."""

    name: str
    dockerfile: Path | None
    inputs: tuple[str, ...]
    context: Callable[[Say], dict[str, Path]] = field(default=lambda _: {})
    arguments: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of everything that the image is made of."""
        dockerfile = self.dockerfile.read_text() if self.dockerfile else ""
        text = "\n".join([self.name, dockerfile, *self.inputs])
        return hashlib.sha256(text.encode()).hexdigest()


def pinned() -> dict[str, str]:
    """Service → image, as `stack/compose.yaml` pins them."""
    services = yaml.safe_load((ROOT / "stack" / "compose.yaml").read_text())["services"]
    return {name: str(service["image"]) for name, service in services.items()}


def build_all(client: docker.DockerClient, say: Say) -> list[str]:
    """Build what is missing or has changed; returns the names of what was built."""
    return [recipe.name for recipe in recipes() if _build(client, recipe, say)]


def recipes() -> list[Recipe]:
    """Every image, each after the one that it is made from."""
    images = pinned()
    contexts = {"kafka": _kafka_files, "object-store": _object_store_files(images["object-store"])}
    versions = {"kafka": KAFKA_VERSION, "object-store": images["object-store"]}
    return [
        Recipe(BASE, None, (SUITE, MIRROR)),
        *(
            Recipe(
                images[service],
                HERE / f"{service}.Dockerfile",
                (versions.get(service, SUITE),),
                contexts.get(service, lambda _: {}),
            )
            for service in SERVICES
        ),
        Recipe(PYTHON, HERE / "python.Dockerfile", (SUITE,)),
        Recipe(
            images["consumer"],
            ROOT / "stack" / "Dockerfile",
            tuple(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for name, path in _project_files()),
            lambda _: dict(_project_files()),
            {"BASE": PYTHON},
        ),
    ]


def _build(client: docker.DockerClient, recipe: Recipe, say: Say) -> bool:
    try:
        found = client.images.get(recipe.name).labels.get(INPUTS_LABEL)
        if found in (None, recipe.digest):
            return False
    except ImageNotFound:
        pass
    say(f"building {recipe.name}")
    if recipe.dockerfile is None:
        _import_base(client, recipe, say)
    else:
        _run_dockerfile(client, recipe, recipe.dockerfile, say)
    return True


def _import_base(client: docker.DockerClient, recipe: Recipe, say: Say) -> None:
    """A minimal Debian by debootstrap, with the certificates that this machine trusts."""
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        raise CannotBuild("The base image is made by debootstrap, as root. Install it: apt install debootstrap")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        say(f"fetching Debian {SUITE}")
        run(["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, str(root), MIRROR])
        shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
        for package in (root / "var" / "cache" / "apt" / "archives").glob("*.deb"):
            package.unlink()
        archive = Path(folder) / "root.tar"
        run(["tar", "-C", str(root), "-cf", str(archive), "."])
        repository, _, tag = BASE.partition(":")
        changes = [f'LABEL {key}="{value}"' for key, value in _labels(recipe).items()]
        with archive.open("rb") as file:
            client.api.import_image_from_data(file, repository=repository, tag=tag, changes=changes)


def _run_dockerfile(client: docker.DockerClient, recipe: Recipe, dockerfile: Path, say: Say) -> None:
    files = {"Dockerfile": dockerfile, **recipe.context(say)}
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, path in files.items():
                tar.add(path, name, filter=_anonymous)
        archive.seek(0)
        stream = client.api.build(
            fileobj=archive,
            custom_context=True,
            tag=recipe.name,
            buildargs=recipe.arguments,
            labels=_labels(recipe),
            rm=True,
            forcerm=True,
            decode=True,
        )
        _follow(recipe, stream)


def _follow(recipe: Recipe, stream: Any) -> None:
    log = io.StringIO()
    for line in stream:
        log.write(line.get("stream", ""))
        if "error" in line:
            raise CannotBuild(f"{recipe.name}: {line['error']}\n{log.getvalue()[-3000:]}")


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Owner and time out of the archive, so that the engine's cache of layers sees content alone."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry


def _labels(recipe: Recipe) -> dict[str, str]:
    return {
        "io.k2ctl.local-build": "from Debian and published programs, not the official image",
        INPUTS_LABEL: recipe.digest,
    }


def _kafka_files(say: Say) -> dict[str, Path]:
    return {"libs": kafka_libraries(say)}


def _object_store_files(image: str) -> Callable[[Say], dict[str, Path]]:
    return lambda say: {"versitygw": versitygw(image.partition(":")[2], say)}


def _project_files() -> list[tuple[str, Path]]:
    """What `stack/Dockerfile` copies, as `.dockerignore` leaves it."""
    single = [ROOT / name for name in ("pyproject.toml", "requirements.lock", "README.md", "LICENSE")]
    folders = [
        path
        for folder in ("k2ctl", "profiles", "stack")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and "secrets" not in path.parts
    ]
    return [(str(path.relative_to(ROOT)), path) for path in [*single, *folders]]
