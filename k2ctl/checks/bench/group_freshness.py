"""Consumers that are processes, in one group: how old a trade gets before it is in the table, and how long a rebalance
stands still."""

import multiprocessing
import os
import signal
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Final

from k2ctl.checks.bench.processes import trades_coming
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.consume.report import StatusReporter
from k2ctl.demo.pacing import unhurried
from k2ctl.domain.status import ConsumerStatus
from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.telemetry import TelemetryReader, TelemetryWriter
from k2ctl.profiles import Profile
from k2ctl.retry import wait_until
from k2ctl.signals import end_with
from k2ctl.timing import Every

SHARED_WITHIN_S: Final = 180.0
REPORT_EVERY_S: Final = 0.2
LOAD_EVERY_S: Final = 0.05
TRADES_PER_S: Final = 4_000


@dataclass
class Freshness:
    """What the consumers said of themselves."""

    # Of each report, the age of the oldest trade that is not in the table.
    ages_s: list[float]
    # Of each consumer that got other partitions when one more joined, how long it read nothing.
    still_s: list[float]
    commits: int
    conflicts: int
    direct: int


def consume(endpoints: Endpoints, profile: Profile, name: str, home: str) -> None:
    """A consumer's process: until SIGTERM."""
    end_with(os.getppid())  # the server that forks, which ends with the benchmark
    os.environ["K2CTL_HOME"] = home
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    consumer = Consumer(endpoints, ConsumerPlan(profile, group=True, named=True, consumer_id=name))
    reporter, due = StatusReporter(consumer), Every(REPORT_EVERY_S)
    with closing(TelemetryWriter(endpoints)) as telemetry:
        consumer.run(stop, lambda: telemetry.publish(reporter.status()) if due.due() else None)


class Group:
    """Consumers of one topic; what is not ended by then is killed when this is closed."""

    def __init__(self, endpoints: Endpoints, profile: Profile) -> None:
        self._endpoints = endpoints
        self._profile = profile
        self._context = multiprocessing.get_context("forkserver")  # they share the memory of what is imported
        self._context.set_forkserver_preload(["k2ctl.consume.consumer"])
        self._telemetry = TelemetryReader(endpoints)
        self.processes: list[BaseProcess] = []

    def start(self) -> None:
        """One more."""
        name = f"bench-{len(self.processes) + 1}"
        arguments = (self._endpoints, self._profile, name, str(Home.of_user().path))
        process = self._context.Process(target=consume, args=arguments)
        process.start()
        self.processes.append(process)

    def reported(self) -> list[ConsumerStatus]:
        """What each said last."""
        found = self._telemetry.poll(0.05).consumers.values()
        return [status for status in found if status.topic == self._profile.trades_topic]

    def require_shared(self) -> None:
        """Wait until all of them have partitions.

        Raises:
            CheckFailed: they do not share the topic in time.
        """
        wait_until(lambda: self._is_shared() or self._has_lost_one(), within_s=SHARED_WITHIN_S)
        if not self._is_shared():
            raise CheckFailed(
                f"{len(self.processes)} consumers did not share the topic in {SHARED_WITHIN_S:.0f} s.",
                "Try fewer: k2ctl bench group --consumers 8",
            )

    def joined_by_one(self) -> list[float]:
        """Start one more; returns for how many seconds each of the others that opened an assignment read nothing."""
        opened = {status.id: status.assignments_opened for status in self.reported()}
        self.start()
        self.require_shared()
        now = [status for status in self.reported() if status.id in opened]
        return [status.stood_still_s for status in now if status.assignments_opened > opened[status.id]]

    def _has_lost_one(self) -> bool:
        return any(process.exitcode is not None for process in self.processes)

    def _is_shared(self) -> bool:
        said = self.reported()
        assigned = [part.partition for status in said for part in status.partitions]
        everybody = len(said) == len(self.processes) and all(status.partitions for status in said)
        return everybody and sorted(assigned) == list(range(self._profile.topic.partitions))

    def close(self) -> None:
        """End all of them."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join(20)
            process.kill()
        self._telemetry.close()


def freshness_of(
    endpoints: Endpoints, profile: Profile, consumers: int, seconds: float, interval_s: float
) -> Freshness:
    """So many consumers, which commit every `interval_s`, under a small load; then two more join."""
    settings = profile.consumer.model_copy(update={"commit_interval_s": interval_s})
    profile = unhurried(profile.model_copy(update={"consumer": settings}))
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(profile.trades_topic, profile.topic.partitions)
    with closing(Group(endpoints, profile)) as group, trades_coming(endpoints, profile, TRADES_PER_S, LOAD_EVERY_S):
        for _ in range(consumers):
            group.start()
        group.require_shared()
        time.sleep(3 * interval_s)  # the committer is elected, and what waited meanwhile is stored
        before, ages_s, until_s = group.reported(), list[float](), time.monotonic() + seconds
        while time.monotonic() < until_s:
            ages_s += [status.lag_seconds for status in group.reported() if status.lag_seconds is not None]
            time.sleep(REPORT_EVERY_S)
        after = group.reported()
        still_s = [group.joined_by_one() for _ in range(2)][-1]  # at the first one each begins to query the table
    grown = [_totals(after), _totals(before)]
    commits, conflicts, direct = (now - then for now, then in zip(*grown, strict=True))
    return Freshness(ages_s, still_s, commits, conflicts, direct)


def _totals(said: list[ConsumerStatus]) -> tuple[int, int, int]:
    """Commits of the table, conflicts, and offers that their authors committed."""
    found = [status.group_commit for status in said]
    direct = sum(one.direct for one in found)
    return sum(one.group_commits for one in found) + direct, sum(one.conflicts for one in found), direct
