"""The tail in memory, over a scripted Kafka: what memory cannot answer is read cold, marked, or an error."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from k2ctl.domain.checkpoint import Checkpoint, Checkpoints, Counts, TopicPartition
from k2ctl.domain.trade import WHOLE_HISTORY, frames
from k2ctl.errors import BrokerError
from k2ctl.feeds.records import SBE
from k2ctl.kafka.reader import Fetched, Hole
from k2ctl.query import warm
from k2ctl.query.stream import TailRecords, tail_records_of
from k2ctl.query.tail import TailLimits, read_tail, span_of
from k2ctl.query.warm import WarmStream
from tests.made_trades import make_trades
from tests.support.polling import until

AT_ONCE = 5


class Log:
    """A topic as a script: records per partition, where each begins, and whether Kafka answers."""

    engine = "scripted"

    def __init__(self, count: int) -> None:
        self.epoch = "first"
        self.records = {0: list(frames(make_trades(count), 1))}
        self.low = {0: 0}
        self.down = False

    def high(self, partition: int) -> int:
        return len(self.records[partition])

    def answers(self) -> None:
        if self.down:
            raise BrokerError("Kafka does not answer")

    def fetched(self, partition: int, start: int, end: int) -> Fetched:
        values = self.records[partition][start:end]
        offset = np.arange(start, start + len(values), dtype=np.int64)
        return Fetched(values, np.full(len(values), partition, np.int32), offset, None, None)


class ScriptedEnds:
    def __init__(self, log: Log) -> None:
        self._log = log

    def of(self, _: str, partitions: Mapping[int, int]) -> tuple[int, dict[int, int]]:
        self._log.answers()
        known = {partition: self._log.high(partition) for partition in partitions if partition in self._log.records}
        return len(self._log.records), known


class ScriptedReader:
    """Gives `AT_ONCE` records at a time, and reports what retention deleted before it came there."""

    def __init__(self, log: Log, *_: object, **__: object) -> None:
        self._log = log
        self._holes: list[Hole] = []
        self.positions: dict[int, int] = {}

    def __enter__(self) -> "ScriptedReader":
        return self

    def __exit__(self, *_: object) -> None: ...

    def assign(self, offsets: Mapping[int, int]) -> None:
        self.positions = dict(offsets)

    def wait(self, timeout_s: float) -> bool:
        self._log.answers()
        if any(self._log.high(partition) > position for partition, position in self.positions.items()):
            return True
        time.sleep(timeout_s)
        return False

    def fetch(self, _: int, __: float) -> Fetched:
        for partition, position in self.positions.items():
            low = self._log.low[partition]
            if position < low:
                self._holes.append(Hole(partition, position, low))
                self.positions[partition] = position = low
            fetched = self._log.fetched(partition, position, position + AT_ONCE)
            if len(fetched):
                self.positions[partition] = position + len(fetched)
                return fetched
        return self._log.fetched(0, 0, 0)

    def holes(self) -> list[Hole]:
        holes, self._holes = self._holes, []
        return holes


class ScriptedStream:
    """The cold way. cold: how often it was gone."""

    topic = "t"
    decoder = SBE

    def __init__(self, log: Log) -> None:
        self.endpoints = log
        self.cold = 0

    def epoch(self) -> str:
        self.endpoints.answers()
        return self.endpoints.epoch

    def watermarks(self) -> dict[int, tuple[int, int]]:
        self.endpoints.answers()
        return {p: (self.endpoints.low[p], self.endpoints.high(p)) for p in self.endpoints.records}

    def partitions_with(self, _: object, __: int) -> None:
        return None

    def stable_ends(self, partitions: Mapping[int, object]) -> dict[int, int]:
        self.endpoints.answers()
        return {p: self.endpoints.high(p) for p in partitions}

    def read(
        self, _: str, ranges: Mapping[int, tuple[int, int]], *__: object
    ) -> tuple[list[TailRecords], Any, list[Hole]]:
        self.endpoints.answers()
        self.cold += 1
        low = self.endpoints.low
        holes = [Hole(p, start, low[p]) for p, (start, end) in ranges.items() if start < min(low[p], end)]
        parts = [self.endpoints.fetched(p, max(start, low[p]), end) for p, (start, end) in ranges.items()]
        return [tail_records_of(part, SBE) for part in parts], {p: end for p, (_, end) in ranges.items()}, holes


Begin = Callable[..., tuple[WarmStream, ScriptedStream]]


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Follow a log; ended with the test."""
    monkeypatch.setattr(warm, "LogEnds", ScriptedEnds)
    monkeypatch.setattr(warm, "Reader", ScriptedReader)
    begun: list[WarmStream] = []

    def follow(log: Log, limit_trades: int = 1000) -> tuple[WarmStream, ScriptedStream]:
        stream = ScriptedStream(log)
        begun.append(WarmStream(stream, lambda: None, limit_trades).start())  # type: ignore[arg-type]
        return begun[-1], stream

    yield follow
    for stream in begun:
        stream.close()


def asked(stream: WarmStream, stored: int | None = None) -> tuple[list[int], tuple[str, ...]]:
    """The numbers of the trades that a query gets from the stream, and what it says is missing."""
    by_partition = (
        {} if stored is None else {TopicPartition("t", "first", 0): Checkpoint(stored, Counts(stored, stored), "c")}
    )
    span = span_of(stream, Checkpoints(by_partition=by_partition))
    tail = read_tail(stream, span, None, WHOLE_HISTORY, TailLimits(10_000, 1.0), time.time_ns() // 1000)
    return sorted([number for rows in tail.parts for number in rows.trades["trade_id"].tolist()]), tail.missing


def test_what_was_followed_is_answered_from_memory(begin: Begin) -> None:
    following, stream = begin(Log(50))
    until(lambda: following.held_trades == 50)
    assert asked(following) == (list(range(50)), ())
    assert asked(following, stored=20) == (list(range(20, 50)), ())
    assert stream.cold == 0


def test_memory_is_bounded_and_the_answer_is_whole_all_the_same(begin: Begin) -> None:
    following, stream = begin(Log(50), limit_trades=12)
    until(lambda: "not kept in memory" in following.problem)
    assert following.held_trades < 12 + AT_ONCE
    assert asked(following) == (list(range(50)), ())
    assert stream.cold == 1


def test_a_topic_made_again_is_answered_from_its_beginning_at_once(begin: Begin) -> None:
    log = Log(50)
    log.low[0] = 30
    following, stream = begin(log)
    until(lambda: following.held_trades == 20)
    made = list(frames(make_trades(45, start=100), 1))
    log.records, log.low, log.epoch = {0: made}, {0: 0}, "second"
    assert asked(following) == (list(range(100, 145)), ())
    assert stream.cold == 1
    until(lambda: following.held_trades == 45)
    assert asked(following) == (list(range(100, 145)), ())
    assert stream.cold == 1


def test_what_retention_deleted_and_memory_holds_is_in_the_answer(begin: Begin) -> None:
    log = Log(50)
    following, stream = begin(log)
    until(lambda: following.held_trades == 50)
    log.low[0] = 30
    assert asked(following, stored=10) == (list(range(10, 50)), ())
    assert stream.cold == 0


def test_what_retention_deleted_unread_is_said_to_be_missing(begin: Begin) -> None:
    log = Log(50)
    log.low[0] = 30
    following, _ = begin(log)
    until(lambda: following.held_trades == 20)
    assert asked(following, stored=10) == (
        list(range(30, 50)),
        ("retention deleted 20 records of partition 0 before they were stored",),
    )


def test_a_hole_on_the_way_is_said_to_be_missing(begin: Begin) -> None:
    log = Log(10)
    following, _ = begin(log)
    until(lambda: following.held_trades == 10)
    log.low[0] = 20
    log.records[0] = list(frames(make_trades(40), 1))  # ten to twenty were deleted before they were read
    until(lambda: following.positions == {0: 40})
    numbers, missing = asked(following)
    assert set(range(20, 40)) <= set(numbers)
    assert len(missing) == 1
    assert missing[0].startswith("retention deleted")


def test_without_kafka_there_is_an_error_and_afterwards_everything_again(begin: Begin) -> None:
    log = Log(10)
    following, _ = begin(log)
    until(lambda: following.held_trades == 10)
    log.down = True
    until(lambda: following.problem != "")
    with pytest.raises(BrokerError):
        asked(following)
    log.records[0] = list(frames(make_trades(30), 1))
    log.down = False
    assert asked(following) == (list(range(30)), ())
    until(lambda: following.problem == "" and following.held_trades == 30)


def test_partitions_that_were_added_are_in_the_answer_at_once(begin: Begin) -> None:
    log = Log(10)
    following, stream = begin(log)
    until(lambda: following.held_trades == 10)
    log.low[1], log.records[1] = 0, list(frames(make_trades(5, start=10), 1))
    assert asked(following) == (list(range(15)), ())
    assert stream.cold == 1
    until(lambda: following.held_trades == 15)
    assert asked(following) == (list(range(15)), ())
    assert stream.cold == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_tail_whose_thread_has_ended_is_reported_and_waited_for_no_more(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(10)
    following, stream = begin(log)
    until(lambda: following.held_trades == 10)

    def unforeseen(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(ScriptedReader, "wait", unforeseen)
    until(lambda: following.problem == "the thread that follows it has ended")
    log.records[0] = list(frames(make_trades(30), 1))
    monkeypatch.setattr(warm, "_WAIT_S", 60.0)
    started_s = time.monotonic()
    assert asked(following) == (list(range(30)), ())
    assert stream.cold == 1
    assert time.monotonic() - started_s < warm._WAIT_S


def test_a_query_takes_what_has_come_itself_and_waits_for_no_thread(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm, "_TAKE_EVERY_S", 30.0)
    log = Log(10)
    following, stream = begin(log)
    until(lambda: following.problem == "")
    log.records[0] = list(frames(make_trades(40), 1))
    started_s = time.monotonic()
    assert asked(following) == (list(range(40)), ())
    assert stream.cold == 0
    assert time.monotonic() - started_s < 10
