"""Group commit, its rule: which offers of consumers the table takes. Values in, decisions out.

A consumer writes its files and offers them with the offsets that they move. Whoever commits takes an offer only if it
starts, in every partition, where the table stands, or where an offer that is taken before it ends. So offers that come
twice, late, in another order or from a consumer that was given up change nothing, and neither does a second committer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

from k2ctl.domain.checkpoint import (
    NO_CHANGE,
    RETIRED_PARTITION,
    Checkpoint,
    Checkpoints,
    OffsetDelta,
    TopicPartition,
)
from k2ctl.domain.ledger import LedgerChange
from k2ctl.domain.recorded_feeds import RecordedFeed
from k2ctl.errors import LakeError

ANNOUNCED_LIVES_S: Final = 600.0
"""How long after its files were written an offer is taken. Orphan removal deletes what nobody names after an hour; a
table that was rolled back must not take an offer whose files are gone."""


class Layout(NamedTuple):
    """The ids of the table's schema and of its partition spec, for which a file is written."""

    schema_id: int
    spec_id: int


@dataclass(frozen=True)
class Offer:
    """What one commit of a consumer does to the table: all of it or nothing, because its files mix partitions."""

    # A uuid: the commit id of its partitions' checkpoints once it is taken.
    id: str
    # The table's uuid.
    table: str
    layout: Layout
    deltas: Mapping[TopicPartition, OffsetDelta]
    change: LedgerChange = NO_CHANGE
    # The symbols of which the files have corrections or cancellations.
    corrected: frozenset[bytes] = frozenset()
    # Topic → feed, where the table did not have it recorded.
    feeds: Mapping[str, RecordedFeed | None] = field(default_factory=dict)
    # When its files were written.
    written_us: int = 0
    # Somebody waits for it: a revocation, a stop.
    urgent: bool = False
    # Its data files, each as `lake.described_files` describes it.
    files: tuple[bytes, ...] = ()


class Refusal(StrEnum):
    """Why an offer is not taken, now or later."""

    BEHIND = "it starts before the table's offset"
    MOVED = "another commit has moved a partition of it"
    GONE = "the epoch of a partition of it was retired"
    LEDGER = "the ledger has changed in the meantime"
    LAYOUT = "its files were written for another schema or partition spec"
    OLD = "its files were written too long ago"
    TABLE = "it is for another table"
    DAMAGED = "its files are not described as they should be"


FENCING: Final = frozenset({Refusal.BEHIND, Refusal.MOVED, Refusal.GONE})
"""The table stands elsewhere than the offer's author knew. The other reasons concern the offer alone."""


class TableState(NamedTuple):
    """What an offer is compared with."""

    # The table's uuid.
    table: str
    layout: Layout
    checkpoints: Checkpoints


@dataclass(frozen=True)
class Choice:
    """What becomes of some offers. Each is in one of the four."""

    # In the order in which they follow each other.
    taken: tuple[Offer, ...]
    # Those that the table has already.
    stored: tuple[Offer, ...]
    refused: Mapping[str, Refusal]
    # Those that start ahead of the table: what comes before them may still come.
    waiting: tuple[Offer, ...]
    # After those that are taken; its own commit id and sequence number are the table's.
    checkpoints: Checkpoints


def choose(state: TableState, offers: Iterable[Offer], now_us: int, stored: Iterable[str] = ()) -> Choice:
    """Decide over offers. An offer that comes twice is one.

    stored: ids that the table's history names. An offer that is the commit of one of its partitions is known without.
    """
    known, left = set(stored), list({offer.id: offer for offer in offers}.values())
    there = tuple(offer for offer in left if offer.id in known or is_stored(state.checkpoints, offer.deltas, offer.id))
    refused: dict[str, Refusal] = {}
    taken: list[Offer] = []
    waiting = [offer for offer in left if offer not in there]
    again = True
    while again:  # an offer may follow one that comes after it in the list
        again, left, waiting = False, waiting, []
        for offer in left:
            reason = _refusal(state, offer, now_us)
            if reason is not None:
                refused[offer.id] = reason
            elif _starts_ahead(state.checkpoints, offer):
                waiting.append(offer)
            else:
                state = state._replace(checkpoints=_after(state.checkpoints, offer))
                taken.append(offer)
                again = True
    return Choice(tuple(taken), there, refused, tuple(waiting), state.checkpoints)


def _after(checkpoints: Checkpoints, offer: Offer) -> Checkpoints:
    after = checkpoints.after(offer.deltas, offer.id, checkpoints.sequence_number, offer.change)
    return replace(after, commit_id=checkpoints.commit_id)


def _refusal(state: TableState, offer: Offer, now_us: int) -> Refusal | None:
    """Why an offer is not taken; None where it is, or has to wait."""
    if offer.table != state.table:
        return Refusal.TABLE
    found = {_fenced(state.checkpoints, partition, delta) for partition, delta in offer.deltas.items()}
    for reason in (Refusal.GONE, Refusal.BEHIND, Refusal.MOVED):
        if reason in found:
            return reason
    # An author whose clock stands elsewhere commits by itself.
    if abs(now_us - offer.written_us) > ANNOUNCED_LIVES_S * 1e6:
        return Refusal.OLD
    if offer.layout != state.layout:
        return Refusal.LAYOUT
    if not _starts_ahead(state.checkpoints, offer) and not _fits(state.checkpoints, offer.change):
        return Refusal.LEDGER
    return None


def _fenced(checkpoints: Checkpoints, partition: TopicPartition, delta: OffsetDelta) -> Refusal | None:
    """Why a delta can never be put on these checkpoints."""
    checkpoint = checkpoints.by_partition.get(partition)
    if checkpoint is None:
        retired = partition._replace(partition=RETIRED_PARTITION) in checkpoints.by_partition
        return Refusal.GONE if retired and delta.base is not None else None
    if delta.start < checkpoint.next_offset:
        return Refusal.BEHIND
    if delta.start == checkpoint.next_offset and not is_as_read(checkpoint, delta):
        return Refusal.MOVED
    return None


def _starts_ahead(checkpoints: Checkpoints, offer: Offer) -> bool:
    return any(not is_as_read(checkpoints.by_partition.get(at), delta) for at, delta in offer.deltas.items())


def _fits(checkpoints: Checkpoints, change: LedgerChange) -> bool:
    try:
        checkpoints.ledger.changed(change)
    except LakeError:
        return False
    return True


def is_stored(checkpoints: Checkpoints, deltas: Mapping[TopicPartition, OffsetDelta], offer_id: str) -> bool:
    """True if an offer was taken, although nobody said so to its author."""
    found = (checkpoints.by_partition.get(partition) for partition in deltas)
    return any(checkpoint is not None and checkpoint.commit_id == offer_id for checkpoint in found)


def fenced_partitions(checkpoints: Checkpoints, deltas: Mapping[TopicPartition, OffsetDelta]) -> set[TopicPartition]:
    """The partitions whose checkpoints are not as the author of `deltas` read them; a new partition is not fenced."""
    known = checkpoints.by_partition
    return {partition for partition, delta in deltas.items() if not is_as_read(known.get(partition), delta)}


def is_as_read(checkpoint: Checkpoint | None, delta: OffsetDelta) -> bool:
    """Whether a delta can be put on a checkpoint now."""
    if checkpoint is None:
        return delta.base is None  # else its epoch was retired, and its unread trades are counted as lost
    return checkpoint.next_offset == delta.start and delta.base in (None, checkpoint.commit_id)


@dataclass(frozen=True)
class CommitterAnswer:
    """What a committer says of offers. A hint: it saves a load of the table, which alone decides."""

    # The table's uuid.
    table: str
    # The Iceberg commit that took them; empty where the table had them already, or none was taken.
    commit_id: str
    snapshot_id: int | None
    # The ids of the offers that are in the table.
    stored: frozenset[str]
    refused: Mapping[str, Refusal]
    # The table after it, with the ledger.
    checkpoints: Checkpoints = field(default_factory=Checkpoints)

    @property
    def says_something(self) -> bool:
        """Whether an author waits for it."""
        return bool(self.stored or self.refused)


def feeds_of(offers: Sequence[Offer]) -> dict[str, RecordedFeed | None]:
    """The feeds of several offers; of two for one topic the later one."""
    return {topic: feed for offer in offers for topic, feed in offer.feeds.items()}
