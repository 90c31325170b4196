"""`k2ctl bench group`: one table and many consumers that commit to it together.

The authors are threads, four to a process, each with a catalog, a writer and Kafka clients of its own: so 32 fit into
the memory of a small machine, and whoever commits for all shares Python's lock with few of them. Freshness is measured
on consumers that are processes.
"""

import multiprocessing
import os
import threading
import time
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Final

import numpy as np

from k2ctl.checks.bench.figures import Figure, against
from k2ctl.checks.bench.group_freshness import freshness_of
from k2ctl.checks.bench.suite import Bench, bench_stack, made_trades, rows_of
from k2ctl.clock import SystemClock
from k2ctl.consume.group_commit.together import GroupCommit
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.offer_records import offer_in
from k2ctl.domain.rows import Rows
from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed
from k2ctl.home import Home
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.writer import TableWriter
from k2ctl.profiles import Profile
from k2ctl.signals import end_with

ROWS: Final = 1_000
"""Of each commit."""

INTERVAL_S: Final = 1.0
THREADS: Final = 4
STARTED_WITHIN_S: Final = 120.0
OFFERS: Final = 64
WARM_UPS: Final = 3
ROUNDS: Final = 20
P95_GOAL: Final = 2.0
CONFLICTS_GOAL: Final = 0.01
OFFERS_GOAL: Final = 1.5
FRESH_GOAL_S: Final = 2.0
STILL_GOAL_S: Final = 1.5


def bench_group(bench: Bench) -> list[Figure]:
    """Commits of one consumer and of many, a commit of one offer and of many, and how fresh a group's table is."""
    sizes, profile = bench.sizes, bench.unused_profile()
    with bench_stack(bench.engine, bench.even) as endpoints:
        return [
            *_together(bench, endpoints, sizes.group_authors, sizes.group_s),
            *_at_once(bench.fresh_lake(endpoints), profile, bench),
            *_fresh(bench.fresh_lake(endpoints), profile, sizes.group_consumers, sizes.group_s, bench),
        ]


def _together(bench: Bench, endpoints: Endpoints, authors: int, seconds: float) -> list[Figure]:
    """The same authors' commits, by one alone and by many; what one takes is the baseline."""
    measured = []
    for count in (1, authors):
        bench.say(f"group: {count} consumers commit for {seconds:.0f} s")
        measured.append(commits_of(bench.fresh_lake(endpoints), bench.profile, count, seconds))
    alone, many = measured
    case, commits = f"{authors} consumers", len(many.table_ms) + many.direct
    one_ms, many_ms = _p95(alone.table_ms), _p95(many.table_ms)
    whole_one_ms, whole_ms = _p95(alone.authors_ms), _p95(many.authors_ms)
    return [
        Figure("group", case, "p95 of a commit, against 1", many_ms, "ms", one_ms, many_ms / one_ms, P95_GOAL, True),
        # With the linger, of a quarter second at most.
        Figure(
            "group", case, "p95 from files to answer, against 1", whole_ms, "ms", whole_one_ms, whole_ms / whole_one_ms
        ),
        Figure("group", case, "offers of a commit", many.offers / max(1, len(many.table_ms)), "offers"),
        Figure("group", case, "conflicts", many.conflicts / commits, "share", goal=CONFLICTS_GOAL, at_most=True),
        Figure("group", case, "committed directly", many.direct / len(many.authors_ms), "share"),
    ]


def _at_once(lake: Endpoints, profile: Profile, bench: Bench) -> list[Figure]:
    bench.say(f"group: commits of 1 and of {OFFERS} offers")
    one_ms, many_ms = offers_at_once(lake, profile, ROUNDS)
    metric = f"a commit of {OFFERS} offers, against one of 1"
    figure = against("group", "at once", metric, many_ms, "ms", one_ms, OFFERS_GOAL)
    return [replace(figure, at_most=True)]


def _fresh(lake: Endpoints, profile: Profile, consumers: int, seconds: float, bench: Bench) -> list[Figure]:
    bench.say(f"group: {consumers} processes consume for {seconds:.0f} s")
    found = freshness_of(lake, profile, consumers, seconds, INTERVAL_S)
    case = f"{consumers} processes"
    age_s, still_s = float(np.percentile(found.ages_s, 99)), max(found.still_s, default=0.0)
    conflicts = found.conflicts / max(1, found.commits)
    return [
        Figure("group", case, "age of a trade before it is stored, p99", age_s, "s", goal=FRESH_GOAL_S, at_most=True),
        Figure("group", case, "conflicts", conflicts, "share", goal=CONFLICTS_GOAL, at_most=True),
        Figure("group", case, "a rebalance stands still", still_s, "s", goal=STILL_GOAL_S, at_most=True),
    ]


def _p95(values: list[float]) -> float:
    return float(np.percentile(values, 95)) if values else 0.0


@dataclass
class Commits:
    """What some authors measured."""

    # From the first file to the answer.
    authors_ms: list[float] = field(default_factory=list)
    # Of the commits to the table alone.
    table_ms: list[float] = field(default_factory=list)
    conflicts: int = 0
    direct: int = 0
    offers: int = 0

    def add(self, other: "Commits") -> None:
        """Those of other authors too."""
        self.authors_ms += other.authors_ms
        self.table_ms += other.table_ms
        self.conflicts += other.conflicts
        self.direct += other.direct
        self.offers += other.offers


class Author(threading.Thread):
    """Commits rows of a partition of its own, once an interval."""

    def __init__(
        self, endpoints: Endpoints, profile: Profile, number: int, rows: Rows, stop: threading.Event, *, alone: bool
    ) -> None:
        super().__init__(name=f"author-{number}")
        self._endpoints = endpoints
        self._profile = profile
        self._partition = number
        self._rows = rows
        self._stop_asked = stop
        self._is_alone = alone
        self.measured = Commits()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Commit until it is to stop; the first commit, at which a committer is elected, is not measured."""
        try:
            with Lake.at(self._endpoints) as lake:
                self._commit_all(lake)
        except BaseException as error:  # raised by who waits
            self.error = error

    def _commit_all(self, lake: Lake) -> None:
        clock, retention = SystemClock(), SnapshotRetention.from_profile(self._profile.lake.expire)
        writer = TableWriter(lake, clock, retention)
        group = GroupCommit(self._endpoints, lake, writer, clock, INTERVAL_S, retention)
        at = 0
        try:
            while not self._stop_asked.wait(0.0 if at else INTERVAL_S * (self._partition % 32) / 32):
                started_s = time.perf_counter()
                self._commit(writer, group, at)
                taken_s = time.perf_counter() - started_s
                if at:
                    self.measured.authors_ms.append(taken_s * 1000)
                at += ROWS
                self._stop_asked.wait(max(0.0, INTERVAL_S - taken_s))
        finally:
            group.close()
            self._note(group)

    def _commit(self, writer: TableWriter, group: GroupCommit, at: int) -> None:
        rows = replace(self._rows, offset=np.arange(at, at + ROWS), partition=np.full(ROWS, self._partition, np.int32))
        deltas = {TopicPartition("t", "e", self._partition): OffsetDelta(at, at + ROWS, Counts(seen=ROWS, stored=ROWS))}
        if not self._is_alone:
            group.author.commit([rows], deltas)
            return
        written = writer.write([rows], deltas)
        started_s = time.perf_counter()
        committed = writer.commit_written(written)
        self.measured.table_ms.append(1000 * (time.perf_counter() - started_s))
        self.measured.conflicts += committed.attempts - 1

    def _note(self, group: GroupCommit) -> None:
        author, committer = group.author.totals, group.committer.totals
        self.measured.table_ms += [1000 * seconds for seconds in committer.seconds]
        self.measured.conflicts += author.conflicts + committer.conflicts
        self.measured.direct += author.direct
        self.measured.offers += committer.offers


@dataclass(frozen=True)
class Authors:
    """The authors of one process."""

    endpoints: Endpoints
    profile: Profile
    numbers: range
    alone: bool
    seconds: float
    home: str

    def commit(self, together: Barrier, sender: Connection) -> None:
        """In the process itself: begin when those of all processes can, and send what was measured."""
        end_with(os.getppid())  # the server that forks, which ends with the benchmark
        os.environ["K2CTL_HOME"] = self.home
        rows, stop = rows_of(made_trades(self.profile, ROWS)[0], "t"), threading.Event()
        running = [
            Author(self.endpoints, self.profile, number, rows, stop, alone=self.alone) for number in self.numbers
        ]
        together.wait(STARTED_WITHIN_S)
        for author in running:
            author.start()
        time.sleep(self.seconds)
        stop.set()
        total = Commits()
        for author in running:
            author.join()
            if author.error is not None:
                raise author.error
            total.add(author.measured)
        sender.send(total)


def commits_of(endpoints: Endpoints, profile: Profile, authors: int, seconds: float) -> Commits:
    """So many authors commit to one table for a while. One commits directly, several through a committer.

    Raises:
        CheckFailed: a process of authors has ended.
    """
    with Lake.at(endpoints) as lake:
        lake.ensure_table()
    context = multiprocessing.get_context("forkserver")  # they share the memory of what is imported
    context.set_forkserver_preload([__name__])
    shares = [range(first, min(first + THREADS, authors)) for first in range(0, authors, THREADS)]
    together, receivers = context.Barrier(len(shares)), list[Connection]()
    for numbers in shares:
        some = Authors(endpoints, profile, numbers, authors == 1, seconds, str(Home.of_user().path))
        receiver, sender = context.Pipe(duplex=False)
        context.Process(target=some.commit, args=(together, sender), daemon=True).start()
        sender.close()
        receivers.append(receiver)
    total = Commits()
    for receiver in receivers:
        try:
            total.add(receiver.recv())
        except EOFError:
            raise CheckFailed("Authors of the benchmark have ended.", "What they said is above.") from None
    return total


def offers_at_once(endpoints: Endpoints, profile: Profile, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds that one commit of one offer, and of many, takes; in turns on one table."""
    one_ms, many_ms = list[float](), list[float]()
    rows = rows_of(made_trades(profile, ROWS)[0], "t")
    with Lake.at(endpoints) as lake:
        writer = TableWriter(lake, SystemClock(), SnapshotRetention.from_profile(profile.lake.expire))
        at = dict.fromkeys(range(OFFERS), 0)
        for _ in range(WARM_UPS + rounds):
            for count, into in ((1, one_ms), (OFFERS, many_ms)):
                offers = []
                for partition in range(count):
                    start, end = at[partition], at[partition] + ROWS
                    part = replace(rows, offset=np.arange(start, end), partition=np.full(ROWS, partition, np.int32))
                    delta = OffsetDelta(start, end, Counts(seen=ROWS, stored=ROWS))
                    written = writer.write([part], {TopicPartition("t", "e", partition): delta})
                    offers += [offer for offer in [offer_in(written.document())] if offer is not None]
                    at[partition] = end
                started_s = time.perf_counter()
                writer.commit_offers(offers)
                into.append(1000 * (time.perf_counter() - started_s))
    return one_ms[WARM_UPS:], many_ms[WARM_UPS:]
