"""Several consumers of one topic, each a process, and trades that are fed to them all the while."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from k2ctl.checks.verify.verification import verify
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.group_commit.together import GroupCommit
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.consume.report import StatusReporter
from k2ctl.domain.status import ConsumerStatus
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.lease import FileLease, GroupLease
from k2ctl.kafka.telemetry import TelemetryReader, TelemetryWriter
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.load.generator import run_load
from k2ctl.load.market import Faults
from k2ctl.load.plan import plan_load
from k2ctl.profiles import Profile
from tests.made_trades import PARTITIONS, produce_trades, quick_profile, varied_trades
from tests.support.consumers import CONTEXT, assert_exact, die_at
from tests.support.independent_reader import Sources, assert_stored_once
from tests.support.platforms import market_of_its_own
from tests.support.polling import until

PATIENCE_S = 90.0
"""How long a test waits for what has to come; on a quiet machine all of it comes within seconds."""


AUTHOR_POINTS = {
    "before its files are written": ("k2ctl.lake.writer", "write_rows", "before"),
    "with its files written": ("k2ctl.lake.writer", "TableWriter.write", "after"),
    "before it announces": ("k2ctl.consume.group_commit.channel", "AuthorChannel.announce", "before"),
    "having announced": ("k2ctl.consume.group_commit.channel", "AuthorChannel.announce", "after"),
    "waiting for an answer": ("k2ctl.consume.group_commit.channel", "AuthorChannel.answers", "after"),
    "with its answer": ("k2ctl.lake.written_offer", "WrittenOffer.stored_by", "before"),
}
"""Where an author may die, as `consumers.die_at` takes them."""

COMMITTER_POINTS = {
    "having read offers": ("k2ctl.domain.announcement", "HeldOffers.add", "after"),
    "before it loads the table": ("k2ctl.lake.writer", "TableWriter.commit_offers", "before"),
    "having chosen": ("k2ctl.lake.swap", "TableSwap.take", "before"),
    "before the metadata is written": ("pyiceberg.catalog.sql", "SqlCatalog._write_metadata", "before"),
    "between metadata and catalog": ("pyiceberg.catalog.sql", "SqlCatalog._write_metadata", "after"),
    "after the catalog's swap": ("pyiceberg.catalog.sql", "SqlCatalog.commit_table", "after"),
    "before it answers": ("k2ctl.consume.group_commit.channel", "CommitterChannel.answer", "before"),
    "having answered": ("k2ctl.consume.group_commit.channel", "CommitterChannel.answer", "after"),
}


@dataclass(frozen=True)
class Fate:
    """What is particular about a member's process."""

    # Where it dies, and at which passage; None: nowhere.
    point: str | None = None
    call: int = 1
    # Whether it believes that it has the committer's lease; None: as Kafka says.
    commits: bool | None = None

    def befall(self) -> None:
        """In the process itself."""
        if self.point is not None:
            die_at(self.point, self.call, {**AUTHOR_POINTS, **COMMITTER_POINTS})
        for lease in (GroupLease, FileLease) if self.commits is not None else ():
            lease.acquire = lambda _, found=self.commits: found  # type: ignore[method-assign,assignment]
            lease.keep = lambda _: None  # type: ignore[method-assign,assignment]
        if self.commits:
            GroupCommit.__init__ = _wanted_at_once(GroupCommit.__init__)  # type: ignore[method-assign]


def _wanted_at_once(begin: Callable[..., None]) -> Callable[..., None]:
    def begun(self: GroupCommit, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        self.committer.want()

    return begun


AS_USUAL = Fate()


def consume_in_group(endpoints: Endpoints, profile: Profile, name: str, state: str, fate: Fate) -> None:
    """A member's process: until SIGTERM."""
    fate.befall()
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

    def __init__(self, endpoints: Endpoints, exchange: str, partitions: int = PARTITIONS, **consumer: object) -> None:
        """consumer: settings of its profile."""
        self.endpoints, self.partitions = endpoints, partitions
        profile = quick_profile(**consumer)
        topic = profile.topic.model_copy(update={"partitions": partitions})
        self.profile, self.topic = market_of_its_own(profile.model_copy(update={"topic": topic}), exchange)
        self.state = ""
        with BrokerAdmin(endpoints) as admin:
            admin.create_topic(self.topic, partitions)
        self.telemetry = TelemetryReader(endpoints)
        self.members: dict[str, BaseProcess] = {}
        self._fed = 0
        self._stop = threading.Event()
        self._feeder = threading.Thread(target=self._feed)
        self._feeder.start()

    def _feed(self) -> None:
        while not self._stop.wait(0.1):
            trades = varied_trades(200, self._fed)
            produce_trades(self.endpoints, self.topic, trades, 5, self.partitions)
            if self._fed % 600 == 0:
                produce_trades(self.endpoints, self.topic, trades[:40], 5, self.partitions)
            self._fed += 200

    def start(self, name: str, fate: Fate = AS_USUAL) -> None:
        """A member of that name, new or again."""
        arguments = (self.endpoints, self.profile, name, self.state, fate)
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

    def until_dead(self, name: str) -> None:
        """Wait until a member has died at its point."""
        process = self.members[name]
        until(lambda: not process.is_alive(), PATIENCE_S, lambda: f"{name} lives")
        assert self.members.pop(name).exitcode == -signal.SIGKILL

    def statuses(self) -> dict[str, ConsumerStatus]:
        """Member → what it said last."""
        reported = self.telemetry.poll(0.05).consumers
        said = {name: reported[name] for name in self.members if name in reported}
        # What a member that was killed said last is not of the one that has its name now.
        pids = {name: process.pid for name, process in self.members.items()}
        return {name: found for name, found in said.items() if found.topic == self.topic and found.pid == pids[name]}

    def assigned(self) -> dict[str, set[int]]:
        """Member → the partitions that it says it holds."""
        return {name: {part.partition for part in said.partitions} for name, said in self.statuses().items()}

    def until_shared(self, *names: str, within_s: float = PATIENCE_S) -> None:
        """Wait until these members, and no others, hold all partitions, each once."""

        def shared() -> bool:
            held = {name: parts for name, parts in self.assigned().items() if parts}
            parts = sorted(p for parts in held.values() for p in parts)
            return set(held) == set(names) and parts == [*range(self.partitions)]

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
            return all(now.get(p, 0) > before.get(p, 0) for p in range(self.partitions))

        until(have_moved, PATIENCE_S, every_s=0.1)
        return time.monotonic() - started_s

    def finish(self) -> None:
        """Feed no more, wait until everything is stored, end the members, and check the balance."""
        self.end_of_all()
        assert_exact(self.endpoints, self.topic, varied_trades(self._fed))

    def end_of_all(self) -> None:
        """Feed no more, wait until everything is stored, and end the members."""
        self._stop.set()
        self._feeder.join()
        with BrokerAdmin(self.endpoints) as admin:
            ends = {p: mark.high for p, mark in admin.watermarks(self.topic).items()}
        until(lambda: self.offsets() == ends, PATIENCE_S, lambda: f"the table is at {self.offsets()}, Kafka at {ends}")
        until(lambda: not self.outstanding(), PATIENCE_S, lambda: f"{self.outstanding()} trades are outstanding")
        for name in list(self.members):
            self.end(name)

    def outstanding(self) -> int:
        """Trades that are deferred."""
        with Lake.at(self.endpoints) as lake:
            return checkpoints_of(lake.table()).ledger.of(self.topic).count

    def close(self) -> None:
        self._stop.set()
        self._feeder.join()
        self.telemetry.close()
        for process in self.members.values():
            with suppress(ProcessLookupError):
                os.kill(process.pid or 0, signal.SIGKILL)
            process.join(10)


class LoadedGroup(Group):
    """A group that a real load feeds, which writes down what Kafka acknowledged: for `verify`."""

    def _feed(self) -> None:
        faults = Faults(duplicates=0.02, corrections=0.01, cancels=0.01)
        plan = plan_load(self.profile, rate=600, duration_s=600, workers=1, faults=faults)
        self._summary = run_load(plan, self.endpoints, self._stop)

    def finish(self) -> None:
        """As in a group, held to what Kafka acknowledged and to what it holds."""
        self.end_of_all()
        (verified,) = verify(self.endpoints, lambda _: None)
        assert verified.holds, verified
        assert (verified.in_tail, verified.acknowledged) == (0, self._summary.trades_acknowledged)
        copies = assert_stored_once(Sources.of(self.endpoints), self.topic)
        with Lake.at(self.endpoints) as lake:
            total = checkpoints_of(lake.table()).total()
        assert total.balanced
        assert (total.lost, total.duplicate) == (0, copies)
