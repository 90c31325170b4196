"""Topics and offsets of the running stack, on the embedded broker and on real Kafka alike."""

import math
from collections import deque
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple, Self

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import ConfigResource, MemberDescription, NewPartitions, NewTopic, OffsetSpec

from k2ctl.domain.topics import dead_letter_topic, is_pattern, may_hold_trades, reference_topic
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, BrokerUnanswered, NotAllowed
from k2ctl.kafka.clients import admin_client
from k2ctl.kafka.embedded import control
from k2ctl.profiles import Profile
from k2ctl.retry import RetryPolicy, retry, wait_until

ANSWER_TIMEOUT_S: Final = 10.0
COPIES: Final = 3
"""Of each partition, on as many brokers. Kafka's own default is 1, and then a broker takes its partitions along."""
IN_SYNC: Final = 2
"""Copies that have a record before it is acknowledged: with one broker gone no record is lost, and none waits."""
_NO_LEADER_YET: Final = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
}
"""Real Kafka needs a moment to elect the leaders of a topic that was just made, or whose broker has gone, and to find
the coordinator of a group."""
LEADER_POLICY: Final = RetryPolicy(within_s=ANSWER_TIMEOUT_S, pause_s=0.1)
_NOT_ALLOWED: Final = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
}
_UNREACHED: Final = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN}
"""The client could not reach Kafka; why, its connections know."""


class Watermarks(NamedTuple):
    """The log of a partition: offsets [low, high)."""

    low: int
    high: int


class BrokerAdmin:
    """Asks the broker about topics and changes them. Every question has a time limit."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._errors: deque[KafkaError] = deque(maxlen=8)
        try:
            self._admin = admin_client(endpoints, self._errors.append)
        except KafkaException as error:
            raise BrokerError(
                f"Kafka's client does not take these settings: {error.args[0].str()}",
                "Correct `external.kafka.properties` in the profile, then: k2ctl stack up",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to release: librdkafka closes with the last reference."""

    def create_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> bool:
        """Make a topic, known to the broker on return, with `COPIES` copies, or one on each of fewer brokers.

        False when there is one already. `config` means nothing to the embedded broker.
        """
        if self._endpoints.control_socket:
            return bool(control(self._endpoints.control_socket, "create_topic", name=name, partitions=partitions))
        made = True
        try:
            try:
                self._create(name, partitions, COPIES, {"min.insync.replicas": str(IN_SYNC), **(config or {})})
            except KafkaException as error:
                if error.args[0].code() != KafkaError.INVALID_REPLICATION_FACTOR:
                    raise
                self._create(name, partitions, min(COPIES - 1, self._brokers()), config or {})
        except KafkaException as error:
            code = error.args[0].code()
            # Kafka asks first who may make a topic, and only then whether it is there.
            if code != KafkaError.TOPIC_ALREADY_EXISTS and not (code in _NOT_ALLOWED and name in self.topics()):
                raise self._refused(error) from error
            made = False
        self._await_topic(name)
        return made

    def _create(self, name: str, partitions: int, copies: int, config: Mapping[str, str]) -> None:
        topic = NewTopic(name, num_partitions=partitions, replication_factor=copies, config=dict(config))
        self._wait(self._admin.create_topics([topic], request_timeout=ANSWER_TIMEOUT_S)[name])

    def _brokers(self) -> int:
        return len(self._admin.list_topics(timeout=ANSWER_TIMEOUT_S).brokers)

    def _await_topic(self, name: str) -> None:
        """Real Kafka answers when its controller has made a topic; its brokers learn of it a moment later."""
        wait_until(lambda: bool(self.topics().get(name)), within_s=ANSWER_TIMEOUT_S, every_s=0.02)

    def add_partitions(self, name: str, count: int) -> None:
        """Give a topic more partitions, `count` in all; one that the embedded broker made by itself has four."""
        if self._endpoints.control_socket:
            return
        try:
            self._wait(self._admin.create_partitions([NewPartitions(name, count)])[name])
        except KafkaException as error:
            raise self._refused(error) from error
        wait_until(lambda: self.topics().get(name, 0) >= count, within_s=ANSWER_TIMEOUT_S, every_s=0.02)

    def delete_topic(self, name: str) -> None:
        """Remove a topic and its records."""
        if self._endpoints.control_socket:
            control(self._endpoints.control_socket, "delete_topic", name=name)
            return
        try:
            self._wait(self._admin.delete_topics([name], request_timeout=ANSWER_TIMEOUT_S)[name])
        except KafkaException as error:
            raise self._refused(error) from error

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
            raise self._refused(error) from error

    def retention_s(self, topic: str) -> float | None:
        """For how long a topic keeps a record, `inf` for ever; None where it is not known.

        The embedded broker does not answer that, nor does one whose configuration this user may not see.
        """
        if self._endpoints.control_socket:
            return None
        asked = ConfigResource(ConfigResource.Type.TOPIC, topic)
        try:
            answer = self._wait(self._admin.describe_configs([asked], request_timeout=ANSWER_TIMEOUT_S)[asked])
        except KafkaException as error:
            if error.args[0].code() in _NOT_ALLOWED:
                return None
            raise self._refused(error) from error
        kept_ms = int(answer["retention.ms"].value)
        return kept_ms / 1000 if kept_ms >= 0 else math.inf

    def topics(self) -> dict[str, int]:
        """The number of partitions of every topic, internal ones left out."""
        try:
            listed = self._admin.list_topics(timeout=ANSWER_TIMEOUT_S).topics
        except KafkaException as error:
            raise self._refused(error) from error
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

    def stable_ends(self, topic: str, partitions: Collection[int]) -> dict[int, int]:
        """Up to where partitions can be read: the ends, or where the oldest open transaction begins; in one request.

        Raises:
            BrokerError: Kafka does not answer.
        """
        return self._offsets(topic, partitions, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)

    def committed(self, topic: str, group: str) -> dict[int, int | None]:
        """The offsets that a group committed, None where it never did. Advisory: the table decides."""
        return {entry.partition: entry.offset if entry.offset >= 0 else None for entry in self._group(topic, group)}

    def needed_from(self, topic: str, group: str) -> dict[int, int | None]:
        """The first offset of each partition that is not in the table yet; before the group's where trades are shed.

        None where the group never committed one. Advisory, as `committed`.
        """
        needed: dict[int, int | None] = {}
        for entry in self._group(topic, group):
            said = entry.metadata or ""
            shed_from = int(said) if said.isdecimal() else entry.offset
            needed[entry.partition] = min(entry.offset, shed_from) if entry.offset >= 0 else None
        return needed

    def _group(self, topic: str, group: str) -> list[TopicPartition]:
        wanted = [TopicPartition(topic, partition) for partition in range(self._partitions(topic))]
        request = ConsumerGroupTopicPartitions(group, wanted)
        try:
            answer = self._admin.list_consumer_group_offsets([request], request_timeout=ANSWER_TIMEOUT_S)[group]
            return list(self._wait(answer).topic_partitions)
        except KafkaException as error:
            raise self._refused(error) from error

    def members(self, group: str) -> list[str]:
        """What the clients of a group call themselves, those first that have a partition; none where there is no group.

        Raises:
            BrokerError: Kafka does not answer, or does not let this user look.
        """

        def ask() -> list[MemberDescription]:
            asked = self._admin.describe_consumer_groups([group], request_timeout=ANSWER_TIMEOUT_S)
            return list(self._wait(asked[group]).members)

        try:
            found = retry(ask, policy=LEADER_POLICY, again=has_no_leader_yet)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return []
            raise self._refused(error) from error
        by_owning = sorted(found, key=lambda member: not (member.assignment and member.assignment.topic_partitions))
        return [member.client_id for member in by_owning]

    def epoch(self, topic: str) -> str:
        """The name of this incarnation of a topic: changes when Kafka is wiped or the topic is created again."""
        if self._endpoints.epoch is not None:
            return self._endpoints.epoch
        try:
            cluster = self._admin.describe_cluster(request_timeout=ANSWER_TIMEOUT_S)
            described = self._admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_TIMEOUT_S)
            return f"{self._wait(cluster).cluster_id}/{self._wait(described[topic]).topic_id}"
        except KafkaException as error:
            raise self._refused(error) from error

    def _partitions(self, topic: str) -> int:
        count = self.topics().get(topic, 0)
        if not count:
            raise BrokerError(f"There is no topic {topic} yet.", "Make it by loading trades: k2ctl load")
        return count

    def _offsets(
        self,
        topic: str,
        partitions: Collection[int],
        spec: OffsetSpec,
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    ) -> dict[int, int]:
        wanted = {TopicPartition(topic, partition): spec for partition in partitions}

        def ask() -> dict[int, int]:
            # Who leads them now: librdkafka 2.16 goes on to ask the leaders that it knows, for minutes, and ends the
            # process (an assertion) when it has to find them itself and Kafka does not answer in time.
            self._admin.list_topics(topic, timeout=ANSWER_TIMEOUT_S)
            answers = self._admin.list_offsets(wanted, isolation_level=isolation, request_timeout=ANSWER_TIMEOUT_S)
            return {asked.partition: int(self._wait(answer).offset) for asked, answer in answers.items()}

        try:
            return retry(ask, policy=LEADER_POLICY, again=has_no_leader_yet)
        except KafkaException as error:
            raise self._refused(error) from error

    @staticmethod
    def _wait(future: Any) -> Any:
        try:
            return future.result(ANSWER_TIMEOUT_S + 1)
        except TimeoutError as error:  # librdkafka's own limit was missed, as after a long standstill
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from error

    def _refused(self, error: KafkaException) -> BrokerError:
        """Kafka's error, with the errors of the connections to it where it was not reached."""
        return refused(error, self._failed_connections() if error.args[0].code() in _UNREACHED else "")

    def _failed_connections(self) -> str:
        self._admin.poll(0.1)
        texts = [one.str() for one in self._errors if one.code() != KafkaError._ALL_BROKERS_DOWN]
        reasons = dict.fromkeys(text.partition(" (after ")[0] for text in texts)
        if not reasons and self._endpoints.engine == "external":
            return " (nothing came back; the listener may want another security.protocol)"
        return f" ({'; '.join(reasons)})" if reasons else ""


def has_no_leader_yet(error: Exception) -> bool:
    """True for an answer of Kafka that a new leader changes."""
    return isinstance(error, KafkaException) and error.args[0].code() in _NO_LEADER_YET


def refused(error: KafkaException, reasons: str = "") -> BrokerError:
    """An error of librdkafka as ours."""
    detail = error.args[0]
    kind = NotAllowed if detail.code() in _NOT_ALLOWED else BrokerError
    if detail.code() in _UNREACHED:
        kind = BrokerUnanswered
    return kind(f"Kafka request failed: {detail.str()}{reasons}", "See: k2ctl stack status")


def make_topics(admin: BrokerAdmin, profile: Profile) -> tuple[str, str | None]:
    """Make trades, dead letters and reference data where they are missing; the names of trades and reference data.

    A topic of others is never made, and has no reference data.

    Raises:
        BrokerError: there is no such topic of others, or this user may not make one of ours.
    """
    market, topic = profile.market, profile.topic
    trades = profile.trades_topic
    if topic.name is not None:
        there = admin.topics()
        if trades not in there:
            raise no_such_topic(trades, there)
        admin.create_topic(dead_letter_topic(trades), 1)
        return trades, None
    reference = reference_topic(market.asset_class, market.exchange)
    retention = {"retention.ms": str(round(topic.retention_hours * 3_600_000))}
    admin.create_topic(trades, topic.partitions, retention)
    admin.create_topic(dead_letter_topic(trades), 1)
    admin.create_topic(reference, 1, {"cleanup.policy": "compact"})
    return trades, reference


_NAMED: Final = 8


def no_such_topic(topic: str, there: Collection[str]) -> BrokerError:
    """A topic of others, or a regular expression over their names, that Kafka does not have."""
    what = f"There is no topic that matches {topic}." if is_pattern(topic) else f"There is no topic {topic}."
    names = sorted(filter(may_hold_trades, there))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    listed = f"There are: {', '.join(names[:_NAMED])}{more}." if names else "There is none yet."
    return BrokerError(f"{what} Topics of others are not made.", f"{listed} To choose one: k2ctl consume --topic NAME")
