"""Sequence state that consumers share: cut with the batch, published after its commit, restored at a start.

1. `cut` takes what has changed in the tracker since the last cut, when a batch is handed to the committing thread. It
   stays with that batch: nothing is published that is not in the table.
2. `committed` marks it as committed, with the commit as its fence, and wakes the publisher.
3. The publisher's thread brings the store to what is committed, in one round trip; a slow Redis delays no commit.
4. `restore` reads the store at the next start. What the table has and the store lacks is rebuilt from the table.

Each publication names the fence that it follows. A Redis that lost its last second, or came back empty, refuses it, and
gets all committed state instead. One that is ahead belongs to another consumer now, and is not written.
"""

import logging
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import Checkpoints, TopicPartition
from k2ctl.domain.status_parts import OWN, REDUCED, SHARED, StateSyncStatus
from k2ctl.errors import StateError
from k2ctl.sequence.state_store import Fence, StateStore, Update
from k2ctl.sequence.symbol_state import cut, restore
from k2ctl.sequence.tracker import SequenceTracker

LOG: Final = logging.getLogger("k2ctl.sequence")

GUARANTEES: Final[dict[str, str]] = {
    OWN: "sequences are followed in this process; the next consumer rebuilds them from the table",
    SHARED: "the store has what is committed; the next consumer goes on at once",
    REDUCED: "sequences are followed in this process; the store lacks commits, which the next consumer rebuilds",
}
"""Each guarantee of sequence state with its meaning. Symbols idle for longer than the dedup window are known from a
shared store only; without it they are unverified at the next start: it is unknown whether trades before them are
missing."""

RETRY_FIRST_S: Final = 0.2
RETRY_MOST_S: Final = 5.0
CLOSE_WITHIN_S: Final = 0.7

SequenceCut = Mapping[int, Mapping[bytes, bytes]]
"""partition → `exchange/symbol` → packed state"""


@dataclass
class _Partition:
    """What is committed of a partition, and what the store lacks of it."""

    # The newest commit.
    fence: Fence
    # `exchange/symbol` → packed state.
    values: dict[bytes, bytes] = field(default_factory=dict)
    # Names whose values the store lacks.
    behind: set[bytes] = field(default_factory=set)
    # The fence that the store is believed to have.
    base: Fence | None = None
    # True: the next publication replaces all that the store has of the partition.
    whole: bool = False
    # True: there is something to publish.
    moved: bool = False
    # True: another consumer has published further.
    overtaken: bool = False


class StateSync:
    """The sequence state of one consumer and its store.

    background: publish on a thread of its own; otherwise `publish` is to be called.
    """

    def __init__(self, store: StateStore, tracker: SequenceTracker, clock: Clock, *, background: bool = True) -> None:
        self._background = background
        self._store = store
        self._tracker = tracker
        self._clock = clock
        self._partitions: dict[int, _Partition] = {}
        self._why = ""
        self._publications = self._rebuilt = self._failures = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def restore(self, by_partition: Mapping[int, Fence], since_us: int) -> dict[int, int]:
        """Give the tracker what the store has; returns per partition the offset up to which that is everything.

        by_partition: the checkpoint of each partition in the table. The caller notes rows from the returned offset on,
        and all rows of partitions that are not in the answer, from the table, as far back as since_us.
        """
        try:
            found = self._store.load(by_partition)
        except StateError as error:
            self._fail(error)
            found = {}
        covered = {}
        for number, checkpoint in by_partition.items():
            # The first publication finds out what the store has, also after a failure.
            partition = self._partitions[number] = _Partition(checkpoint, whole=True, moved=bool(self._why))
            state = found.get(number)
            if state is None:
                continue
            partition.base = state.fence
            partition.moved = not state.fence.same_commit(checkpoint)
            if not _serves(state.fence, checkpoint, since_us):
                continue
            try:
                restore(self._tracker, number, state.values)
            except StateError as error:
                # Rebuilt from the table, and published as a whole.
                LOG.warning("stored sequence state is damaged", extra={"partition": number, "error": str(error)})
                partition.moved = True
                continue
            partition.values = dict(state.values)
            partition.whole = False
            covered[number] = state.fence.offset
        return covered

    def begin(self) -> None:
        """The tracker's state is what is committed now: publish what the store lacks of it, from now on."""
        for number, values in self.cut().items():
            if number in self._partitions:
                self._note(self._partitions[number], values)
        if self._background and self._store.kind != "memory":
            self._thread = threading.Thread(target=self._publish_always, name="k2-state", daemon=True)
            self._thread.start()

    def cut(self) -> SequenceCut:
        """What has changed in the tracker since the last cut; the caller keeps it with the batch that changed it."""
        return cut(self._tracker)

    def committed(self, sequence_cut: SequenceCut, by_partition: Mapping[int, Fence]) -> None:
        """A batch is in the table. by_partition: the partitions that its commit moved, and their checkpoints now."""
        with self._changed:
            for number, checkpoint in by_partition.items():
                partition = self._partitions.setdefault(number, _Partition(checkpoint, whole=True))
                partition.fence, partition.moved = checkpoint, True
                # The table took our commit beyond what the store has: no other consumer has the partition.
                partition.overtaken &= partition.base is not None and partition.base.offset >= checkpoint.offset
                self._note(partition, sequence_cut.get(number, {}))
            self._changed.notify()

    @staticmethod
    def _note(partition: _Partition, values: Mapping[bytes, bytes]) -> None:
        partition.values.update(values)
        partition.behind.update(values)
        partition.moved = True

    def snapshot(self) -> StateSyncStatus:
        """The state of this sync."""
        with self._changed:
            behind = sum(len(p.values if p.whole else p.behind) for p in self._partitions.values() if p.moved)
            overtaken = [str(number) for number, partition in self._partitions.items() if partition.overtaken]
            others = f"others have published partitions {', '.join(overtaken)}; if there are none, restart this one"
            why = self._why or (others if overtaken else "")
            guarantee = OWN if self._store.kind == "memory" else REDUCED if why else SHARED
            return StateSyncStatus(
                self._store.kind,
                guarantee,
                why,
                0 if guarantee == OWN else behind,
                self._publications,
                self._rebuilt,
                self._failures,
                self._store.damaged,
            )

    def close(self) -> None:
        """Publish what is left, if that is quick, and close the store."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_WITHIN_S)
        self._store.close()

    def _publish_always(self) -> None:
        wait_s = RETRY_FIRST_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or bool(self._due()))
                if not self._due():
                    return
            if self.publish():
                wait_s = RETRY_FIRST_S
                continue
            with self._changed:
                if self._closing or self._changed.wait_for(lambda: self._closing, wait_s):
                    return
            wait_s = min(RETRY_MOST_S, 2 * wait_s)

    def _due(self) -> list[int]:
        return [number for number, partition in self._partitions.items() if partition.moved and not partition.overtaken]

    def publish(self) -> bool:
        """One round trip towards what is committed, where the store lacks it; False when it cannot be reached."""
        with self._changed:
            now_us = self._clock.now_us()
            updates = [_update(number, self._partitions[number], now_us) for number in self._due()]
            for update in updates:
                partition = self._partitions[update.partition]
                partition.behind, partition.moved = set(), False
        try:
            refused = self._store.publish(updates)
        except StateError as error:
            with self._changed:
                self._fail(error)
                self._take_back(updates)
            return False
        with self._changed:
            self._publications += 1
            if self._why:
                LOG.info("the state store takes publications again")
            self._why = ""
            for update in updates:
                self._note_published(update, refused)
        return True

    def _note_published(self, update: Update, refused: Mapping[int, Fence | None]) -> None:
        partition = self._partitions[update.partition]
        if update.partition not in refused:
            partition.base = update.fence
            # What was committed meanwhile has marked it again, and then it stays marked.
            partition.whole = False
            self._rebuilt += update.whole
            return
        stands, partition.base = refused[update.partition], refused[update.partition]
        if stands is not None and stands.epoch == update.fence.epoch and stands.offset > update.fence.offset:
            LOG.warning("another consumer has published a partition", extra={"partition": update.partition})
            partition.overtaken = True
            return
        partition.whole = True
        # The store has changed: publish every partition, also those that have no trades now.
        for other in self._partitions.values():
            other.moved = True

    def _take_back(self, updates: Collection[Update]) -> None:
        """Mark again what could not be published."""
        for update in updates:
            partition = self._partitions[update.partition]
            partition.behind.update(update.values)
            partition.moved = True

    def _fail(self, error: StateError) -> None:
        self._failures += 1
        self._why = str(error)
        LOG.warning("the state store failed; sequence state is kept in this process", extra={"error": self._why})


def _update(number: int, partition: _Partition, now_us: int) -> Update:
    values = dict(partition.values) if partition.whole else {name: partition.values[name] for name in partition.behind}
    fence = partition.fence._replace(at_us=now_us)
    return Update(number, partition.base, fence, values, partition.whole)


def _serves(found: Fence, checkpoint: Fence, since_us: int) -> bool:
    """True if state at `found` leads to `checkpoint`: by the same commit, or with rows that the table still has.

    A store that is ahead of the table belongs to a table that was rolled back.
    """
    if found.same_commit(checkpoint):
        return True
    return found.epoch == checkpoint.epoch and found.offset < checkpoint.offset and found.at_us >= since_us


def fences_at(checkpoints: Checkpoints, topic: str, epoch: str, offsets: Mapping[int, int]) -> dict[int, Fence]:
    """The fences of partitions that are read from the given offsets; one that is new to the table has no commit."""
    by_partition = {
        partition: checkpoints.by_partition.get(TopicPartition(topic, epoch, partition)) for partition in offsets
    }
    return {
        p: Fence(epoch, offsets[p], checkpoint.commit_id if checkpoint else "")
        for p, checkpoint in by_partition.items()
    }


def fences_moved(checkpoints: Checkpoints, topic: str, epoch: str, commit_id: str) -> dict[int, Fence]:
    """The fences of partitions that a commit has moved last."""
    return {
        partition.partition: Fence(epoch, checkpoint.next_offset, checkpoint.commit_id)
        for partition, checkpoint in checkpoints.by_partition.items()
        if partition[:2] == (topic, epoch) and checkpoint.commit_id == commit_id
    }
