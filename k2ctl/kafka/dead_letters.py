"""Dead letters: published before anything commits, read with the identity of their records, and sent again once."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from k2ctl.domain.topics import DEAD_LETTER_SUFFIX, dead_letter_topic, retried_topic
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.clients import consumer_config, producer_config
from k2ctl.kafka.reader import AT_ENDS

FLUSH_TIMEOUT_S: Final = 30.0
LARGEST_BYTES: Final = 100_000_000
"""More than Kafka takes in one record, so that it is Kafka who refuses. What is above the limit of the client, 1 MB if
not set, ends the consumer."""

CUT_BYTES: Final = 900_000

_OURS: Final = "k2-"
_KEPT: Final = "k2-header-"
"""Before the name of a header that the record had."""

WHOLE_RECORD: Final = -1
"""In place of the index of a trade."""

Delivery = Callable[[KafkaError | None, Message], None]


@dataclass(frozen=True)
class DeadLetter:
    """A record, or one trade of a record (then `index` is its position), and why it cannot be stored."""

    partition: int
    offset: int
    index: int | None
    reason: str
    value: bytes
    # What was fetched beside the value.
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int | None = None


class DeadLetters:
    """Publishes to `<topic>.dlq`, at least once: its k2-* headers identify a record that was published twice.

    A value that Kafka finds too large with its headers is published cut to `CUT_BYTES`; `k2-bytes` has its whole size.
    """

    def __init__(self, endpoints: Endpoints, topic: str, epoch: str) -> None:
        self._source = topic
        self._epoch = epoch
        self._topic = dead_letter_topic(topic)
        self._producer = Producer(producer_config(endpoints, **{"message.max.bytes": LARGEST_BYTES}))

    def publish(self, dead_letters: list[DeadLetter]) -> None:
        """Publish and wait until every dead letter is acknowledged.

        Raises:
            BrokerError: one was not; nothing may be committed then.
        """
        too_large = self._publish(dead_letters, None)
        refused = self._publish(too_large, CUT_BYTES)
        if refused:
            raise BrokerError(
                f"{self._topic} takes no records of {CUT_BYTES:,} bytes.",
                "Raise its max.message.bytes. Nothing was committed; it is safe to start again.",
            )

    def _publish(self, dead_letters: list[DeadLetter], limit_bytes: int | None) -> list[DeadLetter]:
        """Publish the first `limit_bytes` of each; returns those that are too large."""
        failed: list[str] = []
        too_large: list[DeadLetter] = []

        for dead_letter in dead_letters:

            def on_delivery(error: KafkaError | None, _: Message, dead_letter: DeadLetter = dead_letter) -> None:
                if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    too_large.append(dead_letter)
                elif error is not None:
                    failed.append(str(error))

            self._produce(dead_letter, limit_bytes, on_delivery)
        left = self._producer.flush(FLUSH_TIMEOUT_S)
        if left or failed:
            raise BrokerError(
                f"{left + len(failed)} dead letters were not acknowledged: {(failed or ['timeout'])[0]}",
                "Nothing was committed; it is safe to start again. See: k2ctl stack status",
            )
        return too_large

    def _produce(self, dead_letter: DeadLetter, limit_bytes: int | None, on_delivery: Delivery) -> None:
        headers: list[tuple[str, str | bytes | None]] = [
            ("k2-reason", dead_letter.reason),
            ("k2-topic", self._source),
            ("k2-epoch", self._epoch),
            ("k2-partition", str(dead_letter.partition)),
            ("k2-offset", str(dead_letter.offset)),
            ("k2-index", "" if dead_letter.index is None else str(dead_letter.index)),
            ("k2-bytes", str(len(dead_letter.value))),
            ("k2-timestamp", "" if dead_letter.timestamp_ms is None else str(dead_letter.timestamp_ms)),
        ]
        key = None
        if limit_bytes is None:  # what is cut is not sent again
            key = dead_letter.key
            headers += [(_KEPT + name, value) for name, value in dead_letter.headers if not name.startswith(_OURS)]
        while True:
            try:
                value = dead_letter.value[:limit_bytes]
                self._producer.produce(self._topic, value, key, headers=headers, on_delivery=on_delivery)
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise BrokerError(f"{self._topic}: {error}", "See: k2ctl stack status") from error


NEWEST_READ: Final = 200_000
"""The newest of one topic that are read."""

SILENCE_S: Final = 10.0
SENT_TOGETHER: Final = 500
"""What a kill in the middle of a retry may send a second time; consumers drop it as a copy."""


@dataclass(frozen=True)
class StoredDeadLetter:
    """A dead letter as it is in Kafka."""

    # PARTITION:OFFSET in the dead-letter topic, and the time at which it was published there.
    place: str
    at_ms: int
    reason: str
    # Where the record was.
    topic: str
    epoch: str
    partition: int
    offset: int
    # The trade's position in the record; None if the whole record is the dead letter.
    index: int | None
    # Bytes of the whole value, and the value, which may be only its beginning.
    size: int
    value: bytes
    # What the record had beside its value, as far as its feed asks for it.
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int | None = None
    # How often it was published.
    copies: int = 1
    # True if it was sent again.
    retried: bool = False

    @property
    def identity(self) -> str:
        """The same for every copy of a dead letter, and for no other."""
        return f"{self.epoch}/{self.partition}/{self.offset}/{'' if self.index is None else self.index}"

    @property
    def cut(self) -> bool:
        """Whether Kafka took only the beginning of the value."""
        return len(self.value) < self.size


@dataclass(frozen=True)
class StoredDeadLetters:
    """The newest dead letters."""

    # Oldest first, by topic.
    found: tuple[StoredDeadLetter, ...]
    # Number of older ones, which were not read.
    not_read: int


def read_dead_letters(endpoints: Endpoints, topic: str = "") -> StoredDeadLetters:
    """The dead letters of a topic of trades, or of all; copies of one as one.

    Raises:
        BrokerError: Kafka does not answer, or does not deliver one.
    """
    found: list[StoredDeadLetter] = []
    not_read = 0
    with BrokerAdmin(endpoints) as admin:
        names = [name for name in sorted(admin.topics()) if name.endswith(DEAD_LETTER_SUFFIX)]
        for name in names if not topic else [n for n in names if n == topic + DEAD_LETTER_SUFFIX]:
            source = name.removesuffix(DEAD_LETTER_SUFFIX)
            retried = {message.key() for message in _messages(endpoints, admin, retried_topic(source))}
            by_identity: dict[str, StoredDeadLetter] = {}
            for message in _messages(endpoints, admin, name, NEWEST_READ):
                dead_letter = _dead_letter_of(message, source)
                first = by_identity.get(dead_letter.identity)
                by_identity[dead_letter.identity] = replace(first, copies=first.copies + 1) if first else dead_letter
            found += [replace(one, retried=one.identity.encode() in retried) for one in by_identity.values()]
            not_read += sum(max(0, mark.high - mark.low - NEWEST_READ) for mark in admin.watermarks(name).values())
    return StoredDeadLetters(tuple(found), not_read)


@dataclass(frozen=True)
class DeadPlaces:
    """Where the records were of which a topic's dead letters tell."""

    # int64[n, 3]: partition, offset and index of each; index -1: the whole record.
    places: np.ndarray
    # Whether Kafka still holds every dead letter that was ever published.
    complete: bool


def read_dead_places(endpoints: Endpoints, topic: str, epoch: str) -> DeadPlaces:
    """The places of all dead letters of one epoch of a topic of trades, without their values; 24 bytes each.

    Raises:
        BrokerError: Kafka does not answer, or does not deliver one.
    """
    name, found = dead_letter_topic(topic), list[tuple[int, int, int]]()
    with BrokerAdmin(endpoints) as admin:
        for message in _messages(endpoints, admin, name):
            one = _dead_letter_of(message, topic)
            if one.epoch == epoch:
                found.append((one.partition, one.offset, WHOLE_RECORD if one.index is None else one.index))
        there = name in admin.topics()
        complete = not there or not any(mark.low for mark in admin.watermarks(name).values())
    return DeadPlaces(np.array(found, np.int64).reshape(-1, 3), complete)


def _dead_letter_of(message: Message, source: str) -> StoredDeadLetter:
    """A dead letter; of a record that k2ctl did not publish, its own place is its identity."""
    every = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    headers: dict[str, Any] = dict(every)

    def text(name: str, otherwise: str) -> str:
        found = headers.get(name)
        return otherwise if found is None else str(found, "utf-8", "replace")

    def number(name: str, otherwise: int) -> int:
        found = text(name, "")
        return int(found) if found.isdecimal() else otherwise

    value = message.value() or b""
    return StoredDeadLetter(
        place=f"{message.partition()}:{message.offset()}",
        at_ms=message.timestamp()[1],
        reason=text("k2-reason", "not known: another program published it"),
        topic=text("k2-topic", source),
        epoch=text("k2-epoch", "dead letter"),
        partition=number("k2-partition", message.partition() or 0),
        offset=number("k2-offset", message.offset() or 0),
        index=number("k2-index", 0) if text("k2-index", "") else None,
        size=number("k2-bytes", len(value)),
        value=value,
        key=message.key(),
        headers=tuple((name.removeprefix(_KEPT), kept) for name, kept in every if name.startswith(_KEPT)),
        timestamp_ms=number("k2-timestamp", -1) if text("k2-timestamp", "") else None,
    )


def retry(endpoints: Endpoints, dead_letters: Sequence[StoredDeadLetter]) -> int:
    """Send dead letters to the topics and partitions that they came from, and record that they were; returns how many.

    A dead letter that was sent again before, or that was cut, is not sent.

    Raises:
        BrokerError: a topic is gone, or Kafka acknowledged less; what it did acknowledge is recorded.
    """
    wanted = [dead_letter for dead_letter in dead_letters if not dead_letter.retried and not dead_letter.cut]
    with BrokerAdmin(endpoints) as admin:
        sizes = admin.topics()
        for topic in sorted({dead_letter.topic for dead_letter in wanted}):
            if topic not in sizes:
                raise BrokerError(f"The topic {topic} is gone.", "Make it by a consumer: k2ctl consume")
            admin.create_topic(retried_topic(topic), 1, {"cleanup.policy": "compact"})
    producer = Producer(
        producer_config(endpoints, **{"message.max.bytes": LARGEST_BYTES, "delivery.report.only.error": False})
    )
    for at in range(0, len(wanted), SENT_TOGETHER):
        _send_again(producer, wanted[at : at + SENT_TOGETHER], sizes)
    return len(wanted)


def _send_again(producer: Producer, dead_letters: Sequence[StoredDeadLetter], sizes: dict[str, int]) -> None:
    """1. Send. 2. Record what was acknowledged. 3. Raise an error for the rest."""
    acknowledged: list[StoredDeadLetter] = []
    failed: list[str] = []

    def on_delivery(dead_letter: StoredDeadLetter, into: list[StoredDeadLetter]) -> Delivery:
        return lambda error, _: failed.append(error.str()) if error is not None else into.append(dead_letter)

    def send(topic: str, value: bytes, key: bytes | None, partition: int, **more: Any) -> None:
        try:
            producer.produce(topic, value, key, partition, **more)
        except KafkaException as error:
            failed.append(error.args[0].str())

    for one in dead_letters:
        partition = -1 if one.partition >= sizes[one.topic] else one.partition  # the new topic may have fewer
        headers = [*one.headers, ("k2-retried", one.identity.encode())]
        timed = {} if one.timestamp_ms is None else {"timestamp": one.timestamp_ms}
        delivered = on_delivery(one, acknowledged)
        send(one.topic, one.value, one.key, partition, headers=headers, on_delivery=delivered, **timed)
    left = producer.flush(FLUSH_TIMEOUT_S)
    for one in tuple(acknowledged):
        send(retried_topic(one.topic), b"retried", one.identity.encode(), 0, on_delivery=on_delivery(one, []))
    left += producer.flush(FLUSH_TIMEOUT_S)
    if left or failed:
        raise BrokerError(
            f"{left + len(failed)} records were not acknowledged: {(failed or ['timeout'])[0]}",
            "What was is recorded; the same command goes on: k2ctl dead-letters retry",
        )


def _messages(endpoints: Endpoints, admin: BrokerAdmin, topic: str, newest: int = 1 << 62) -> Iterator[Message]:
    """The newest records of each partition of a topic, up to where it ends now; none where there is no such topic."""
    if topic not in admin.topics():
        return
    marks = {p: mark for p, mark in admin.watermarks(topic).items() if mark.high > mark.low}
    ends = {partition: mark.high for partition, mark in marks.items()}
    consumer = Consumer(consumer_config(endpoints, **{"group.id": "k2ctl-dead-letters", **AT_ENDS}))
    try:
        consumer.assign([TopicPartition(topic, p, max(mark.low, mark.high - newest)) for p, mark in marks.items()])
        deadline_s = time.monotonic() + SILENCE_S
        while ends:
            for message in consumer.consume(500, 0.05):
                deadline_s = time.monotonic() + SILENCE_S
                error, partition, offset = message.error(), message.partition(), message.offset() or 0
                if error is not None and error.code() != KafkaError._PARTITION_EOF and not error.retriable():
                    raise BrokerError(f"Kafka refused to deliver {topic}: {error.str()}", "See: k2ctl stack status")
                if error is None and offset < ends.get(partition or 0, 0):
                    yield message
                if (error is None and offset + 1 >= ends.get(partition or 0, 0)) or _at_end(error):
                    ends.pop(partition or 0, None)
            if time.monotonic() > deadline_s:
                raise BrokerError(f"Kafka did not give all of {topic} in time.", "See: k2ctl stack status")
    finally:
        consumer.close()


def _at_end(error: KafkaError | None) -> bool:
    return error is not None and error.code() == KafkaError._PARTITION_EOF
