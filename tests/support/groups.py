"""Several consumers of one topic, each a process, and trades that are fed to them all the while."""

import os
import signal
import threading
import time
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.consume.report import StatusReporter
from k2ctl.domain.status import ConsumerStatus
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.telemetry import TelemetryReader, TelemetryWriter
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.profiles import Profile
from tests.made_trades import PARTITIONS, produce_trades, quick_profile, varied_trades
from tests.support.consumers import CONTEXT, assert_exact, die_at
from tests.support.platforms import market_of_its_own
from tests.support.polling import until

PATIENCE_S = 90.0
"""How long a test waits for what has to come; on a quiet machine all of it comes within seconds."""


GROUP_POINTS = {
    "before the offer is announced": ("k2ctl.consume.group_commit.channel", "AuthorChannel.announce", "before"),
    "after the offer is announced": ("k2ctl.consume.group_commit.channel", "AuthorChannel.announce", "after"),
    "before the offers are committed": ("k2ctl.lake.writer", "TableWriter.commit_offers", "before"),
    "after the offers are committed": ("k2ctl.lake.writer", "TableWriter.commit_offers", "after"),
    "after the authors are answered": ("k2ctl.consume.group_commit.channel", "CommitterChannel.answer", "after"),
}
"""Points on the way of a group commit at which a member dies, as `die_at` takes them."""


def consume_in_group(endpoints: Endpoints, profile: Profile, name: str, state: str, point: str) -> None:
    """A member's process: until SIGTERM, or its third passage of a point."""
    if point:
        die_at(point, 3, GROUP_POINTS)
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

    def start(self, name: str, point: str = "") -> None:
        """A member of that name, new or again. point: of `GROUP_POINTS`, where it dies."""
        arguments = (self.endpoints, self.profile, name, self.state, point)
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
        member = self.members.pop(name)
        member.kill()  # of no effect on one that has died
        member.join(10)

    def statuses(self) -> dict[str, ConsumerStatus]:
        """Member → what it said last."""
        reported = self.telemetry.poll(0.05).consumers
        said = {name: reported[name] for name in self.members if name in reported}
        return {name: status for name, status in said.items() if status.topic == self.topic}

    def assigned(self) -> dict[str, set[int]]:
        """Member → the partitions that it says it holds."""
        return {name: {part.partition for part in said.partitions} for name, said in self.statuses().items()}

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
