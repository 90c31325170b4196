"""Several consumers read one topic: killed, asleep, joining and leaving under load, every trade is stored once."""

import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from k2ctl.consume.assignment import Assignment
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.consume.report import StatusReporter
from k2ctl.dedup.deduplicator import HybridDeduplicator
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.clients import session_timeout_s
from k2ctl.kafka.telemetry import TelemetryReader, TelemetryWriter
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.profiles import Profile
from k2ctl.sequence.state_sync import SHARED
from tests.made_trades import PARTITIONS, produce_trades, quick_profile, varied_trades
from tests.support.consumers import CONTEXT, assert_exact
from tests.support.platforms import empty_market, market_of_its_own
from tests.support.polling import until
from tests.support.redis_server import RedisServer

TAKE_OVER_S = 2.0
"""What a take-over may take beyond the session's timeout."""

PATIENCE_S = 90.0
"""How long a test waits for what has to come; on a quiet machine all of it comes within seconds."""


def consume_in_group(endpoints: Endpoints, profile: Profile, name: str, state: str) -> None:
    """A member's process: until SIGTERM."""
    os.environ["K2CTL_HOME"] = str(Path(endpoints.warehouse.removeprefix("file://")).parent)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    plan = ConsumerPlan(profile, group=True, named=True, consumer_id=name, state=state)
    consumer, telemetry = Consumer(endpoints, plan), TelemetryWriter(endpoints)
    reporter, due_s = StatusReporter(consumer), 0.0

    def on_tick() -> None:
        nonlocal due_s
        if time.monotonic() >= due_s:
            due_s = time.monotonic() + 0.1
            telemetry.publish(reporter.status())

    consumer.run(stop, on_tick)
    telemetry.publish(reporter.final_status())
    telemetry.close()


class Group:
    """The members of a test's topic, what they say, and the trades that are fed to them all the while."""

    def __init__(self, endpoints: Endpoints, exchange: str) -> None:
        self.endpoints = endpoints
        self.profile, self.topic = market_of_its_own(quick_profile(), exchange)
        self.state = ""
        with BrokerAdmin(endpoints) as admin:
            admin.create_topic(self.topic, PARTITIONS)
        self.telemetry = TelemetryReader(endpoints)
        self.members: dict[str, BaseProcess] = {}
        self._fed = 0
        self._stop = threading.Event()
        self._feeder = threading.Thread(target=self._feed)
        self._feeder.start()

    def _feed(self) -> None:
        while not self._stop.wait(0.05):
            trades = varied_trades(200, self._fed)
            produce_trades(self.endpoints, self.topic, trades, frame=5)
            if self._fed % 600 == 0:
                produce_trades(self.endpoints, self.topic, trades[:40], frame=5)
            self._fed += 200

    def start(self, name: str) -> None:
        """A member of that name, new or again."""
        arguments = (self.endpoints, self.profile, name, self.state)
        self.members[name] = CONTEXT.Process(target=consume_in_group, args=arguments)
        self.members[name].start()

    def signal(self, name: str, number: int) -> None:
        os.kill(self.members[name].pid or 0, number)

    def end(self, name: str) -> None:
        """SIGTERM, and a clean end."""
        self.signal(name, signal.SIGTERM)
        self.members[name].join(30)
        assert self.members.pop(name).exitcode == 0

    def kill(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)
        self.members.pop(name).join(10)

    def assigned(self) -> dict[str, set[int]]:
        """Member → the partitions that it says it holds."""
        reported = self.telemetry.poll(0.05).consumers
        return {
            name: {part.partition for part in reported[name].partitions}
            for name in self.members
            if name in reported and reported[name].topic == self.topic
        }

    def until_shared(self, *names: str, within_s: float = PATIENCE_S) -> None:
        """Wait until these members, and no others, hold all partitions, each once."""

        def shared() -> bool:
            held = {name: parts for name, parts in self.assigned().items() if parts}
            return set(held) == set(names) and sorted(p for parts in held.values() for p in parts) == [
                *range(PARTITIONS)
            ]

        until(shared, within_s, lambda: f"{names} should hold all partitions: {self.assigned()}")

    def offsets(self) -> dict[int, int]:
        """The table's next offset of each partition."""
        with Lake.at(self.endpoints) as lake:
            by_partition = checkpoints_of(lake.table()).by_partition
        return {at.partition: each.next_offset for at, each in by_partition.items() if at.topic == self.topic}

    def until_all_move(self) -> float:
        """Wait until every partition has come further in the table; returns how long that took."""
        before, started_s = self.offsets(), time.monotonic()

        def have_moved() -> bool:
            now = self.offsets()
            return all(now.get(p, 0) > before.get(p, 0) for p in range(PARTITIONS))

        until(have_moved, PATIENCE_S, every_s=0.1)
        return time.monotonic() - started_s

    def finish(self) -> None:
        """Feed no more, wait until everything is stored, end the members, and check the balance."""
        self._stop.set()
        self._feeder.join()
        with BrokerAdmin(self.endpoints) as admin:
            ends = {p: mark.high for p, mark in admin.watermarks(self.topic).items()}
        until(lambda: self.offsets() == ends, PATIENCE_S, lambda: f"the table is at {self.offsets()}, Kafka at {ends}")
        for name in list(self.members):
            self.end(name)
        assert_exact(self.endpoints, self.topic, varied_trades(self._fed))

    def close(self) -> None:
        self._stop.set()
        self._feeder.join()
        self.telemetry.close()
        for process in self.members.values():
            with suppress(ProcessLookupError):
                os.kill(process.pid or 0, signal.SIGKILL)
            process.join(10)


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
