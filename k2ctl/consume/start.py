"""Where a consumer begins: the table decides; Kafka is only asked whether it still has the log."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, TypeVar

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import RETIRED_PARTITION, Checkpoints, TopicPartition
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, BrokerUnanswered, LakeUnanswered, first_line
from k2ctl.kafka.admin import BrokerAdmin, Watermarks
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import HighWatermarks, checkpoints_of, ended_epochs
from k2ctl.lake.writer import TableWriter
from k2ctl.retry import RetryPolicy, retry

LOG: Final = logging.getLogger("k2ctl.consume")

ASKED_EVERY_S: Final = 1.0
ASKED_LEAST_EVERY_S: Final = 10.0

Opened = TypeVar("Opened")


def opened_within(
    open_: Callable[[], Opened], within_s: float, waits: Callable[[str], None], clock: Clock | None = None
) -> Opened:
    """Open what needs Kafka, the table or a registry; while one does not answer, try again for so long.

    waits: called at each failure with the reason.

    Raises:
        K2Error: it cannot be opened; at once where asking again would not help.
    """

    def again(error: Exception) -> bool:
        if not isinstance(error, BrokerUnanswered | LakeUnanswered):
            return False
        LOG.warning("waiting: %s", first_line(error))
        waits(first_line(error))
        return True

    policy = RetryPolicy(within_s, ASKED_EVERY_S, ASKED_LEAST_EVERY_S)
    return retry(open_, policy=policy, again=again, clock=clock)


@dataclass(frozen=True)
class StartPosition:
    """The topic's epoch, and what became of older ones."""

    epoch: str
    retired: tuple[str, ...] = ()
    """Epochs that are gone with their Kafka."""
    lost: int = 0
    """Records of those that were never read, as far as is known."""
    lost_known: bool = True
    """False if the end of an epoch that is gone was not recorded."""

    @property
    def lost_text(self) -> str:
        """What was lost, in words."""
        if not self.lost_known:
            return "how much of it was unread is not known, because that Kafka's end was not written down"
        return f"{self.lost:,} records of it were unread and are lost"


def retire_past_epochs(
    endpoints: Endpoints, admin: BrokerAdmin, lake: Lake, writer: TableWriter, topic: str, *, rebase: bool
) -> StartPosition:
    """Find the topic's epoch, and retire those that are gone: their balance is closed.

    On the embedded engine every start is a new Kafka, so older epochs are retired without asking. Elsewhere that
    is the operator's decision (`--rebase`): a Kafka that was wiped may be a mistake that can be undone.

    Raises:
        BrokerError: the table was filled from another Kafka, and `rebase` was not given.
    """
    epoch, table = admin.epoch(topic), lake.table()
    checkpoints, past = checkpoints_of(table), ended_epochs(table)
    others = (checkpoints.epochs(topic) | _left_behind(checkpoints, topic, past)) - {epoch}
    if rebase and _beyond_the_log(checkpoints, admin, topic, epoch):
        others |= {epoch}
    if others and not (rebase or endpoints.engine == "embedded"):
        raise BrokerError(
            f"The table was filled from another {topic} than this Kafka has: it was wiped or recreated.",
            "If its unread records may be counted as lost: k2ctl consume --rebase",
        )
    unread = {old: unread_at_end(checkpoints, topic, old, past) for old in sorted(others)}
    for old, records in unread.items():
        LOG.warning("epoch %s of %s is gone; unread records: %s", old, topic, "unknown" if records is None else records)
        writer.retire(topic, old, records or 0)
    known = [records for records in unread.values() if records is not None]
    return StartPosition(epoch, tuple(unread), sum(known), len(known) == len(unread))


def _beyond_the_log(checkpoints: Checkpoints, admin: BrokerAdmin, topic: str, epoch: str) -> bool:
    """Whether a partition ends before the table's offset: the same topic, but not the log that was read."""
    marks = admin.watermarks(topic)
    return any(
        checkpoint.next_offset > marks[at.partition].high
        for at, checkpoint in checkpoints.by_partition.items()
        if at[:2] == (topic, epoch) and at.partition in marks
    )


def _left_behind(checkpoints: Checkpoints, topic: str, past: dict[str, HighWatermarks]) -> set[str]:
    """Epochs of the embedded engine that had records of the topic and were stopped before any was committed."""
    return {
        epoch
        for epoch, marks in past.items()
        if any(marks.get(topic, {}).values())
        and TopicPartition(topic, epoch, RETIRED_PARTITION) not in checkpoints.by_partition
    }


def unread_at_end(checkpoints: Checkpoints, topic: str, epoch: str, past: dict[str, HighWatermarks]) -> int | None:
    """Records of a past epoch that were never committed; None when its end offsets were not written down."""
    marks = past.get(epoch)
    if marks is None:
        return None
    ends = marks.get(topic, {})
    by_partition = {
        at.partition: checkpoint for at, checkpoint in checkpoints.by_partition.items() if at[:2] == (topic, epoch)
    }
    return sum(max(0, end - (by_partition[p].next_offset if p in by_partition else 0)) for p, end in ends.items())


def starting_offsets(
    checkpoints: Checkpoints, topic: str, epoch: str, marks: dict[int, Watermarks], partitions: Collection[int]
) -> dict[int, int]:
    """For each partition the table's next offset; a partition that it does not know starts at its log start.

    Raises:
        BrokerError: a partition ends before the table's offset, so this is not the log that the table read.
    """
    offsets = {}
    for partition in sorted(partitions):
        checkpoint = checkpoints.by_partition.get(TopicPartition(topic, epoch, partition))
        offsets[partition] = checkpoint.next_offset if checkpoint else marks[partition].low
        if offsets[partition] > marks[partition].high:
            raise BrokerError(
                f"Partition {partition} of {topic} ends at {marks[partition].high}, "
                f"before offset {offsets[partition]} of the table.",
                "This Kafka was wiped or restored. If that is intended: k2ctl consume --rebase",
            )
    return offsets
