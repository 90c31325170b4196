"""Records of Kafka as columns, and the offsets that retention deleted before they were read."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from confluent_kafka import (
    OFFSET_INVALID,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError
from k2ctl.kafka.clients import CLIENT_LOG, LOG, consumer_config

ANSWER_TIMEOUT_S: Final = 10.0
HELD_S: Final = 0.25
"""Nothing read for so long, though the log goes on: then it is asked whether an open transaction holds it. The mark
that ends a transaction comes a moment after its commit."""
_LATEST: Final = -1
"""The time that asks for the end, in Kafka's ListOffsets request: of what is committed, for a reader of that."""
AT_ENDS: Final = {"enable.partition.eof": True}
"""Have the client say where a log ends: behind the last record there may be marks, which are never delivered."""


def _timestamp_ms(message: Message) -> int | None:
    kind, time_ms = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE else time_ms


BESIDE: Final[Mapping[str, Callable[[Message], Any]]] = {
    "kafka_timestamp": _timestamp_ms,
    "kafka_key": Message.key,
    "kafka_headers": Message.headers,
}
"""What a record has beside its value, by the name that expressions have for it: the time in milliseconds, the key as
bytes, the headers as (name, bytes) in their order; each may be None."""

PREFETCHED_RECORDS: Final = 64_000
PREFETCHED_BYTES: Final = 16 << 20
FETCHED_BYTES: Final = 2 << 20
"""Of all partitions of a reader together, compressed: many times as much in memory."""
LEAST_FETCHED_BYTES: Final = 32 << 10


def prefetch(partitions: int) -> dict[str, int]:
    """Settings with which a client holds as much ahead of what is read, however many partitions it reads.

    librdkafka counts by partition, and a record takes some 400 bytes beside its value: of twelve partitions with 50,000
    records each it held 400 MB.
    """
    return {
        "queued.min.messages": max(1, PREFETCHED_RECORDS // partitions),
        "queued.max.messages.kbytes": max(64, (PREFETCHED_BYTES >> 10) // partitions),
        "fetch.message.max.bytes": max(LEAST_FETCHED_BYTES, FETCHED_BYTES // partitions),
    }


@dataclass(frozen=True)
class Hole:
    """Offsets of a partition that were asked for and are not there: `asked` up to, not including, `first`."""

    partition: int
    asked: int
    first: int


@dataclass(frozen=True)
class Fetched:
    """n records of one topic, in the order they came; within a partition that is the order of offsets."""

    # The record values, b"" for an absent one.
    values: list[bytes]
    # int32[n] and int64[n].
    partition: np.ndarray
    offset: np.ndarray
    # The earliest and the latest timestamp at the ends of each partition's run of records, which are those of all where
    # timestamps follow offsets; None without records.
    oldest_ms: int | None
    newest_ms: int | None
    # Of the columns `BESIDE` those that were asked for, of n values each.
    beside: Mapping[str, list[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    @staticmethod
    def of(messages: list[Message], beside: Collection[str] = ()) -> "Fetched":
        """Columns from librdkafka's messages, without a Python statement per message. beside: names of `BESIDE`."""
        count = len(messages)
        values: list[Any] = list(map(Message.value, messages))
        if None in values:
            values = [value or b"" for value in values]
        partition = np.fromiter(map(Message.partition, messages), np.int32, count)
        # A timestamp costs a tuple each, so only the ends of every run of a partition are asked for theirs.
        breaks = np.flatnonzero(np.diff(partition))
        ends = [0, *breaks.tolist(), *(breaks + 1).tolist(), count - 1] if count else []
        times = [messages[at].timestamp()[1] for at in ends]
        return Fetched(
            values,
            partition,
            np.fromiter(map(Message.offset, messages), np.int64, count),
            min(times, default=None),
            max(times, default=None),
            {name: list(map(BESIDE[name], messages)) for name in beside},
        )

    @staticmethod
    def of_values(values: list[bytes]) -> "Fetched":
        """Records that were not read from Kafka: one behind the other in partition 0."""
        count = len(values)
        return Fetched(values, np.zeros(count, np.int32), np.arange(count), None, None)

    def where(self, mask: np.ndarray) -> "Fetched":
        """The records that a boolean mask selects."""
        kept = np.flatnonzero(mask)
        at = kept.tolist()
        return Fetched(
            [self.values[one] for one in at],
            self.partition[kept],
            self.offset[kept],
            self.oldest_ms,
            self.newest_ms,
            {name: [column[one] for one in at] for name, column in self.beside.items()},
        )


class Reader:
    """Reads chosen partitions of one topic from chosen offsets; the table, not Kafka's group, decides which.

    The group is used for advisory offsets only. Reading before the log's start is never silent: the hole is
    reported by `holes()` and reading goes on at the first record that is left.

    With `AT_ENDS`, positions also pass what a log holds beside records, such as the end of a transaction.
    """

    def __init__(
        self, endpoints: Endpoints, topic: str, group: str, beside: Collection[str] = (), /, **overrides: Any
    ) -> None:
        """beside: what is wanted of each record beside its value, names of `BESIDE`."""
        self.topic = topic
        self._beside = tuple(beside)
        own = {"group.id": group, "on_commit": self._advised}
        self._consumer = Consumer(consumer_config(endpoints, **{**own, **overrides}))
        self._positions: dict[int, int] = {}
        self._holes: list[Hole] = []
        self._awaited: list[Message] = []

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Read exactly these partitions, each from the given offset."""
        self._positions, self._awaited = dict(offsets), []
        self._consumer.assign([TopicPartition(self.topic, p, offset) for p, offset in offsets.items()])

    def leave(self, partitions: Collection[int]) -> None:
        """Read no more of some partitions."""
        if partitions:
            self._consumer.incremental_unassign([TopicPartition(self.topic, p) for p in partitions])
            for partition in partitions:
                del self._positions[partition]

    @property
    def positions(self) -> dict[int, int]:
        """The offset that each partition is read from next."""
        return dict(self._positions)

    def high_watermarks(self) -> dict[int, int | None]:
        """The high watermarks that came with the last fetch responses; None where there was none yet."""
        marks: dict[int, int | None] = {}
        for partition in self._positions:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), cached=True)
            marks[partition] = high if high >= 0 else None
        return marks

    def wait(self, timeout_s: float) -> bool:
        """True as soon as there is something to fetch; waits at most `timeout_s`."""
        if not self._awaited:
            message = self._consumer.poll(timeout_s)
            self._awaited = [] if message is None else [message]
        return bool(self._awaited)

    def fetch(self, count: int, timeout_s: float) -> Fetched:
        """Up to `count` records, waiting at most `timeout_s` for them."""
        awaited, self._awaited = self._awaited, []
        messages, failed = [*awaited, *self._consumer.consume(count - len(awaited), timeout_s)], list[Message]()
        errors = list(map(Message.error, messages))
        if any(errors):
            failed = [message for message, error in zip(messages, errors, strict=True) if error]
            messages = [message for message, error in zip(messages, errors, strict=True) if not error]
        fetched = self._expected(Fetched.of(messages, self._beside))
        if len(fetched):
            last = np.flatnonzero(np.append(np.diff(fetched.partition) != 0, True))
            for partition, offset in zip(fetched.partition[last].tolist(), fetched.offset[last].tolist(), strict=True):
                self._positions[partition] = max(offset + 1, self._positions[partition])
        # Behind the records that came with it: what was fetched before a partition stopped is no part of the hole.
        for message in failed:
            self._note(message)
        return fetched

    def _pass_to(self, partition: int | None, offset: int | None) -> None:
        if partition in self._positions and offset is not None:
            self._positions[partition] = max(offset, self._positions[partition])

    def _expected(self, fetched: Fetched) -> Fetched:
        """Drop what was queued before a new assignment and is behind, or outside of, it."""
        if not len(fetched):
            return fetched
        highest = int(fetched.partition.max()) + 1
        due = np.full(highest, np.iinfo(np.int64).max)
        for partition, position in self._positions.items():
            if partition < highest:
                due[partition] = position
        wanted = fetched.offset >= due[fetched.partition]
        return fetched if wanted.all() else fetched.where(wanted)

    def holes(self) -> list[Hole]:
        """What retention deleted before it was read, since the last call."""
        holes, self._holes = self._holes, []
        return holes

    def _note(self, message: Message) -> None:
        error, partition = message.error(), message.partition()
        if error is None:
            return
        if error.code() == KafkaError._PARTITION_EOF:
            self._pass_to(partition, message.offset())
        elif error.code() == KafkaError._AUTO_OFFSET_RESET and partition in self._positions:
            self._restart(partition)
        elif not error.retriable():
            raise BrokerError(f"Kafka refused to deliver {self.topic}: {error.str()}", "See: k2ctl stack status")
        else:
            CLIENT_LOG.note(logging.WARNING, f"{self.topic}/{partition}: {error.str()}; reading goes on")

    def _restart(self, partition: int) -> None:
        """Go on after an offset that the log no longer, or does not yet, hold."""
        asked = self._positions[partition]
        low, high = self.watermarks(partition)
        if asked > high:
            raise BrokerError(
                f"Partition {partition} of {self.topic} ends at {high}, before offset {asked} of the table: "
                "this Kafka was wiped, or is another one.",
                "If that is intended: k2ctl consume --rebase",
            )
        if asked < low:
            self._holes.append(Hole(partition, asked, low))
            LOG.info("the log begins behind the offset", extra={"partition": partition, "asked": asked, "first": low})
        resume = min(max(asked, low), high)
        self._positions[partition] = resume
        # A partition that failed to reset stays assigned but stopped, and cannot be sought: it is assigned again.
        self._consumer.incremental_unassign([TopicPartition(self.topic, partition)])
        self._consumer.incremental_assign([TopicPartition(self.topic, partition, resume)])

    def watermarks(self, partition: int) -> tuple[int, int]:
        """(low, high) of one partition, asked of the broker."""
        try:
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(self.topic, partition), timeout=ANSWER_TIMEOUT_S
            )
        except KafkaException as error:
            raise BrokerError(f"Kafka does not answer: {error.args[0].str()}", "See: k2ctl stack status") from error
        return low, high

    def stands_still(self) -> bool:
        """Whether all is read that can be: what is behind the last stable offsets, an open transaction holds back.

        Raises:
            BrokerError: Kafka does not answer.
        """
        asked = [TopicPartition(self.topic, partition, _LATEST) for partition in self._positions]
        try:
            ends = self._consumer.offsets_for_times(asked, timeout=ANSWER_TIMEOUT_S)
        except KafkaException as error:
            raise BrokerError(f"Kafka does not answer: {error.args[0].str()}", "See: k2ctl stack status") from error
        return all(end.error is None and 0 <= end.offset <= self._positions[end.partition] for end in ends)

    def advise(self, offsets: Mapping[int, int], shed_from: Mapping[int, int]) -> None:
        """Commit offsets to the Kafka group, for lag monitors and loads; the table does not depend on it.

        shed_from: the first offset before it that holds a trade which is shed, of partitions that have one. It is the
        metadata of the commit, as `BrokerAdmin.needed_from` reads it.
        """
        committed = [
            TopicPartition(self.topic, partition, offset, metadata=str(shed_from.get(partition, offset)))
            for partition, offset in offsets.items()
        ]
        if committed:
            self._consumer.commit(offsets=committed, asynchronous=True)

    def _advised(self, error: KafkaError | None, _: list[TopicPartition]) -> None:
        if error is not None:
            CLIENT_LOG.note(logging.WARNING, f"the offsets of {self.topic} are not committed to Kafka: {error.str()}")

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def read_between(
    endpoints: Endpoints,
    topic: str,
    ranges: Mapping[int, tuple[int, int]],
    timeout_s: float,
    limit_records: int,
    beside: Collection[str] = (),
    limit_bytes: int | None = None,
) -> tuple[Fetched, dict[int, int], list[Hole]]:
    """One bounded read: for each partition the records of [start, end). beside: as of `Reader`.

    Returns the records, the offset that each partition was read up to (its end, unless time, `limit_records` or
    `limit_bytes` of values ran out, or an open transaction holds what is left), and the holes met on the way.
    """
    wanted = {partition: span for partition, span in ranges.items() if span[1] > span[0]}
    parts: list[Fetched] = []
    count, deadline = 0, time.monotonic() + timeout_s
    holes: list[Hole] = []
    positions = {partition: span[0] for partition, span in wanted.items()}
    if wanted:
        # Prefetch no further than the range: later records would fill memory for nothing.
        longest = max(end - start for start, end in wanted.values())
        prefetch = {"queued.min.messages": min(100_000, longest), "queued.max.messages.kbytes": 32_768}
        with Reader(endpoints, topic, "k2ctl-tail", beside, **prefetch, **AT_ENDS) as reader:
            reader.assign(positions)
            moved_s = time.monotonic()
            while time.monotonic() < deadline and count < limit_records:
                behind = sum(max(0, end - positions[p]) for p, (_, end) in wanted.items())
                if not behind:
                    break
                # consume() waits the whole timeout unless it can return as many as were asked for.
                part = reader.fetch(min(5000, behind, limit_records - count), 0.005)
                holes += reader.holes()
                if len(part) or any(positions[p] < at for p, at in reader.positions.items()):
                    moved_s = time.monotonic()
                elif time.monotonic() - moved_s > HELD_S:
                    if reader.stands_still():
                        break
                    moved_s = time.monotonic()
                positions |= reader.positions
                # Records past the ends would come too, and delay the other partitions.
                reader.leave([p for p in reader.positions if positions[p] >= wanted[p][1]])
                parts.append(part)
                count += len(part)
                if limit_bytes is not None:
                    limit_bytes -= sum(map(len, part.values))
                    if limit_bytes < 0:
                        break
    fetched = concatenate(parts, beside)
    if len(fetched):
        ends = np.full(int(fetched.partition.max()) + 1, OFFSET_INVALID, np.int64)
        for partition, (_, end) in wanted.items():
            if partition < len(ends):
                ends[partition] = end
        fetched = fetched.where(fetched.offset < ends[fetched.partition])
    reached = {p: min(positions.get(p, start), end) for p, (start, end) in ranges.items()}
    return fetched, reached, holes


def concatenate(parts: list[Fetched], beside: Collection[str] = ()) -> Fetched:
    """Several fetches as one. beside: the columns that each of them has."""
    if len(parts) == 1:
        return parts[0]
    none = np.zeros(0, np.int64)
    return Fetched(
        [value for part in parts for value in part.values],
        np.concatenate([part.partition for part in parts] or [none.astype(np.int32)]),
        np.concatenate([part.offset for part in parts] or [none]),
        min((part.oldest_ms for part in parts if part.oldest_ms is not None), default=None),
        max((part.newest_ms for part in parts if part.newest_ms is not None), default=None),
        {name: [value for part in parts for value in part.beside[name]] for name in beside},
    )
