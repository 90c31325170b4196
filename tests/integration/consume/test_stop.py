"""What a stop leaves: what its time is not enough for stays in Kafka, and is reported."""

from pathlib import Path

import pytest

from k2ctl.endpoints import Endpoints
from tests.support.consumers import RunningConsumer, backlog
from tests.support.platforms import empty_market, with_lake
from tests.support.polling import until

FIRST, REST = 5_000, 400


@pytest.mark.parametrize(("stop_within_s", "left"), [(0.0, REST), (30.0, 0)])
def test_a_stop_commits_what_its_time_is_enough_for(
    stop_within_s: float, left: int, embedded_stack: Endpoints, home: Path, exchange: str
) -> None:
    endpoints = with_lake(embedded_stack, home)
    profile, _ = empty_market(endpoints, exchange, commit_interval_s=3600.0, commit_rows=FIRST)
    running = RunningConsumer(endpoints, profile, stop_within_s=stop_within_s)
    backlog(endpoints, profile, FIRST)  # many enough for a commit, by which the time of the next is estimated
    until(lambda: running.stored(FIRST), 30)
    backlog(endpoints, profile, REST)
    until(lambda: running.said[-1].pending == REST, 30)
    running.stop()
    assert running.totals.left_in_kafka == left
    assert running.totals.stored == FIRST + REST - left
