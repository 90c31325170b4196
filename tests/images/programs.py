"""Programs that are built once by Go into the cache: the object store, and Docker Compose where there is none."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from k2ctl.home import cache_dir

COMPOSE: Final = "v2.40.3"
COMPOSE_MODULE: Final = "github.com/docker/compose/v2"
BUILD_TIMEOUT_S: Final = 900


class CannotBuild(Exception):
    """What is missing, in a line."""


def versitygw(version: str, say: Callable[[str], None]) -> Path:
    """The object store, as one file without libraries."""

    def build(target: Path) -> None:
        package = f"github.com/versity/versitygw/cmd/versitygw@{version}"
        go(["install", package], {"GOBIN": str(target.parent)})

    return _once(f"versitygw-{version}", "versitygw", build, say)


def compose(say: Callable[[str], None]) -> list[str]:
    """The words that call Docker Compose: the one of this machine, or the one that `build_compose` left."""
    if shutil.which("docker") is not None:
        try:
            run(["docker", "compose", "version"])
        except CannotBuild:
            pass
        else:
            return ["docker", "compose"]
    return [str(_once(f"docker-compose-{COMPOSE}", "docker-compose", _build_compose, say))]


def _build_compose(target: Path) -> None:
    """From its published module; `go install` refuses it, because its go.mod excludes versions."""
    found = go(["mod", "download", "-json", f"{COMPOSE_MODULE}@{COMPOSE}"], {})
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        shutil.copytree(json.loads(found)["Dir"], source)
        run(["chmod", "-R", "u+w", str(source)])
        go(["build", "-C", str(source), "-o", str(target), "./cmd"], {})


def _once(folder: str, name: str, build: Callable[[Path], None], say: Callable[[str], None]) -> Path:
    """A file in the cache; built beside and moved in place, so that one that was cut off is not taken for whole."""
    cached = cache_dir() / folder / name
    if not cached.exists():
        if shutil.which("go") is None:
            raise CannotBuild(f"{name} is built by Go, which is not there. Install Go 1.25 or newer.")
        say(f"building {folder} (two minutes, once)")
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent) as beside:
            build(Path(beside) / name)
            (Path(beside) / name).rename(cached)
    return cached


def go(arguments: list[str], environment: dict[str, str]) -> str:
    """Run Go without C, so that what it builds runs in any image."""
    return run(["go", *arguments], {**os.environ, "CGO_ENABLED": "0", **environment})


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    """Run a program to its end; returns what it wrote.

    Raises:
        CannotBuild: it failed, with its last words.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=BUILD_TIMEOUT_S
    )
    if done.returncode:
        raise CannotBuild(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout
