"""Any value in any place of a profile or a Compose file is taken, or refused by our own error in one line."""

import itertools
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from k2ctl.errors import UsageError
from k2ctl.home import shipped
from k2ctl.profiles import load_external, load_profile
from k2ctl.profiles.external import EXAMPLE
from k2ctl.stack.compose.reading import read_project

WORST: list[Any] = [None, float("nan"), 10**17, "\0", "9" * 5000, [[1]], {"x": [1]}, {1: 2}]
ODD: list[Any] = [
    *WORST,
    *(True, 0, -1, 1.5, float("inf"), "", "x", "٣", "1" + "0" * 400 + "g", "$", "'", "." * 5000),
    *([], {}, [1], [None], [[[]]], [{}], {"x": 1}, {"x": None}, {"x": {"y": []}}, ["CMD"]),
]


def places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every node."""
    yield at
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in children:
        yield from places(value, (*at, key))


def changed(tree: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    result = deepcopy(tree)
    node = result
    for key in at[:-1]:
        node = node[key]
    node[at[-1]] = value
    return result


def check(read: Callable[[Path], object], path: Path, tree: Any) -> bool:
    """Whether it was taken; an error that is not ours, or is not named in one line, fails the test."""
    path.write_text(yaml.safe_dump(tree, allow_unicode=True))
    try:
        read(path)
    except UsageError as error:
        said, hint = str(error), error.hint
    else:
        return True
    assert len(said.splitlines()) == 1 or "there is no section" in said, said
    assert hint
    return False


PROFILE = yaml.safe_load((shipped("profiles") / "10K.yaml").read_text())
EXTERNAL = yaml.safe_load(EXAMPLE)
COMPOSE = yaml.safe_load("""
name: k2
services:
  kafka:
    image: apache/kafka:4.3.1
    build: {context: .., dockerfile: Dockerfile}
    entrypoint: [sh]
    command: []
    user: "1:1"
    environment: {A: "1"}
    ports: ["127.0.0.1:9092:9092"]
    volumes: ["kafka:/data"]
    networks: [k2]
    tmpfs: ["/tmp:mode=1777"]
    secrets: [key]
    depends_on: {prepare: {condition: service_completed_successfully}}
    healthcheck: {test: [CMD, "true"], interval: 3s, timeout: 3s, retries: 3}
    stop_grace_period: 3s
    mem_limit: 2g
    expose: ["1"]
  prepare: {image: redis}
networks: {k2: {}}
volumes: {kafka: {}}
secrets: {key: {file: ./key}}
""")


@pytest.mark.parametrize("section", PROFILE)
def test_any_value_in_a_profile(tmp_path: Path, section: str) -> None:
    path = tmp_path / "any.yaml"
    base = {"base": "10K", "name": "x", section: PROFILE[section]}
    for at, value in itertools.product(places(PROFILE[section]), WORST):
        check(lambda path: load_profile(str(path)), path, changed(base, (section, *at), value))


def test_any_value_in_the_section_external(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_PASSWORD", "CATALOG_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hush")
    (tmp_path / "secret").write_text("hush")
    tree = changed(EXTERNAL, ("external", "kafka", "properties", "sasl.password"), "${file:secret}")
    for at, value in itertools.product(places(tree), ODD):
        check(lambda path: load_external(str(path)), tmp_path / "any.yaml", changed(tree, at, value))


def test_any_value_in_a_compose_file(tmp_path: Path) -> None:
    assert check(lambda path: read_project(path, {}), tmp_path / "any.yaml", COMPOSE)
    for at, value in itertools.product(places(COMPOSE), ODD):
        check(lambda path: read_project(path, {}), tmp_path / "any.yaml", changed(COMPOSE, at, value))
