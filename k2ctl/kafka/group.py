"""A member of a Kafka group: it knows which partitions are assigned to it, and reads none of them.

The group only divides the work. What may be stored is decided by the table, which compares offsets: a member that
slept, or takes a partition for its own too long, stores nothing twice. The assignor `roundrobin` assigns partitions by
number, so that every member gets as many of the CRITICAL ones, which come first.
"""

import logging
from collections.abc import Callable
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaError, Message, TopicPartition

from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, FencedError
from k2ctl.kafka.clients import CLIENT_LOG, LOG, consumer_config
from k2ctl.kafka.patience import Patience


class GroupMember:
    """One member. Everything happens inside `poll`, on the caller's thread."""

    def __init__(
        self,
        endpoints: Endpoints,
        topic: str,
        group: str,
        name: str,
        revoke: Callable[[], None],
        patience: Patience | None = None,
        *,
        away_after_s: float = 0.0,
        client: str = "",
    ) -> None:
        """Join.

        Args:
            name: A static name in the group: a member that is back within the session keeps its partitions. Empty for
                none: others get the partitions as soon as this member leaves.
            revoke: Called before partitions are revoked, to commit what is pending of them; others wait for it, at
                most for a session.
            patience: How long it may be silent and go without a `poll`; None for the usual times.
            away_after_s: How long it may go without a `poll`, if not as `patience` says.
            client: What others see of it.
        """
        self._group = group
        self._name = name
        self._revoke = revoke
        self.partitions: frozenset[int] = frozenset()
        # True while the partitions are assigned; False before the first assignment and during a rebalance.
        self.settled = False
        # True once the group has taken this member for gone.
        self.was_lost = False
        patience = patience or Patience(endpoints)
        config: dict[str, Any] = {
            "group.id": group,
            "partition.assignment.strategy": "roundrobin",
            "session.timeout.ms": round(1000 * patience.session_s),
            "max.poll.interval.ms": round(1000 * (away_after_s or patience.away_after_s)),
            "queued.min.messages": 1,
            "queued.max.messages.kbytes": 64,
        }
        if name:
            config["group.instance.id"] = name
        if client:
            config["client.id"] = client
        self._consumer = Consumer(consumer_config(endpoints, **config))
        self._consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    @property
    def id(self) -> str:
        """What the group knows it by; another one once its session has run out."""
        return self._consumer.memberid() or ""

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
        CLIENT_LOG.note(logging.WARNING, f"group {self._group}: {error.str()}")

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # The group wants an assignment; reading is done elsewhere, so here it is paused, at the end.
        consumer.assign([TopicPartition(p.topic, p.partition, OFFSET_END) for p in partitions])
        consumer.pause(partitions)
        self.partitions = frozenset(p.partition for p in partitions)
        self.settled = True
        LOG.info("partitions assigned", extra={"group": self._group, "partitions": sorted(self.partitions)})

    def _revoked(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        LOG.info("partitions revoked", extra={"group": self._group, "partitions": sorted(self.partitions)})
        try:
            self._revoke()
        finally:
            self.settled = False
            consumer.unassign()

    def _lost(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        """The session ran out: others may have the partitions already."""
        LOG.warning("partitions lost: the session ran out", extra={"group": self._group})
        self.partitions = frozenset()
        self.settled, self.was_lost = False, True
        consumer.unassign()

    def close(self) -> None:
        """Leave the group; `revoke` is not called any more."""
        self._revoke = lambda: None
        # librdkafka hangs if an assignment arrives while the client closes: after `unsubscribe` none does,
        # and those that have arrived are served first.
        self._consumer.unsubscribe()
        while self._consumer.poll(0) is not None:
            continue
        self._consumer.close()
