"""A place in a Kafka group: it says which partitions are ours, and reads none of them.

The group only shares out the work. What may be stored is decided by the table, which compares offsets: so a member
that slept, or believes too long that a partition is its own, stores nothing twice. Assignor `roundrobin` deals the
partitions out by number, so that every member has its share of the CRITICAL ones, which come first.
"""

from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import OFFSET_END, Consumer, KafkaError, Message, TopicPartition

from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, FencedError
from k2ctl.kafka.clients import consumer_config

AWAY_AFTER_S: Final = 120.0
"""A member whose loop stands still for so long has left: longer than a commit is retried."""

EMBEDDED_AWAY_AFTER_S: Final = 10.0
"""The embedded engine forgets to answer who joins while the group is being told its shares; librdkafka asks again
once this and three seconds are over."""


JOIN_MARGIN_S: Final = 30.0


def join_within_s(endpoints: Endpoints) -> float:
    """How long a group may take to share its topic out: a member that stands still, and some time for the others."""
    return JOIN_MARGIN_S + (EMBEDDED_AWAY_AFTER_S if endpoints.control_socket else AWAY_AFTER_S)


class GroupMember:
    """One member. Everything happens inside `poll`, on the caller's thread.

    name: a static name in the group, so that a member that is back within the session takes its old place; empty for
    none, which gives its partitions back at once when it leaves. revoke: called before partitions are backfilled, to
    commit what is in hand of them; others wait for it, at most a session.
    """

    def __init__(self, endpoints: Endpoints, topic: str, group: str, name: str, revoke: Callable[[], None]) -> None:
        self._name = name
        self._revoke = revoke
        self.partitions: frozenset[int] = frozenset()
        self.settled = False
        """Whether the partitions are ours now; not so before the first assignment, and while the group shares anew."""
        config: dict[str, Any] = {
            "group.id": group,
            "partition.assignment.strategy": "roundrobin",
            "max.poll.interval.ms": round(1000 * (EMBEDDED_AWAY_AFTER_S if endpoints.control_socket else AWAY_AFTER_S)),
            "queued.min.messages": 1,
            "queued.max.messages.kbytes": 64,
        }
        if name:
            config["group.instance.id"] = name
        self._consumer = Consumer(consumer_config(endpoints, **config))
        self._consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def poll(self) -> None:
        """Take part in the group.

        Raises:
            FencedError: another member has come with the same name. BrokerError: the group refuses this member.
            Whatever `revoke` raises.
        """
        message = self._consumer.poll(0)
        error = message.error() if isinstance(message, Message) else None
        if error is None:
            return
        if error.code() in (KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL):
            raise FencedError(
                f"Another consumer has joined under the name {self._name or 'of this one'}: {error.str()}",
                "See who runs: k2ctl consume status",
            )
        if error.code() in (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.INVALID_SESSION_TIMEOUT):
            raise BrokerError(f"Kafka does not let this consumer into its group: {error.str()}", "See: k2ctl doctor")

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # The group wants an assignment; reading is done elsewhere, so here it is paused, at the end.
        consumer.assign([TopicPartition(p.topic, p.partition, OFFSET_END) for p in partitions])
        consumer.pause(partitions)
        self.partitions = frozenset(p.partition for p in partitions)
        self.settled = True

    def _revoked(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        try:
            self._revoke()
        finally:
            self.settled = False
            consumer.unassign()

    def _lost(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        """The session ran out: others may have the partitions already."""
        self.partitions = frozenset()
        self.settled = False
        consumer.unassign()

    def close(self) -> None:
        """Leave the group; nothing is let go any more."""
        self._revoke = lambda: None
        self._consumer.close()
