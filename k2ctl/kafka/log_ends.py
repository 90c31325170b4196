"""Where the logs of a topic end, asked for each query."""

from collections.abc import Collection, Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import ANSWER_TIMEOUT_S, LEADER_POLICY, has_no_leader_yet, refused
from k2ctl.kafka.clients import consumer_config
from k2ctl.retry import retry

_LATEST = -1
"""The time that asks for the end, in Kafka's ListOffsets request."""


class LogEnds:
    """Asks for the ends of many partitions in one request, on the thread that waits for them. Thread-safe.

    The admin client passes each answer on through a thread of its own and a future per partition, which in a busy
    process takes several times as long as the request.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        # The end of the log itself, as admin clients have it; else that of the oldest open transaction.
        own = {"group.id": "k2ctl-ends", "isolation.level": "read_uncommitted"}
        self._consumer = Consumer(consumer_config(endpoints, **own))

    def of(self, topic: str, partitions: Collection[int]) -> tuple[int, dict[int, int]]:
        """How many partitions a topic has now, none if there is no such topic, and the ends of those that are known.

        Raises:
            BrokerError: Kafka does not answer.
        """
        wanted = [TopicPartition(topic, partition, _LATEST) for partition in partitions]

        def ask() -> tuple[int, dict[int, int]]:
            listed = self._consumer.list_topics(timeout=ANSWER_TIMEOUT_S).topics.get(topic)
            return (len(listed.partitions), self._asked(wanted)) if listed else (0, {})

        try:
            return retry(ask, policy=LEADER_POLICY, again=has_no_leader_yet)
        except KafkaException as error:
            raise refused(error) from error

    def _asked(self, wanted: list[TopicPartition]) -> dict[int, int]:
        answers = self._consumer.offsets_for_times(wanted, timeout=ANSWER_TIMEOUT_S) if wanted else []
        for answer in answers:
            if answer.error is not None:
                raise KafkaException(answer.error)
        return {answer.partition: answer.offset for answer in answers}


def open_transaction(held: Mapping[int, tuple[int, int]]) -> str:
    """A sentence about open transactions. held: partition → (last stable offset, end of the log)."""
    records = sum(end - stable for stable, end in held.values())
    first, (stable, end) = min(held.items())
    others = f" and {len(held) - 1} more" if len(held) > 1 else ""
    return (
        f"an open transaction holds back {records:,} offsets (partition {first}: readable to {stable:,}, ends at "
        f"{end:,}{others}); its producer has to end it, or Kafka aborts it after transaction.timeout.ms"
    )
