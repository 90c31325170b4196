"""Several consumers read one topic: killed, asleep, joining and leaving under load, every trade is stored once."""

import signal
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest

from k2ctl.consume.assignment import Assignment
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.dedup.deduplicator import HybridDeduplicator
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.clients import session_timeout_s
from k2ctl.sequence.state_sync import SHARED
from tests.made_trades import PARTITIONS
from tests.support.groups import PATIENCE_S, Group
from tests.support.platforms import empty_market
from tests.support.polling import until
from tests.support.redis_server import RedisServer

TAKE_OVER_S = 2.0
"""What a take-over may take beyond the session's timeout."""


@pytest.fixture
def group(endpoints: Endpoints, exchange: str) -> Iterator[Group]:
    made = Group(endpoints, exchange)
    yield made
    made.close()


def test_members_join_leave_and_are_killed_under_load(group: Group) -> None:
    group.start("one")
    group.until_shared("one")
    group.start("two")
    group.until_shared("one", "two")
    assert min(len(parts) for parts in group.assigned().values()) == PARTITIONS // 2
    group.start("three")
    group.until_shared("one", "two", "three")
    group.until_all_move()
    taken_over_s = []
    for _ in range(2):  # the quickest counts, and what it takes beyond a usual move: others may want the processors
        usual_s = group.until_all_move()
        group.kill("two")
        taken_over_s.append(group.until_all_move() - usual_s)
        group.start("two")
        group.until_shared("one", "two", "three")
    assert min(taken_over_s) < session_timeout_s(group.endpoints) + TAKE_OVER_S
    group.end("three")
    group.end("one")
    group.until_shared("two")
    group.until_all_move()
    group.finish()


def test_a_member_that_slept_past_its_session_stores_nothing_twice(group: Group) -> None:
    group.start("awake")
    group.start("asleep")
    group.until_shared("awake", "asleep")
    group.until_all_move()
    group.signal("asleep", signal.SIGSTOP)
    until(lambda: group.assigned().get("awake") == {*range(PARTITIONS)}, PATIENCE_S, group.assigned)
    group.until_all_move()
    group.signal("asleep", signal.SIGCONT)
    group.until_shared("awake", "asleep")
    group.until_all_move()
    assert group.members["asleep"].is_alive()
    group.finish()


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_what_a_member_knew_of_sequences_goes_on_at_the_next(group: Group, redis_server: RedisServer) -> None:
    """The feed has no gap and no restart, and no consumer reports one, through a kill, a leaving and two joinings."""
    group.state = redis_server.url
    group.start("one")
    group.start("two")
    group.until_shared("one", "two")
    group.until_all_move()
    group.kill("one")
    group.until_all_move()
    group.start("one")
    group.until_shared("one", "two")
    group.end("two")
    group.until_shared("one")
    group.until_all_move()
    status = group.telemetry.poll(1.0).consumers["one"]
    counted = asdict(status.sequence)
    faults = ("open_gaps", "missing_trades", "resets", "duplicates", "out_of_order", "unverified", "lost_gaps")
    assert {name: counted[name] for name in faults} == dict.fromkeys(faults, 0)
    assert status.sequence.symbols == 20
    assert status.state is not None
    assert status.state.guarantee == SHARED
    assert status.assignments_opened >= 2
    group.finish()


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_what_an_assignment_remembers_is_gone_before_the_next_one_is_opened(
    endpoints: Endpoints, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may take as much memory as the plan allows, and there is room for one."""
    profile, _topic = empty_market(endpoints, exchange)
    consumer, stop = Consumer(endpoints, ConsumerPlan(profile, group=True, consumer_id="one")), threading.Event()
    remembered: list[weakref.ref[HybridDeduplicator]] = []
    left: list[bool] = []
    open_assignment = Assignment.open

    def opened(*of: Any) -> Assignment:
        left.append(remembered[-1]() is not None)
        return open_assignment(*of)

    def on_tick() -> None:
        assert time.monotonic() < limit_s
        if consumer.assignments.is_current and not left:
            remembered.append(weakref.ref(consumer.assignment._state.deduplicator))
            monkeypatch.setattr(Assignment, "open", opened)
            consumer.assignment.invalidate()
        elif consumer.assignments.is_current:
            stop.set()

    limit_s = time.monotonic() + 30
    consumer.run(stop, on_tick)
    assert left == [False]
