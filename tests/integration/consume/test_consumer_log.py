"""A consumer logs its decisions: where it starts, what it commits, why its level changes, what it could not decode."""

import logging
from pathlib import Path

import pytest

from k2ctl.endpoints import Endpoints
from tests.made_trades import PARTITIONS, make_trades, produce_trades, produce_values
from tests.support.consumers import all_stored, backlog, one_platform, run_until, spilling
from tests.support.platforms import catch_up, empty_market


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The lines of all rooms, decisions included."""
    caplog.set_level(logging.INFO, "k2ctl")
    return caplog


def fields_of(lines: pytest.LogCaptureFixture, message: str) -> list[dict[str, object]]:
    return [vars(line) for line in lines.records if line.getMessage() == message]


def consume_two_parts(endpoints: Endpoints, exchange: str) -> None:
    """Two consumers, one after the other, of 100 and 50 trades."""
    profile, topic = empty_market(endpoints, exchange)
    for trades in (make_trades(100), make_trades(50, 100)):
        produce_trades(endpoints, topic, trades)
        catch_up(endpoints, profile)


def test_the_log_says_which_offsets_come_from_the_table(
    endpoints: Endpoints, exchange: str, lines: pytest.LogCaptureFixture
) -> None:
    consume_two_parts(endpoints, exchange)
    first, second = fields_of(lines, "partitions assigned")
    assert (first["from_table"], first["from_log_start"]) == ({}, dict.fromkeys(range(PARTITIONS), 0))
    assert second["from_table"].keys() == set(range(PARTITIONS))  # type: ignore[attr-defined]


def test_each_commit_is_a_line_with_its_rows(
    endpoints: Endpoints, exchange: str, lines: pytest.LogCaptureFixture
) -> None:
    consume_two_parts(endpoints, exchange)
    commits = fields_of(lines, "committed")
    assert sum(int(str(commit["rows"])) for commit in commits) == 150
    assert all(commit["commit_id"] and commit["fenced"] == 0 for commit in commits)


def test_dead_letters_are_counted_by_cause_with_the_first_of_each(
    endpoints: Endpoints, exchange: str, lines: pytest.LogCaptureFixture
) -> None:
    profile, topic = empty_market(endpoints, exchange)
    produce_values(endpoints, topic, [(1, b"")] * 30)
    catch_up(endpoints, profile)
    found = [line.getMessage() for line in lines.records if "dead letters" in line.getMessage()]
    assert "empty value (first: partition 1, offset 0)" in found[0]
    assert len(found) < 10, "a line for each commit, none for each record"


def test_a_change_of_level_what_is_spilled_and_what_is_backfilled_are_logged(
    embedded_stack: Endpoints, home: Path, exchange: str, lines: pytest.LogCaptureFixture
) -> None:
    endpoints, pressed_profile = one_platform(embedded_stack, home, exchange)
    profile = spilling(pressed_profile)
    backlog(endpoints, profile, 40_000)
    run_until(endpoints, profile, lambda status: status.outstanding_spilled > 0)
    run_until(endpoints, profile, all_stored, budget=None)
    said = [line.getMessage() for line in lines.records]
    assert any(text.startswith("level NORMAL → ") and "lag" in text for text in said)
    assert any(text.startswith("spilled ") for text in said)
    assert sum(int(str(one["resolved"])) for one in fields_of(lines, "backfill")) > 0
