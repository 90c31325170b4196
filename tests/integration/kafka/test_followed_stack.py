"""Somebody looks at a stack for hours: it ends meanwhile, and comes again."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from k2ctl.clock import ManualClock
from k2ctl.domain.status import NOBODY_REPORTS
from k2ctl.endpoints import Endpoints, forget_endpoints, save_endpoints
from k2ctl.errors import NotRunning
from k2ctl.kafka.followed import StackFollower
from k2ctl.kafka.telemetry import TelemetryWriter
from tests.support.polling import until
from tests.support.statuses import a_status


@pytest.fixture
def running(embedded_stack: Endpoints, endpoints: Endpoints) -> Endpoints:
    save_endpoints(endpoints)
    return endpoints


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def follower(running: Endpoints, clock: ManualClock) -> Iterator[StackFollower]:
    found = StackFollower(running.home, clock, clock.sleep)
    yield found
    found.close()


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_a_stack_that_ends_is_said_with_its_time_and_one_that_comes_is_followed(
    running: Endpoints, follower: StackFollower, clock: ManualClock
) -> None:
    assert follower.poll().level_reason == NOBODY_REPORTS
    forget_endpoints(running.home)
    clock.advance(1.0)
    down = follower.poll()
    assert down.level_reason == "The stack is down since 22:13:21 UTC; this goes on when it is back"
    assert (down.level, down.lag_trades, down.consumers) == ("UNKNOWN", None, [])
    clock.advance(60.0)
    assert follower.poll().level_reason == down.level_reason
    save_endpoints(replace(running, started_at_us=1))
    clock.advance(1.0)
    assert follower.poll().level_reason == NOBODY_REPORTS
    writer = TelemetryWriter(running)
    writer.publish(a_status("one", at_us=2**60))
    writer.close()
    until(lambda: [status.id for status in follower.poll().consumers] == ["one"])


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_where_no_stack_runs_to_begin_with_there_is_nothing_to_follow(running: Endpoints) -> None:
    forget_endpoints(running.home)
    with pytest.raises(NotRunning):
        StackFollower(running.home)
