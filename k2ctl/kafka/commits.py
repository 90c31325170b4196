"""The topic `k2.commits`: announcements of offers to the table in one partition, answers to them in the other.

Records may be lost, doubled and reordered, and the topic may vanish at any moment: who commits asks the table, and can
do without. So nobody waits here for long.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka import TopicPartition as Place

from k2ctl.clock import Clock
from k2ctl.domain.topics import COMMITS
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError
from k2ctl.kafka.admin import LEADER_POLICY, BrokerAdmin, has_no_leader_yet
from k2ctl.kafka.clients import consumer_config, producer_config
from k2ctl.retry import retry

ANNOUNCEMENTS: Final = 0
ANSWERS: Final = 1
"""The partitions."""

EMBEDDED_LOOK_BACK: Final = 500
"""Records: the embedded engine does not find an offset by its time."""

OFFSET_WITHIN_S: Final = 2.0
SHORT_REST_S: Final = 2.0
"""After a shorter rest Kafka may still hold the last fetch open, and answers what is asked on the same connection, such
as where a log ends, only after it: half a second late. So reading goes on where it ended, and nothing is asked."""

_KEPT: Final = {"retention.ms": "1800000", "segment.ms": "600000"}
_STATUS: Final = "See: k2ctl stack status"


def make_commits_topic(endpoints: Endpoints) -> None:
    """Make the topic, or give it the partition that it lacks where a broker made it by itself."""
    with BrokerAdmin(endpoints) as admin:
        if not admin.create_topic(COMMITS, 2, _KEPT) and admin.topics().get(COMMITS, 0) < 2:
            admin.add_partitions(COMMITS, 2)


class CommitSender:
    """Sends records that Kafka acknowledges. Not thread-safe."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._producer: Producer | None = None

    def send(self, partition: int, table: str, records: Sequence[bytes], within_s: float) -> None:
        """Send the records of one document, and wait until all are acknowledged. table: whose they are, by its uuid.

        Raises:
            BrokerError: Kafka did not acknowledge all in time; they may have come nevertheless.
        """
        failed: list[str] = []
        producer = self._opened()
        try:
            for record in records:
                producer.produce(COMMITS, record, key=table, partition=partition, on_delivery=_noted(failed))
            left = producer.flush(within_s)
        except (BufferError, KafkaException) as error:
            left, failed = 1, [str(error)]
        if left or failed:
            self.close()  # the next one makes the topic again, if that was it
            raise BrokerError(f"{COMMITS} takes no records: {(failed or ['no answer'])[0]}", _STATUS)

    def _opened(self) -> Producer:
        if self._producer is None:
            make_commits_topic(self._endpoints)
            own: dict[str, Any] = {
                "enable.idempotence": False,  # a doubled record does no harm
                "linger.ms": 0,
                "compression.type": "none",
                "delivery.report.only.error": False,
            }
            self._producer = Producer(producer_config(self._endpoints, **own))
        return self._producer

    def close(self) -> None:
        """Drop what is not acknowledged."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(0)
            self._producer = None


def _noted(failed: list[str]) -> Callable[[object, object], None]:
    def delivered(error: object, _: object) -> None:
        if error is not None:
            failed.append(str(error))

    return delivered


class CommitReader:
    """Reads the records of one table in one partition, from `begin` to `rest`; else it asks Kafka for nothing.

    Not thread-safe. Each error is raised once, and what begins after it is another client.
    """

    def __init__(self, endpoints: Endpoints, partition: int, table: str, clock: Clock) -> None:
        self._endpoints = endpoints
        self._partition = partition
        self._table = table.encode()
        self._clock = clock
        self._consumer: Consumer | None = None
        self._position = 0
        self._rests_since_s = 0.0

    def begin(self, back_s: float = 0.0) -> None:
        """Read from the records of the last `back_s` seconds on; 0 for those to come, after those of a short rest.

        Raises:
            BrokerError: Kafka does not answer.
        """
        is_new = self._consumer is None
        try:
            if self._consumer is None:
                make_commits_topic(self._endpoints)
                self._consumer = Consumer(consumer_config(self._endpoints, **self._settings()))
            has_rested_s = self._clock.monotonic_s() - self._rests_since_s
            if is_new or back_s or has_rested_s >= SHORT_REST_S:
                self._position = self._first(self._consumer, back_s, is_new=is_new)
            self._consumer.assign([Place(COMMITS, self._partition, self._position)])
        except KafkaException as error:
            broken = self._broken(str(error))
            if is_new:
                raise broken from error
            self.begin(back_s)  # the topic had gone

    def _settings(self) -> dict[str, Any]:
        return {
            "group.id": "k2ctl-commits",
            "auto.offset.reset": "earliest",  # of a topic that is another one now
            "queued.min.messages": 100,
            "queued.max.messages.kbytes": 16_384,
            # A record that comes ends the long poll of Kafka, and not that of the embedded engine.
            "fetch.wait.max.ms": 20 if self._endpoints.engine == "embedded" else 500,
        }

    def _first(self, consumer: Consumer, back_s: float, *, is_new: bool) -> int:
        """The offset to read from. is_new: the topic may just have been made, and its leaders are not elected yet."""

        def ask() -> tuple[int, int]:
            found: tuple[int, int] = consumer.get_watermark_offsets(
                Place(COMMITS, self._partition), timeout=OFFSET_WITHIN_S
            )
            return found

        low, high = retry(ask, policy=LEADER_POLICY, again=lambda error: is_new and has_no_leader_yet(error))
        if not back_s:
            return int(high)
        if self._endpoints.engine == "embedded":
            return max(int(low), int(high) - EMBEDDED_LOOK_BACK)
        since_ms = (self._clock.now_us() - round(back_s * 1e6)) // 1000
        found = consumer.offsets_for_times([Place(COMMITS, self._partition, since_ms)], timeout=OFFSET_WITHIN_S)[0]
        return int(found.offset) if found.offset >= 0 else int(high)  # none is so young

    def fetch(self, wait_s: float) -> list[bytes]:
        """The records that have come; waits at most `wait_s` for the first.

        Raises:
            BrokerError: the topic has gone, or Kafka refuses it; to be begun again.
        """
        consumer = self._consumer
        if consumer is None:
            raise BrokerError(f"{COMMITS} is not being read", _STATUS)
        try:
            first = consumer.poll(wait_s)
            messages = [] if first is None else [first, *consumer.consume(500, 0.0)]
        except KafkaException as error:
            raise self._broken(str(error)) from error
        self._position = max([self._position, *((one.offset() or 0) + 1 for one in messages if not one.error())])
        errors = [error for error in (message.error() for message in messages) if error is not None]
        if any(not error.retriable() for error in errors):
            raise self._broken(errors[0].str())
        values = [message.value() for message in messages if message.error() is None and message.key() == self._table]
        return [value for value in values if isinstance(value, bytes)]

    def _broken(self, why: str) -> BrokerError:
        self.close()
        return BrokerError(f"{COMMITS} cannot be read: {why}", _STATUS)

    def rest(self) -> None:
        """Read no more for now."""
        if self._consumer is not None:
            self._consumer.unassign()
            self._rests_since_s = self._clock.monotonic_s()

    def close(self) -> None:
        """Leave Kafka."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
