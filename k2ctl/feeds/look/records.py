"""Records of a topic, and the trades that they are: the newest, those from a place on, and those that still come."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from k2ctl.domain.texts import instant_text
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, UsageError
from k2ctl.feeds.check.topic_parts import READ_WITHIN_S, are_own, known_topic, part_of, shown_by, text_of
from k2ctl.feeds.records import SBE, Decoder
from k2ctl.kafka.admin import Watermarks
from k2ctl.kafka.reader import BESIDE, Fetched, Reader, read_between
from k2ctl.kafka.topic_admin import TopicAdmin
from k2ctl.timing import Every

_FETCH_RECORDS: Final = 1_000
_FETCH_WITHIN_S: Final = 0.05
_LOOK_EVERY_S: Final = 2.0


@dataclass(frozen=True)
class SeenRecord:
    """One record, and what it is."""

    partition: int
    offset: int
    # ISO; None where Kafka has no time of it.
    at: str | None
    key: str | None
    value: bytes
    # As it is shown, cut.
    text: str
    # Of dtype `TRADE.message`.
    trades: Sequence[np.void]
    # Why it, or a trade of it, is none.
    reasons: Sequence[str]
    # Name → value, as text; the last one of a name.
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StartAt:
    """Where to begin: at an offset of a partition, or at a time in all of them; without either, at the beginning."""

    partition: int | None = None
    offset: int = 0
    # µs since the epoch.
    at_us: int | None = None


def look(
    endpoints: Endpoints, topic: str, decoder: Decoder | None, count: int, start: StartAt | None, now_us: int
) -> list[SeenRecord]:
    """The newest records of a topic in order of their times, or the first of those from a place on.

    decoder: None: the records are shown, and no trades but of K2's own format.

    Raises:
        UsageError: there is no such topic, partition or offset.
        BrokerError: Kafka does not answer.
    """
    with TopicAdmin(endpoints) as admin:
        marks = known_topic(admin, topic)
        starts = _starts(admin, topic, marks, count, start)
    ranges = {number: (first, min(marks[number].high, first + count)) for number, first in starts.items()}
    fetched, _, _ = read_between(endpoints, topic, ranges, READ_WITHIN_S, count * len(ranges), tuple(BESIDE))
    times = [0 if at is None else at for at in fetched.beside.get("kafka_timestamp", [])]
    order = np.argsort(times, kind="stable")
    mask = np.zeros(len(fetched), np.bool_)
    mask[order[-count:] if start is None else order[:count]] = True
    return _seen(fetched.where(mask), decoder, now_us)


def follow(
    endpoints: Endpoints, topic: str, decoder: Decoder | None, count: int, start: StartAt | None, now_us: int
) -> Iterator[list[SeenRecord]]:
    """The same records, then those that come, some at a time and for ever; without a start no more than `count` older.

    Nothing for a moment is an empty list. Partitions that the topic is given meanwhile are read from their beginning.

    Raises:
        UsageError: there is no such topic, partition or offset. BrokerError: Kafka does not answer; the topic is gone.
    """
    admin = TopicAdmin(endpoints)
    marks = known_topic(admin, topic)
    if start is None:
        yield look(endpoints, topic, decoder, count, None, now_us) if count else []
        starts = {number: mark.high for number, mark in marks.items()}
    else:
        starts = _starts(admin, topic, marks, count, start)
    with Reader(endpoints, topic, "k2ctl-tail", tuple(BESIDE)) as reader:
        reader.assign(starts)
        every = Every(_LOOK_EVERY_S)
        while True:
            if every.due():
                partitions = admin.topics().get(topic, 0)
                if not partitions:
                    raise BrokerError(f"The topic {topic} is gone.", "See what there is: k2ctl topic list")
                if start is None or start.partition is None:
                    new = {number: 0 for number in range(partitions) if number not in marks}
                    marks |= dict.fromkeys(new, Watermarks(0, 0))
                    if new:
                        reader.assign({**reader.positions, **new})
            yield _seen(reader.fetch(_FETCH_RECORDS, _FETCH_WITHIN_S), decoder, now_us)


def _starts(
    admin: TopicAdmin, topic: str, marks: Mapping[int, Watermarks], count: int, start: StartAt | None
) -> dict[int, int]:
    """Partition → the first offset that may be wanted."""
    if start is None:
        return {number: max(mark.low, mark.high - count) for number, mark in marks.items()}
    if start.at_us is not None:
        ends = {number: (mark.low, mark.high) for number, mark in marks.items()}
        return admin.offsets_at(topic, -(-start.at_us // 1000), ends)
    if start.partition is None:
        return {number: mark.low for number, mark in marks.items()}
    mark = marks.get(start.partition)
    if mark is None or not mark.low <= start.offset < mark.high:
        there = ", ".join(
            f"{number}:{one.low} to {one.high - 1}" for number, one in marks.items() if one.high > one.low
        )
        where = f"{start.partition}:{start.offset}"
        raise UsageError(f"There is no record at {where} of {topic}.", f"There are: {there or 'none'}")
    return {start.partition: start.offset}


def _seen(fetched: Fetched, decoder: Decoder | None, now_us: int) -> list[SeenRecord]:
    if decoder is None and len(fetched) and are_own(fetched.values):
        decoder = SBE
    trades: dict[int, list[np.void]] = {}
    reasons: dict[int, list[str]] = {}
    if decoder is not None and len(fetched):
        part = part_of(fetched, decoder, now_us)
        for record, trade in zip(part.record.tolist(), part.trades, strict=True):
            trades.setdefault(record, []).append(trade)
        for record, reason in [*part.broken, *((one.record, one.reason) for one in part.refused)]:
            reasons.setdefault(record, []).append(reason)
    keys, times, headers = (fetched.beside.get(name, []) for name in ("kafka_key", "kafka_timestamp", "kafka_headers"))
    found = [
        SeenRecord(
            int(fetched.partition[at]),
            int(fetched.offset[at]),
            None if times[at] is None else instant_text(times[at] * 1_000_000),
            None if keys[at] is None else text_of(keys[at]),
            value,
            shown_by(decoder, value),
            trades.get(at, []),
            reasons.get(at, []),
            {name: text_of(content or b"") for name, content in headers[at] or ()},
        )
        for at, value in enumerate(fetched.values)
    ]
    return sorted(found, key=lambda one: (one.at or "", one.partition, one.offset))
