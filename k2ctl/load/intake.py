"""When load must wait: a consumer has closed the intake, or the embedded engine cannot keep more."""

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from k2ctl.domain.topics import CONSUMER_GROUP
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.embedded import RETENTION_BYTES
from k2ctl.kafka.telemetry import TelemetryReader
from k2ctl.timing import Every

PAUSE_AT, RESUME_AT = 0.7, 0.5
"""Fractions of what a partition keeps, by what is unread or shed in it, at which load pauses and continues."""

UNCOMPRESSED_RECORD_BYTES: Final = 133
"""What an uncompressed trade takes in the log: assumed until the client has counted what it really sends."""

LOOK_AFTER_TRADES: Final = 4_000
"""Sent to one partition: a tenth of what it keeps. Unpaced load comes in pieces no larger than that."""

CHECK_EVERY_S: Final = 0.2
STUCK_AFTER_S: Final = 30.0


class Sent(Protocol):
    """What a load has sent so far, by the names of `WorkerReport`."""

    def total(self, name: str) -> float:
        """The sum of one figure over the workers."""
        ...


class Gate(Protocol):
    """Something that may hold a load up."""

    def reason(self, sent: Sent, /) -> str:
        """Why load must wait now; empty when it need not. Cheap to call often."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...


def first_reason(gates: Sequence[Gate], sent: Sent) -> str:
    """What holds the load up, if anything does."""
    return next(filter(None, [gate.reason(sent) for gate in gates]), "")


class IntakeGate:
    """Closed while a consumer of the topic says so on `k2.telemetry`; its word holds for five seconds.

    It is cooperative: producers that do not ask are not stopped by it.
    """

    def __init__(self, endpoints: Endpoints, topic: str) -> None:
        self._telemetry = TelemetryReader(endpoints)
        self._topic = topic
        self._every = Every(CHECK_EVERY_S)
        self._reason = ""

    def reason(self, _: Sent, /) -> str:
        if self._every.due():
            consumers = self._telemetry.poll(0.0).consumers.values()
            closed = [one.id for one in consumers if one.topic == self._topic and one.intake == "closed"]
            self._reason = f"{closed[0]} has closed the intake (CIRCUIT_BREAK)" if closed else ""
        return self._reason

    def close(self) -> None:
        self._telemetry.close()


class RetentionGate:
    """Closed while a partition of the embedded engine holds too much that is unread or shed.

    It keeps 5 MiB per partition and drops older data, read or not.
    """

    def __init__(self, endpoints: Endpoints, topic: str) -> None:
        self._admin = BrokerAdmin(endpoints)
        self._topic = topic
        self._every = Every(CHECK_EVERY_S)
        self._progress: tuple[float, dict[int, int | None]] | None = None
        self._reason = ""

    def reason(self, sent: Sent, /) -> str:
        """Looks at the partitions a few times a second.

        Raises:
            BrokerError: closed for half a minute, and nobody reads.
        """
        if self._every.due():
            needed = self._admin.needed_from(self._topic, CONSUMER_GROUP)
            fullest = self._fullest_share(needed, _bytes_per_record(sent))
            if fullest >= PAUSE_AT:
                self._reason = f"a partition holds {fullest:.0%} of its 5 MiB unread; waiting for a consumer"
            elif fullest < RESUME_AT:
                self._reason = ""
            self._notice_progress(needed)
        return self._reason

    def _fullest_share(self, needed: dict[int, int | None], record_bytes: float) -> float:
        return _most_needed(self._admin, self._topic, needed) * record_bytes / RETENTION_BYTES

    def _notice_progress(self, needed: dict[int, int | None]) -> None:
        now_s = time.monotonic()
        if not self._reason or self._progress is None or self._progress[1] != needed:
            self._progress = (now_s, needed)
        elif now_s - self._progress[0] > STUCK_AFTER_S:
            raise BrokerError(
                f"Nobody has read for {STUCK_AFTER_S:.0f} s, and the embedded Kafka cannot keep more.",
                "Start a consumer in another terminal: k2ctl consume",
            )

    def close(self) -> None:
        """The admin client closes with its last reference."""


class UnreadGuard:
    """A worker's own look at what the embedded engine must keep, by trades sent and not by time.

    A replay at full speed fills a partition between two looks of `RetentionGate`.
    """

    def __init__(self, endpoints: Endpoints, topic: str, workers: int) -> None:
        self._admin = BrokerAdmin(endpoints)
        self._topic = topic
        self._workers = workers
        self._since_look = 0

    def must_wait(self, sent: Sent, sent_to_one_partition: int) -> bool:
        """Whether the fullest partition has no room; asks Kafka once for every `LOOK_AFTER_TRADES` sent to one."""
        self._since_look += sent_to_one_partition
        if self._since_look * self._workers < LOOK_AFTER_TRADES:
            return False
        needed = self._admin.needed_from(self._topic, CONSUMER_GROUP)
        on_the_way = sent.total("records") - sent.total("acknowledged_records")
        held = _most_needed(self._admin, self._topic, needed) + on_the_way
        if held * _bytes_per_record(sent) >= PAUSE_AT * RETENTION_BYTES:
            return True
        self._since_look = 0
        return False


def gates_of(endpoints: Endpoints, topic: str, *, ignore_intake: bool) -> list[Gate]:
    """What may hold up a load on this stack."""
    makers: list[Callable[[Endpoints, str], Gate]] = []
    if not ignore_intake:
        makers.append(IntakeGate)
    if endpoints.engine == "embedded":
        makers.append(RetentionGate)
    return [make(endpoints, topic) for make in makers]


def _most_needed(admin: BrokerAdmin, topic: str, needed: dict[int, int | None]) -> int:
    """Records of the fullest partition behind the first that is unread or shed."""
    marks = admin.watermarks(topic)
    return max((mark.high - max(needed.get(p) or 0, mark.low) for p, mark in marks.items()), default=0)


def _bytes_per_record(sent: Sent) -> float:
    """What a record takes in the log: as counted by the client on the wire, or uncompressed before it has."""
    acknowledged, counted = sent.total("acknowledged_records"), sent.total("wire_records")
    per_trade = sent.total("enqueued") / acknowledged if acknowledged else 1.0
    if counted:
        return max(sent.total("wire_bytes") / counted, 20.0)
    return UNCOMPRESSED_RECORD_BYTES * max(1.0, per_trade)
