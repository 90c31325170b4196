"""The dead-letter topic: what cannot be decoded, with reason and identity, acknowledged before anything commits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from k2ctl.broker.clients import producer_config
from k2ctl.errors import BrokerError
from k2ctl.home import Endpoints
from k2ctl.schema.topics import dead_letter_topic

FLUSH_TIMEOUT_S: Final = 30.0

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
    """Publishes to `<topic>.dlq`. A crash may publish a letter twice; its identity headers tell."""

    def __init__(self, endpoints: Endpoints, topic: str, epoch: str) -> None:
        self._source = topic
        self._epoch = epoch
        self._topic = dead_letter_topic(topic)
        self._producer = Producer(producer_config(endpoints, **{"delivery.report.only.error": True}))

    def publish(self, letters: list[DeadLetter]) -> None:
        """Publish and wait until every letter is acknowledged.

        Raises:
            BrokerError: one was not; nothing may be committed then.
        """
        failed: list[str] = []

        def on_delivery(error: object, _: object) -> None:
            failed.append(str(error))

        for letter in letters:
            headers: dict[str, str | bytes | None] = {
                "k2-reason": letter.reason,
                "k2-topic": self._source,
                "k2-epoch": self._epoch,
                "k2-partition": str(letter.partition),
                "k2-offset": str(letter.offset),
                "k2-index": "" if letter.index is None else str(letter.index),
            }
            self._produce(letter.value, headers, on_delivery)
        left = self._producer.flush(FLUSH_TIMEOUT_S)
        if left or failed:
            raise BrokerError(
                f"{left + len(failed)} dead letters were not acknowledged: {(failed or ['timeout'])[0]}",
                "Nothing was committed; it is safe to start again. See: k2ctl stack status",
            )

    def _produce(self, value: bytes, headers: dict[str, str | bytes | None], on_delivery: Delivery) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, headers=headers, on_delivery=on_delivery)
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise BrokerError(f"{self._topic}: {error}", "See: k2ctl stack status") from error
