"""One worker process: paces, makes trades, sends them, and reports ten times a second."""

import gc
import math
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any, Final

from k2ctl.endpoints import Endpoints
from k2ctl.errors import K2Error
from k2ctl.feeds.records import own_decoder
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.producer import BatchProducer, new_histogram
from k2ctl.kafka.reader import Fetched
from k2ctl.load.acknowledged_log import Run
from k2ctl.load.acknowledged_log_writer import AcknowledgedLogWriter
from k2ctl.load.intake import LOOK_AFTER_TRADES, UnreadGuard
from k2ctl.load.market import SyntheticMarket
from k2ctl.load.plan import LoadPlan
from k2ctl.load.replay import ReplaySource, ReplayState, open_replay
from k2ctl.load.schedule_clock import ScheduleClock
from k2ctl.profiles.universe import Universe
from k2ctl.signals import leave_to_parent
from k2ctl.timing import Every

TICK_S: Final = 0.01
REPORT_EVERY_S: Final = 0.1
CHUNK_TRADES: Final = 20_000
"""Trades made at once: late or unpaced load comes in pieces of this size, so that memory stays bounded."""

FLUSH_S: Final = 35.0
PARENT_EVERY_S: Final = 1.0
"""How often a worker that waits for its start looks whether it still has a parent."""


@dataclass(frozen=True)
class WorkerReport:
    """What a worker has done so far."""

    worker: int
    # Trades that were handed to Kafka's client.
    enqueued: int = 0
    # Trades that Kafka has: exactly, once finished; before that at least so many.
    acknowledged: int = 0
    records: int = 0
    acknowledged_records: int = 0
    # Bytes and records that the client has counted on the wire.
    wire_bytes: int = 0
    wire_records: int = 0
    # Seconds of the schedule; pauses do not count.
    elapsed_s: float = 0.0
    paused_s: float = 0.0
    # Second of the schedule → trades enqueued in it.
    per_second: dict[int, int] = field(default_factory=dict)
    finished: bool = False
    ended_early: bool = False
    # Why it ended early, and what to do.
    failure: str = ""
    hint: str = ""
    # Reason → trades that Kafka did not acknowledge for it.
    failed_by: dict[str, int] = field(default_factory=dict)
    # Encoded HDR histograms of microseconds, in the last report only.
    latency: bytes = b""
    publish_delay: bytes = b""
    # Of a replay.
    replay: ReplayState = field(default_factory=ReplayState)


@dataclass(frozen=True)
class WorkerSignals:
    """What the parent says to all workers."""

    go: Event
    pause: Event
    stop: Event
    # The common start, on the monotonic clock; valid once `go` is set.
    start_s: Any


def run_worker(endpoints: Endpoints, plan: LoadPlan, number: int, signals: WorkerSignals, reports: Connection) -> None:
    """The worker's process. A signal that ends the load is the parent's to handle, which then says stop."""
    leave_to_parent()
    try:
        worker = Worker(endpoints, plan, number, signals, reports)
        reports.send("ready")
        parent = multiprocessing.parent_process()
        while not signals.go.wait(PARENT_EVERY_S):
            if parent is not None and not parent.is_alive():
                return
        worker.run(signals.start_s.value)
    except BrokenPipeError:
        return  # whoever started this load was killed
    except K2Error as error:
        reports.send(WorkerReport(number, finished=True, ended_early=True, failure=str(error), hint=error.hint))
    finally:
        reports.close()


class Worker:
    """Sends what is due, on an absolute schedule: a late tick makes the next one larger, and never a lower rate."""

    def __init__(
        self, endpoints: Endpoints, plan: LoadPlan, number: int, signals: WorkerSignals, reports: Connection
    ) -> None:
        self._number = number
        self._signals = signals
        self._reports = reports
        universe = Universe(plan.profile)
        self._schedule: Any = plan.schedule
        self._source: Any
        self._replay: ReplaySource | None = None
        sample, sessions = b"", dict[int, bytes]()
        if plan.replay is not None:
            replayed = open_replay(plan.replay, plan.profile, endpoints)
            self._replay = self._source = self._schedule = ReplaySource(replayed, universe, plan.replay)
        else:
            market = SyntheticMarket(universe, plan.run_id, worker=number, workers=plan.workers, faults=plan.faults)
            self._source, sample, sessions = market, market.sample_symbol(), market.sessions()
        topic, decoder = plan.profile.trades_topic, own_decoder(plan.profile, plan.profile.topic.format)
        self._producer = BatchProducer(
            endpoints,
            topic,
            plan.frame,
            sample,
            plan.profile.topic.written,
            lambda values: decoder.decode(Fetched.of_values(values)).trades,
        )
        self._guard: UnreadGuard | None = None
        self._chunk = CHUNK_TRADES
        if endpoints.engine == "embedded":
            self._guard, self._chunk = UnreadGuard(endpoints, topic, plan.workers), LOOK_AFTER_TRADES
        run = Run(
            plan.run_id,
            number,
            topic,
            BrokerAdmin(endpoints).epoch(topic),
            plan.profile.topic.format,
            time.time_ns() // 1000,
            0,
            0,
            finished=False,
        )
        self._acknowledged_log = AcknowledgedLogWriter(run, sessions, endpoints.home)
        self._frame = plan.frame
        self._delay = new_histogram()
        self._made = 0
        self._newest_to_one = 0
        self._per_second: dict[int, int] = {}
        self._time = ScheduleClock(TICK_S)
        self._report_every = Every(REPORT_EVERY_S)

    def run(self, start_s: float) -> None:
        """Work off the schedule, which begins at the same moment of the monotonic clock for all workers.

        Whatever ends it, what was sent is flushed, written down and reported.
        """
        # Collections would stop the pacing for tens of milliseconds; nothing here makes cycles.
        gc.disable()
        if self._replay is None:
            self._time.begin(start_s)
        trouble = _trouble_of(self._pace)
        if self._replay is not None:
            self._replay.close()
        self._producer.finish(FLUSH_S)
        elapsed_s = self._time.elapsed_s
        self._note_failures()
        trouble = (
            _trouble_of(lambda: self._acknowledged_log.finish(self._producer.enqueued, self._acknowledged())) or trouble
        )
        self._producer.count_up()
        self._reports.send(self._report(elapsed_s, finished=True, trouble=trouble))

    def _pace(self) -> None:
        """Send what is due until everything is sent, or the parent says stop."""
        if self._replay is not None:
            self._replay.begin(self._is_stopped)
            self._producer.sample = self._replay.sample_symbol()
            self._time.begin()
        last_elapsed_s = 0.0
        while self._made < (total := self._part_of(self._schedule.total)) and not self._signals.stop.is_set():
            self._wait_while_paused()
            elapsed_s = self._time.elapsed_s
            due = min(total, self._part_of(self._schedule.due(elapsed_s))) - self._made
            if due > 0:
                self._send(min(due, self._chunk), last_elapsed_s, elapsed_s)
            if self._replay is not None and self._replay.is_hurried:
                last_elapsed_s = elapsed_s
            elif due <= self._chunk:
                last_elapsed_s = elapsed_s
                time.sleep(max(0.0, TICK_S - (self._time.elapsed_s - elapsed_s)))
            self._report_if_due()

    def _is_stopped(self) -> bool:
        """Whether the parent has said stop; reports while a replay looks at its files."""
        self._report_if_due()
        return self._signals.stop.is_set()

    def _part_of(self, trades: float) -> int:
        """This worker's part of a number of trades; the parts of all workers add up to the whole."""
        low, high = self._source.fraction
        return int(math.floor(trades * high) - math.floor(trades * low))

    def _wait_while_paused(self) -> None:
        sent, self._newest_to_one = self._newest_to_one, 0
        with self._time.paused():
            while not self._signals.stop.is_set() and (self._signals.pause.is_set() or self._no_room(sent)):
                sent = 0
                time.sleep(TICK_S)
                self._producer.poll()
                self._report_if_due()

    def _no_room(self, sent_to_one_partition: int) -> bool:
        return self._guard is not None and self._guard.must_wait(self, sent_to_one_partition)

    def total(self, name: str) -> float:
        """A figure of this worker alone, by the name that its report has for it."""
        return float(getattr(self._producer, name))

    def _send(self, count: int, from_s: float, to_s: float) -> None:
        """Make and send `count` trades that were due between two moments of the schedule."""
        wall_us = time.time_ns() // 1000 - round(self._time.elapsed_s * 1e6)
        from_us, to_us = wall_us + round(from_s * 1e6), wall_us + round(to_s * 1e6)
        batch = self._source.take(count, from_us, to_us)
        if self._replay is not None:
            self._acknowledged_log.add_foreign(batch.trades)
        else:
            self._acknowledged_log.add(batch.trades, batch.known)
        self._producer.send(batch.trades, batch.per_partition, to_us)
        self._newest_to_one = int(batch.per_partition.max(initial=0))
        self._made += count
        self._delay.record_value(min(60_000_000, max(1, time.time_ns() // 1000 - to_us)))
        second = int(to_s)
        self._per_second[second] = self._per_second.get(second, 0) + len(batch.trades)

    def _report_if_due(self) -> None:
        if self._report_every.due():
            self._producer.poll()
            self._reports.send(self._report(self._time.elapsed_s, finished=False))
            self._note_failures()
            self._acknowledged_log.save_if_due(self._producer.enqueued, self._acknowledged())

    def _acknowledged(self) -> int:
        """Trades that Kafka has for sure."""
        in_flight = self._producer.in_flight_records * self._frame
        return max(0, self._producer.enqueued - self._producer.failed - in_flight)

    def _note_failures(self) -> None:
        for trades in self._producer.take_failed():
            self._acknowledged_log.fail(trades)
            if self._replay is not None:
                self._replay.note_failed(trades)

    def _report(self, elapsed_s: float, *, finished: bool, trouble: K2Error | None = None) -> WorkerReport:
        producer = self._producer
        return WorkerReport(
            worker=self._number,
            enqueued=producer.enqueued,
            acknowledged=self._acknowledged(),
            records=producer.records,
            acknowledged_records=producer.acknowledged_records,
            wire_bytes=producer.wire_bytes,
            wire_records=producer.wire_records,
            elapsed_s=elapsed_s,
            paused_s=self._time.paused_s,
            per_second=dict(self._per_second),
            finished=finished,
            ended_early=trouble is not None,
            failure="" if trouble is None else str(trouble),
            hint="" if trouble is None else trouble.hint,
            failed_by=dict(producer.failed_by),
            latency=producer.latency.encode() if finished else b"",
            publish_delay=self._delay.encode() if finished else b"",
            replay=self._replay.state() if self._replay is not None else ReplayState(),
        )


def _trouble_of(step: Callable[[], None]) -> K2Error | None:
    """What a foreseen failure says, so that the steps after it are taken all the same."""
    try:
        step()
    except K2Error as error:
        return error
    return None
