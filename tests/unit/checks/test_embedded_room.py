"""What `k2ctl doctor` says of an embedded engine that is too small for its profile."""

from pathlib import Path

import pytest

from k2ctl.checks.doctor.embedded_room import embedded_room
from k2ctl.checks.doctor.stack import which_stack
from k2ctl.endpoints import Endpoints
from k2ctl.stack.preflight import Verdict


def endpoints(engine: str, profile: str) -> Endpoints:
    return Endpoints(engine, "127.0.0.1:1", "sqlite:///catalog.db", "file:///warehouse", profile=profile)


def profile_of(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(f"base: laptop\nname: mine\n{text}\n")
    return str(path)


def test_the_default_profile_has_room_and_it_is_said_how_much() -> None:
    check = embedded_room("laptop")
    assert check.verdict is Verdict.OK
    assert check.found.startswith("at least 103,427 trades while nobody reads, 10.3 s")


@pytest.mark.parametrize(
    "text", ["load: {rate: 200000}", "market: {symbols: 1, tiers: {critical: 0, high: 0, low: 0}}"]
)
def test_a_profile_that_fills_it_in_seconds_is_noted_with_the_engine_that_helps(tmp_path: Path, text: str) -> None:
    name = profile_of(tmp_path, text)
    check = embedded_room(name)
    assert check.verdict is Verdict.NOTE
    assert check.found.startswith("too small for the profile: at least ")
    assert check.help == f"k2ctl stack down && k2ctl stack up --engine local --profile {name}"


def test_it_is_asked_of_the_embedded_engine_alone() -> None:
    for engine, expected in (("embedded", True), ("local", False), ("docker", False)):
        names = [check.name for check in which_stack(engine, endpoints(engine, "1M"), "")]
        assert ("embedded Kafka" in names) is expected
