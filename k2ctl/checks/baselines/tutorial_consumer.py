"""A Kafka consumer as a tutorial shows it: subscribe, poll one record, let the client commit offsets by itself.

Nothing of k2ctl's own reading: it is what the naive baseline is written with.
"""

import time
from types import TracebackType
from typing import Final, NamedTuple

from confluent_kafka import Consumer, Message, TopicPartition

from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError
from k2ctl.kafka.clients import CLIENT_LOG, SESSION_S

LEAVE_AFTER_ERRORS_S: Final = 30.0


class PartitionLag(NamedTuple):
    """One partition, in records: the next offset to be handled, the high watermark, and how old the last one was.

    behind_s: seconds between the last handled record's timestamp and now, 0 when nothing waits.
    """

    position: int
    high_watermark: int
    behind_s: float

    @property
    def records(self) -> int:
        """Records that wait."""
        return max(0, self.high_watermark - self.position)


class PlainConsumer:
    """One topic, from its beginning or where the group left off, offsets committed every five seconds."""

    def __init__(self, endpoints: Endpoints, topic: str, group: str) -> None:
        self._topic = topic
        self._positions: dict[int, int] = {}
        self._times_ms: dict[int, int] = {}
        self._answered_s = time.monotonic()
        self.skipped_records = 0
        self._consumer = Consumer(
            {
                **endpoints.kafka,
                "bootstrap.servers": endpoints.bootstrap_servers,
                "client.id": group,
                "group.id": group,
                "logger": CLIENT_LOG,
                "enable.auto.commit": True,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": round(SESSION_S * 1000),
            }
        )
        self._consumer.subscribe([topic])

    def __enter__(self) -> "PlainConsumer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._consumer.close()

    def next_value(self, timeout_s: float) -> bytes | None:
        """The next record's value, or None when there is none in time.

        Raises:
            BrokerError: Kafka has answered with nothing but errors for half a minute.
        """
        message: Message | None = self._consumer.poll(timeout_s)
        if message is None:
            return None
        if message.error() is not None:
            if time.monotonic() - self._answered_s > LEAVE_AFTER_ERRORS_S:
                raise BrokerError(f"Kafka does not deliver {self._topic}.", "See: k2ctl stack status")
            return None
        self._answered_s = time.monotonic()
        partition, offset = message.partition(), message.offset()
        if partition is None or offset is None:
            return None
        self.skipped_records += offset - self._positions.get(partition, offset)
        self._positions[partition] = offset + 1
        self._times_ms[partition] = message.timestamp()[1]
        return message.value() or b""

    def lags(self) -> dict[int, PartitionLag]:
        """Where each assigned partition stands; a watermark that has not come yet leaves its partition out."""
        found = {}
        now_ms = time.time_ns() // 1_000_000
        for assigned in self._consumer.assignment():
            partition = assigned.partition
            _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
            if high < 0:
                continue
            position = self._positions.get(partition, 0)
            waits = position < high
            age_ms = now_ms - self._times_ms.get(partition, now_ms) if waits else 0
            found[partition] = PartitionLag(position, high, max(0, age_ms) / 1000)
        return found
