"""What the peers need beside k2ctl, fetched once into the cache: jars by Maven, virtual environments from PyPI."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from k2ctl.home import cache_dir
from tests.peers.settings import say

_POMS: Final = Path(__file__).parent / "poms"
_PACKAGES: Final = {
    "pyspark": ("pyspark==4.0.1",),
    "quix": ("quixstreams[iceberg]==3.28.1", "pyiceberg==0.12.0", "sqlalchemy", "pyiceberg-core"),
}


def jars(name: str) -> Path:
    """The folder with the jars that a POM names."""
    pom = _POMS / name / "pom.xml"
    target = cache_dir() / "peers" / name
    kept = target / "pom.xml"
    if not kept.is_file() or kept.read_bytes() != pom.read_bytes():
        say(f"fetching the jars of {name} (once)")
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime"]
        subprocess.run([*command, f"-DoutputDirectory={target}"], check=True, stdout=sys.stderr, timeout=600)
        shutil.copy(pom, kept)
    return target


def python(name: str) -> str:
    """The Python of an environment that has the packages of a peer."""
    folder = cache_dir() / "peers" / f"venv-{name}"
    done = folder / "done"
    if not done.is_file():
        say(f"installing {name} (once)")
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "-q", *_PACKAGES[name]]
        subprocess.run(pip, check=True, stdout=sys.stderr, timeout=900)
        done.touch()
    return str(folder / "bin" / "python")
