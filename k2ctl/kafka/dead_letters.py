"""The dead-letter topic: what cannot be decoded, with reason and identity, acknowledged before anything commits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from k2ctl.domain.topics import dead_letter_topic
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError
from k2ctl.kafka.clients import producer_config

FLUSH_TIMEOUT_S: Final = 30.0
LARGEST_BYTES: Final = 5_000_000
"""More than Kafka takes in one record, so that it is Kafka who refuses: the client's own limit is 1 MB."""

CUT_BYTES: Final = 900_000

Delivery = Callable[[KafkaError | None, Message], None]


@dataclass(frozen=True)
class DeadLetter:
    """A record, or one trade of a record (then `index` is its position), and why it cannot be stored."""

    partition: int
    offset: int
    index: int | None
    reason: str
    value: bytes


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
        headers: dict[str, str | bytes | None] = {
            "k2-reason": dead_letter.reason,
            "k2-topic": self._source,
            "k2-epoch": self._epoch,
            "k2-partition": str(dead_letter.partition),
            "k2-offset": str(dead_letter.offset),
            "k2-index": "" if dead_letter.index is None else str(dead_letter.index),
            "k2-bytes": str(len(dead_letter.value)),
        }
        while True:
            try:
                value = dead_letter.value[:limit_bytes]
                self._producer.produce(self._topic, value, headers=headers, on_delivery=on_delivery)
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise BrokerError(f"{self._topic}: {error}", "See: k2ctl stack status") from error
