"""Claims: who is about to store which trade, known to all consumers of a scope before any of them commits.

A consumer claims the ids of a whole batch before its commit, and confirms the batch after it. A claim is a hint and
never a verdict: whoever meets the claim of another waits until that one's commit is decided, and then looks in the
table. So a claim too many costs a look-up, and only a claim too few lets a copy pass.

A store forgets: Redis is emptied, fails over, or comes back from an older dump. Its *generation* changes with each
such loss. In a new generation nothing is covered until the ids of the table's last rows were added
(`k2ctl.dedup.shared.healing`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import numpy as np

from k2ctl.domain.checkpoint import TopicPartition
from k2ctl.errors import StateError

PLACE_BITS: Final = 16
"""A holder, int64, is the number of a ticket and, in its lowest bits, a place in that ticket's batch; 0 is nobody."""

STORED: Final = 1 << PLACE_BITS
"""The holder of what was added from the table. Its ticket has no record, so it counts as decided."""

FIRST_TICKET: Final = 2


def holders_of(number: int, places: np.ndarray) -> np.ndarray:
    """int64[n]: the holders of n claims of one ticket, at places uint16[n] of its batch."""
    return np.asarray((np.int64(number) << PLACE_BITS) | places.astype(np.int64))


def tickets_of(holders: np.ndarray) -> np.ndarray:
    """int64[n]: the numbers of the tickets of n holders."""
    return np.asarray(holders >> PLACE_BITS)


def places_of(holders: np.ndarray) -> np.ndarray:
    """int64[n]: the places of n holders in the batches of their tickets, as `ClaimBatch.partitions` has them."""
    return np.asarray(holders & ((1 << PLACE_BITS) - 1))


class GenerationLost(StateError):
    """The store has forgotten the ticket that was named: nothing was written."""


class Ticket(NamedTuple):
    """A batch of claims. Numbers rise within a generation."""

    generation: str
    number: int


class ClaimedPartition(NamedTuple):
    """A partition of a batch, and the commit on which the batch's commit will be put."""

    partition: TopicPartition
    # The commit id of the table's checkpoint; empty for a partition that is new to the table.
    base: str


@dataclass(frozen=True)
class ClaimBatch:
    """Who claims, and for which partitions: whoever meets a claim asks the table about them."""

    consumer: str
    partitions: tuple[ClaimedPartition, ...]
    # True: the batch's commit is in the table.
    confirmed: bool = False


@dataclass(frozen=True)
class Coverage:
    """The stored rows of a partition that are claimed: of all commits after `since`, up to `commit_id`."""

    # Empty: all rows of the window.
    since: str
    commit_id: str
    # Of the table in which the partition stood at `commit_id`; files with a higher one may hold rows of later commits.
    sequence_number: int
    # The commit on which the last batch that was claimed is put.
    claimed_on: str = ""

    def reaches(self, commit_id: str) -> bool:
        """True if all rows are claimed that the partition has where it stands at a commit.

        A commit on `commit_id` by a batch that was claimed is covered before it is confirmed. If it was made by another
        batch, that one was made without claims, and counted as such.
        """
        return not self.since and (self.commit_id == commit_id or self.claimed_on == self.commit_id)


@dataclass(frozen=True)
class Covered:
    """What is covered, in one generation; a partition that is left out is not."""

    generation: str
    by_partition: Mapping[TopicPartition, Coverage] = field(default_factory=dict)


@dataclass(frozen=True)
class Claimed:
    """A batch that was claimed."""

    ticket: Ticket
    # int64[n]: 0 where the claim is ours now, else the holder that has it.
    holders: np.ndarray
    # As it was when the last claim of the batch was made.
    covered: Covered


@dataclass(frozen=True)
class ClaimStatistics:
    """What a store has of one scope of one platform."""

    kind: str
    namespace: str
    generation: str = ""
    ids: int = 0
    # Memory that the claims take, estimated from a sample of keys where there are many.
    bytes: int = 0
    keys: int = 0
    # Batches that are remembered.
    batches: int = 0
    covered: Covered = field(default_factory=lambda: Covered(""))
    server: Mapping[str, object] = field(default_factory=dict)
    # Keys that another program has written, each with what is wrong.
    damaged: tuple[str, ...] = ()

    @property
    def bytes_per_id(self) -> float:
        return round(self.bytes / self.ids, 1) if self.ids else 0.0


class ClaimStore(Protocol):
    """The claims of one scope of one platform. Safe to be called from several threads.

    ids: V16[n]. times_us: int64[n], the trades' own times in µs, equal for copies. places: uint16[n], the place of each
    id in `ClaimBatch.partitions`. n may be 0, and an id may come twice in a batch: both claims are ours then.

    Every call may raise StateError, within a bounded time (about a second): the store does not answer, or refuses to
    write. A call that raised may have been applied in part. What a batch claimed so stays claimed, by a ticket that
    nobody confirms: claim again, and meet claims of your own on the same base, which are decided.

    All that is kept expires a window after it was last written; the record of a batch a window after its first claim.
    """

    @property
    def kind(self) -> str:
        """`memory` or `redis`."""

    def claim(self, batch: ClaimBatch, ids: np.ndarray, times_us: np.ndarray, places: np.ndarray) -> Claimed:
        """Claim what nobody has claimed.

        The batch is claimed as a whole: of two batches with common ids one has claimed everything before the other
        claims anything. A lost generation is noticed here, in every other call, too, and a new one begun.
        """

    def batches(self, numbers: Collection[int]) -> Mapping[int, ClaimBatch]:
        """The records of some tickets, by number. A ticket without one counts as decided."""

    def take_over(
        self, ticket: Ticket, ids: np.ndarray, times_us: np.ndarray, places: np.ndarray, expected: np.ndarray
    ) -> np.ndarray:
        """Replace the holders of some claims by a ticket, where they are still `expected` (int64[n]) or gone.

        Returns int64[n]: 0 where the claim is ours now, else who has it.

        Raises:
            GenerationLost: the ticket is of another generation, or its record has expired.
        """

    def confirm(self, ticket: Ticket, moved: Mapping[TopicPartition, Coverage]) -> bool:
        """The batch's commit is decided; `moved` has the partitions of it that the commit moved.

        moved: per partition the commit and, of the table that was loaded after it, the sequence number (`since` and
        `claimed_on` are not used). Leave out a partition that stands elsewhere in that table. Coverage moves on where
        the batch's base is what was covered; elsewhere only claims `since` that base count. Nothing moved: the batch is
        void, and its record is deleted.

        Returns False where the ticket is of another generation, or its record has expired: claims may have been lost
        between claim and confirmation, and nothing is covered by them.
        """

    def covered(self) -> Covered:
        """The generation, and what it covers."""

    def add_stored(self, generation: str, ids: np.ndarray, times_us: np.ndarray) -> None:
        """Add ids of rows that are in the table, as claims that are decided; a claim that is there stays.

        Raises:
            GenerationLost: the generation is another one.
        """

    def cover(
        self, generation: str, healed: Mapping[TopicPartition, Coverage], before: Mapping[TopicPartition, Coverage]
    ) -> None:
        """All rows of some partitions are claimed up to a commit, after their ids were added.

        healed: as `moved`. before: what was covered when healing began. A partition that was claimed further meanwhile
        is covered as far as its claims, if they join; if they do not, it stays as it is, for another round of healing.

        Raises:
            GenerationLost: the generation is another one.
        """

    def take_turn(self, consumer: str, for_s: float) -> bool:
        """True if this consumer is the one that heals, for so long from now on. No guarantee depends on it."""

    def server(self) -> Mapping[str, object]:
        """Redis' own figures, `maxmemory` and `maxmemory_policy` among them; nothing of a store in memory."""

    def statistics(self) -> ClaimStatistics:
        """How much it holds. It looks at every key: for people, not for every commit."""

    def close(self) -> None:
        """Close the connections."""
