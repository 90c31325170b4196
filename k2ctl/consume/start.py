"""Where a consumer begins: the table decides, Kafka is only asked whether it can still deliver."""

from collections.abc import Collection
from dataclasses import dataclass

from k2ctl.domain.checkpoint import RETIRED_PARTITION, Lane, Progress
from k2ctl.errors import BrokerError
from k2ctl.home import Endpoints, past_epochs
from k2ctl.kafka.admin import BrokerAdmin, Watermarks
from k2ctl.lake.writer import TableWriter


@dataclass(frozen=True)
class Beginning:
    """The topic's epoch; the epochs that are gone; the records of those that were never read, as far as is known."""

    epoch: str
    retired: tuple[str, ...] = ()
    lost: int = 0
    lost_known: bool = True

    @property
    def lost_text(self) -> str:
        """What was lost, in words."""
        if not self.lost_known:
            return "how much of it was unread is not known, because that Kafka was killed"
        return f"{self.lost:,} records of it were unread and are lost"


def settle_epochs(
    endpoints: Endpoints, admin: BrokerAdmin, writer: TableWriter, progress: Progress, topic: str, *, rebase: bool
) -> Beginning:
    """Find the topic's epoch, and close the books of one that is gone.

    On the embedded engine every start is a new Kafka, so older epochs are retired without asking. Elsewhere that
    is the operator's decision (`--rebase`): a Kafka that was wiped may be a mistake that can be undone.

    Raises:
        BrokerError: the table was filled from another Kafka, and `rebase` was not given.
    """
    epoch = admin.epoch(topic)
    others = (progress.epochs(topic) | _left_behind(progress, topic)) - {epoch}
    if rebase and _beyond_the_log(progress, admin, topic, epoch):
        others |= {epoch}
    if others and not (rebase or endpoints.engine == "embedded"):
        raise BrokerError(
            f"The table was filled from another {topic} than this Kafka has: it was wiped or made anew.",
            "If what it held unread may be given up: k2ctl consume --rebase",
        )
    unread = {old: unread_at_end(progress, topic, old) for old in sorted(others)}
    for old, records in unread.items():
        writer.retire(topic, old, records or 0)
    known = [records for records in unread.values() if records is not None]
    return Beginning(epoch, tuple(unread), sum(known), len(known) == len(unread))


def _beyond_the_log(progress: Progress, admin: BrokerAdmin, topic: str, epoch: str) -> bool:
    """Whether a partition ends before the table's offset: the same topic, but not the log that was read."""
    marks = admin.watermarks(topic)
    return any(
        head.next_offset > marks[lane.partition].high
        for lane, head in progress.heads.items()
        if lane[:2] == (topic, epoch) and lane.partition in marks
    )


def _left_behind(progress: Progress, topic: str) -> set[str]:
    """Epochs of the embedded engine that held records of the topic and were stopped before anybody committed any."""
    return {
        epoch
        for epoch, marks in past_epochs().items()
        if any(marks.get(topic, {}).values()) and Lane(topic, epoch, RETIRED_PARTITION) not in progress.heads
    }


def unread_at_end(progress: Progress, topic: str, epoch: str) -> int | None:
    """Records of a past epoch that were never committed; None when nobody wrote down how far it had come."""
    marks = past_epochs().get(epoch)
    if marks is None:
        return None
    ends = marks.get(topic, {})
    heads = {lane.partition: head for lane, head in progress.heads.items() if lane[:2] == (topic, epoch)}
    return sum(max(0, end - (heads[p].next_offset if p in heads else 0)) for p, end in ends.items())


def starting_offsets(
    progress: Progress, topic: str, epoch: str, marks: dict[int, Watermarks], partitions: Collection[int]
) -> dict[int, int]:
    """For each partition the table's next offset; a partition that it does not know starts at its log start.

    Raises:
        BrokerError: a partition ends before the table's offset, so this is not the log that the table read.
    """
    offsets = {}
    for partition in sorted(partitions):
        head = progress.heads.get(Lane(topic, epoch, partition))
        offsets[partition] = head.next_offset if head else marks[partition].low
        if offsets[partition] > marks[partition].high:
            raise BrokerError(
                f"Partition {partition} of {topic} ends at {marks[partition].high}, "
                f"before offset {offsets[partition]} of the table.",
                "This Kafka was wiped or restored. If that is intended: k2ctl consume --rebase",
            )
    return offsets
