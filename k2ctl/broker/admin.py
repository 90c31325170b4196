"""Topics and offsets of the running stack, on the embedded broker and on real Kafka alike."""

import time
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import NewTopic, OffsetSpec

from k2ctl.broker.clients import admin_client
from k2ctl.broker.embedded import control
from k2ctl.errors import BrokerError
from k2ctl.home import Endpoints

ANSWER_TIMEOUT_S: Final = 10.0
NO_LEADER_YET: Final = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}
"""Real Kafka needs a moment to elect the leaders of a topic that was just made, or whose broker has gone."""


class Watermarks(NamedTuple):
    """The log of a partition: offsets [low, high)."""

    low: int
    high: int


class BrokerAdmin:
    """Asks the broker about topics and changes them. Every question has a time limit."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._admin = admin_client(endpoints)

    def __enter__(self) -> "BrokerAdmin":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to give back: librdkafka closes with the last reference."""

    def create_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> bool:
        """Make a topic, known to the broker on return; False when there is one already.

        `config` means nothing to the embedded broker.
        """
        if self._endpoints.control_socket:
            return bool(control(self._endpoints.control_socket, "create_topic", name=name, partitions=partitions))
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
        made = True
        try:
            self._wait(self._admin.create_topics([topic], request_timeout=ANSWER_TIMEOUT_S)[name])
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise refused(error) from error
            made = False
        self._await_topic(name)
        return made

    def _await_topic(self, name: str) -> None:
        """Real Kafka answers when its controller has made a topic; its brokers learn of it a moment later."""
        deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
        while not self.topics().get(name) and time.monotonic() < deadline_s:
            time.sleep(0.02)

    def delete_topic(self, name: str) -> None:
        """Remove a topic and its records."""
        if self._endpoints.control_socket:
            control(self._endpoints.control_socket, "delete_topic", name=name)
            return
        try:
            self._wait(self._admin.delete_topics([name], request_timeout=ANSWER_TIMEOUT_S)[name])
        except KafkaException as error:
            raise refused(error) from error

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        """Drop the records of partitions before the given offsets, as retention does."""
        if self._endpoints.control_socket:
            control(self._endpoints.control_socket, "delete_records", name=topic, offsets=dict(before))
            return
        wanted = [TopicPartition(topic, partition, offset) for partition, offset in before.items()]
        try:
            for future in self._admin.delete_records(wanted, request_timeout=ANSWER_TIMEOUT_S).values():
                self._wait(future)
        except KafkaException as error:
            raise refused(error) from error

    def topics(self) -> dict[str, int]:
        """The number of partitions of every topic, internal ones left out."""
        try:
            listed = self._admin.list_topics(timeout=ANSWER_TIMEOUT_S).topics
        except KafkaException as error:
            raise refused(error) from error
        return {name: len(topic.partitions) for name, topic in listed.items() if not name.startswith("__")}

    def watermarks(self, topic: str) -> dict[int, Watermarks]:
        """The log of every partition, in two requests whatever their number.

        Raises:
            BrokerError: there is no such topic, or Kafka does not answer.
        """
        partitions = range(self._partitions(topic))
        low = self._offsets(topic, partitions, OffsetSpec.earliest())
        high = self._offsets(topic, partitions, OffsetSpec.latest())
        return {partition: Watermarks(low[partition], high[partition]) for partition in partitions}

    def high_watermarks(self, topic: str, partitions: Collection[int]) -> dict[int, int]:
        """The ends of some partitions, in one request.

        Raises:
            BrokerError: Kafka does not answer.
        """
        return self._offsets(topic, partitions, OffsetSpec.latest())

    def committed(self, topic: str, group: str) -> dict[int, int | None]:
        """The offsets that a group committed, None where it never did. Advisory: the table holds the truth."""
        wanted = [TopicPartition(topic, partition) for partition in range(self._partitions(topic))]
        request = ConsumerGroupTopicPartitions(group, wanted)
        try:
            answer = self._admin.list_consumer_group_offsets([request], request_timeout=ANSWER_TIMEOUT_S)[group]
            found = self._wait(answer).topic_partitions
        except KafkaException as error:
            raise refused(error) from error
        return {entry.partition: entry.offset if entry.offset >= 0 else None for entry in found}

    def epoch(self, topic: str) -> str:
        """The name of this incarnation of a topic: changes when Kafka is wiped or the topic is made anew."""
        if self._endpoints.epoch is not None:
            return self._endpoints.epoch
        try:
            cluster = self._admin.describe_cluster(request_timeout=ANSWER_TIMEOUT_S)
            described = self._admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_TIMEOUT_S)
            return f"{self._wait(cluster).cluster_id}/{self._wait(described[topic]).topic_id}"
        except KafkaException as error:
            raise refused(error) from error

    def _partitions(self, topic: str) -> int:
        count = self.topics().get(topic, 0)
        if not count:
            raise BrokerError(f"There is no topic {topic} yet.", "Make it by loading trades: k2ctl load")
        return count

    def _offsets(self, topic: str, partitions: Collection[int], spec: OffsetSpec) -> dict[int, int]:
        wanted = {TopicPartition(topic, partition): spec for partition in partitions}
        deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            try:
                answers = self._admin.list_offsets(wanted, request_timeout=ANSWER_TIMEOUT_S)
                return {asked.partition: int(self._wait(answer).offset) for asked, answer in answers.items()}
            except KafkaException as error:
                if error.args[0].code() not in NO_LEADER_YET or time.monotonic() > deadline_s:
                    raise refused(error) from error
                time.sleep(0.1)

    @staticmethod
    def _wait(future: Any) -> Any:
        try:
            return future.result(ANSWER_TIMEOUT_S + 1)
        except TimeoutError as error:  # librdkafka's own limit has not been heard of, as after a long standstill
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from error


def refused(error: KafkaException) -> BrokerError:
    """What librdkafka says, as our error."""
    detail = error.args[0]
    return BrokerError(f"Kafka does not do what was asked: {detail.str()}", "See: k2ctl stack status")
