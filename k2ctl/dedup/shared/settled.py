"""A batch on its way through settlement: its claims as columns, and what is left of its rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from k2ctl.dedup.shared.claims import ClaimBatch, ClaimedPartition, Ticket
from k2ctl.domain.checkpoint import Checkpoints, OffsetDelta, TopicPartition
from k2ctl.domain.rows import Rows
from k2ctl.lake.stored_lookup import Stored
from k2ctl.sequence.lines.totals import Copied


@dataclass(frozen=True)
class SettledPart:
    """One of the parts that were settled."""

    # Without the copies, reprints marked.
    rows: Rows
    # bool[n], of the part as it was: which rows are copies.
    copies: np.ndarray
    # Those rows, and which they are copies of.
    copied: Copied

    @property
    def has_changed(self) -> bool:
        """False if it is as it was."""
        return bool(self.copies.any())


@dataclass(frozen=True)
class Settled:
    """What settlement leaves of a batch, and by which right."""

    parts: tuple[SettledPart, ...]
    # The partitions that the commit moves.
    partitions: tuple[TopicPartition, ...]
    # None where nothing is claimed.
    ticket: Ticket | None
    # Why copies may have passed; empty if none can have, should the claims be confirmed.
    why_reduced: str

    @property
    def rows(self) -> int:
        """The rows that are left."""
        return sum(len(part.rows) for part in self.parts)


class Unsettled:
    """The rows of a commit, in parts of one topic and epoch each."""

    def __init__(self, parts: Sequence[Rows], moved: Mapping[TopicPartition, OffsetDelta], base: Checkpoints) -> None:
        """moved: what the commit does to each partition, if the table stands at `base`."""
        self.parts = list(parts)
        self.partitions = tuple(moved)
        # Partition → the commit that the batch is to be put on.
        self.bases = {partition: delta.base or "" for partition, delta in moved.items()}
        self._starts = np.cumsum([0, *map(len, self.parts)])
        trades = [rows.trades for rows in self.parts]
        self.ids = _joined([found["message_id"] for found in trades], "V16")
        self.times_us = _joined([found["event_ns"] // 1000 for found in trades], np.int64)
        at = {partition: place for place, partition in enumerate(self.partitions)}
        self.places = _joined([_places(rows, at, base) for rows in self.parts], np.uint16)
        self._copies = np.zeros(len(self.ids), np.bool_)
        self._reprints = np.zeros(len(self.ids), np.bool_)
        self._stored_topic = np.full(len(self.ids), "", object)
        self._stored_received_ns = np.zeros(len(self.ids), np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_of_known_partitions(self) -> bool:
        """Whether the table knows the partition of every row: else nobody could tell whether a claim is decided."""
        return all(self.bases[self.partitions[place]] for place in np.unique(self.places).tolist())

    def record(self, consumer: str) -> ClaimBatch:
        """Who claims, and on which commits."""
        return ClaimBatch(consumer, tuple(ClaimedPartition(at, self.bases[at]) for at in self.partitions))

    def is_beside(self, claim: ClaimedPartition) -> bool:
        """Whether a claim is on a base that this batch is put on, too: only one of both can be committed."""
        return self.bases.get(claim.partition) == claim.base

    def place_of(self, claim: ClaimedPartition) -> int:
        """The place of a claim's partition in this batch."""
        return self.partitions.index(claim.partition)

    def judge(self, at: np.ndarray, find: Callable[[Rows], Stored]) -> np.ndarray:
        """Look up the rows at some positions; returns those of them that are no copies."""
        for number, rows in enumerate(self.parts):
            start, end = self._starts[number : number + 2]
            here = at[(at >= start) & (at < end)]
            if len(here):
                stored = find(rows.take(here - start))
                self._copies[here] = stored.elsewhere & ~stored.itself
                self._reprints[here] = stored.reprinted & ~self._copies[here]
                if stored.rows is not None:
                    self._stored_topic[here] = stored.rows.topic
                    self._stored_received_ns[here] = stored.rows.received_ns
        return np.asarray(at[~self._copies[at]])

    def settled(self, ticket: Ticket | None, why_reduced: str) -> Settled:
        """What is left."""
        parts = tuple(self._settled(number, rows) for number, rows in enumerate(self.parts))
        return Settled(parts, self.partitions, ticket, why_reduced)

    def _settled(self, number: int, rows: Rows) -> SettledPart:
        here = slice(*self._starts[number : number + 2])
        copies = self._copies[here]
        marked = rows.with_reprints(self._reprints[here])
        stored = (self._stored_topic[here][copies], self._stored_received_ns[here][copies])
        copied = Copied(rows.trades["received_ns"][copies], *stored)
        return SettledPart(marked.take(~copies) if copies.any() else marked, copies, copied)


def _joined(columns: Sequence[np.ndarray], kind: DTypeLike) -> np.ndarray:
    return np.concatenate(columns) if columns else np.zeros(0, kind)


def _places(rows: Rows, at: Mapping[TopicPartition, int], base: Checkpoints) -> np.ndarray:
    """uint16[n]: the place of each row's partition among those that the commit moves."""
    if not len(rows):
        return np.zeros(0, np.uint16)
    places = np.zeros(int(rows.partition.max()) + 1, np.uint16)
    for partition in np.unique(rows.partition).tolist():
        places[partition] = at[base.partition_of(rows.topic, rows.epoch, partition)]
    return np.asarray(places[rows.partition])
