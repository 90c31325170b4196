"""What people ask of a topic: settings, copies, places in time, and who reads it and how far."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import ConfigResource, OffsetSpec

from k2ctl.domain.topics import CONSUMER_GROUP
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import ANSWER_TIMEOUT_S, BrokerAdmin
from k2ctl.kafka.reader import read_between

_READ_WITHIN_S: Final = 30.0
_READ_TOGETHER: Final = 50_000


@dataclass(frozen=True)
class Copies:
    """Where one partition is kept: ids of brokers."""

    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


class TopicAdmin(BrokerAdmin):
    """A `BrokerAdmin` with the questions that only people have. What the embedded engine cannot say is None."""

    def __init__(self, endpoints: Endpoints) -> None:
        super().__init__(endpoints)
        self._is_embedded = endpoints.control_socket is not None

    def copies(self, topic: str) -> dict[int, Copies]:
        """Partition → where it is kept.

        Raises:
            BrokerError: Kafka does not answer.
        """
        try:
            found = self._admin.list_topics(topic, timeout=ANSWER_TIMEOUT_S).topics[topic].partitions
        except KafkaException as error:
            raise self._refused(error) from error
        return {
            number: Copies(one.leader, tuple(sorted(one.replicas)), tuple(sorted(one.isrs)))
            for number, one in sorted(found.items())
        }

    def settings(self, topic: str) -> dict[str, str] | None:
        """The settings of a topic that are its own, and those that say how long it keeps a record.

        Raises:
            BrokerError: Kafka does not answer, or does not let this user look.
        """
        if self._is_embedded:
            return None
        asked = ConfigResource(ConfigResource.Type.TOPIC, topic)
        try:
            answer = self._wait(self._admin.describe_configs([asked], request_timeout=ANSWER_TIMEOUT_S)[asked])
        except KafkaException as error:
            raise self._refused(error) from error
        return {
            name: str(entry.value)
            for name, entry in sorted(answer.items())
            if name in _ALWAYS or not (entry.is_default or entry.is_sensitive)
        }

    def groups(self, topic: str) -> dict[str, dict[int, int]]:
        """Group → partition → the offset that it has committed, of those that have read the topic.

        The embedded engine has no list of its groups: there it is that of K2's consumers.

        Raises:
            BrokerError: Kafka does not answer, or does not let this user look.
        """
        found = {}
        for group in self._groups():
            committed = self.committed(topic, group)
            offsets = {partition: offset for partition, offset in committed.items() if offset is not None}
            if offsets:
                found[group] = offsets
        return found

    def _groups(self) -> list[str]:
        if self._is_embedded:
            return [CONSUMER_GROUP]
        try:
            listed = self._wait(self._admin.list_consumer_groups(request_timeout=ANSWER_TIMEOUT_S))
        except KafkaException as error:
            raise self._refused(error) from error
        return sorted(one.group_id for one in listed.valid)

    def offsets_at(self, topic: str, at_ms: int, ends: Mapping[int, tuple[int, int]]) -> dict[int, int]:
        """Partition → the first offset whose record is of that time or later; the end where there is none.

        ends: the log of each partition. The embedded engine has no such index, so its records, which are few, are read.

        Raises:
            BrokerError: Kafka does not answer.
        """
        if self._is_embedded:
            return self._read_up_to(topic, at_ms, ends)
        found = self._offsets(topic, ends, OffsetSpec.for_timestamp(at_ms))
        return {number: found[number] if found[number] >= 0 else end for number, (_, end) in ends.items()}

    def _read_up_to(self, topic: str, at_ms: int, ends: Mapping[int, tuple[int, int]]) -> dict[int, int]:
        starts = {number: end for number, (_, end) in ends.items()}
        ranges = dict(ends)
        while any(start < end for start, end in ranges.values()):
            fetched, reached, _ = read_between(
                self._endpoints, topic, ranges, _READ_WITHIN_S, _READ_TOGETHER, ("kafka_timestamp",)
            )
            for number, offset, time_ms in zip(
                fetched.partition.tolist(), fetched.offset.tolist(), fetched.beside["kafka_timestamp"], strict=True
            ):
                if time_ms is not None and time_ms >= at_ms:
                    starts[number] = min(starts[number], offset)
            ranges = {number: (reached[number], end) for number, (_, end) in ranges.items() if number in reached}
            if not len(fetched):
                break
        return starts


_ALWAYS: Final[Collection[str]] = ("cleanup.policy", "retention.ms", "retention.bytes")
