"""Sequence state on its way to whoever follows: cut with the batch, published after its commit, restored at a start.

1. `cut` takes what the tracker has sequence_cut since the last cut, when a batch is handed to the committer. It lies
with
   that batch: nothing is published that is not in the table.
2. `committed` notes it as true, with the commit as its fence, and wakes the publisher.
3. The publisher's thread brings the store to what is committed, in one round trip; a slow Redis delays nobody.
4. `restore` reads the store at the next start. What the table has and the store has not is rebuilt from the table.

Each publication names the fence that it follows. A Redis that lost its last second, or came back empty, refuses it, and
gets everything that is committed instead. One that is ahead belongs to another consumer now, and is left alone.
"""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import Checkpoints, TopicPartition
from k2ctl.domain.status_parts import REDUCED, StateSyncStatus
from k2ctl.errors import StateError
from k2ctl.sequence.guarantee import OWN, SHARED
from k2ctl.sequence.state_store import Fence, StateStore, Update
from k2ctl.sequence.symbol_state import cut, restore
from k2ctl.sequence.tracker import SequenceTracker

RETRY_FIRST_S: Final = 0.2
RETRY_MOST_S: Final = 5.0
CLOSE_WITHIN_S: Final = 0.7

SequenceCut = Mapping[int, Mapping[bytes, bytes]]
"""partition → `exchange/symbol` → packed state"""


@dataclass
class _Partition:
    """What is committed of a partition, what the store lacks of it, and where the store is believed to stand."""

    fence: Fence
    values: dict[bytes, bytes] = field(default_factory=dict)
    behind: set[bytes] = field(default_factory=set)
    base: Fence | None = None
    whole: bool = False
    moved: bool = False
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

        by_partition: where each partition stands in the table. Rows from the returned offset on, and all rows of
        partitions
        that are not in the answer, are to be noted from the table, as far back as since_us.
        """
        try:
            found = self._store.load(by_partition)
        except StateError as error:
            self._fail(error)
            found = {}
        covered = {}
        for number, checkpoint in by_partition.items():
            # Whatever the store turns out to have is asked for by the first publication, also after a failure.
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
            except StateError:
                # Damaged: rebuilt from the table, and published as a whole.
                partition.moved = True
                continue
            partition.values = dict(state.values)
            partition.whole = False
            covered[number] = state.fence.offset
        return covered

    def begin(self) -> None:
        """What the tracker knows now is what is committed: publish what the store lacks of it, from now on."""
        for number, values in self.cut().items():
            if number in self._partitions:
                self._note(self._partitions[number], values)
        if self._background and self._store.kind != "memory":
            self._thread = threading.Thread(target=self._publish_always, name="k2-state", daemon=True)
            self._thread.start()

    def cut(self) -> SequenceCut:
        """What the tracker has sequence_cut since the last cut; to be kept with the batch that it was sequence_cut
        from."""
        return cut(self._tracker)

    def committed(self, sequence_cut: SequenceCut, by_partition: Mapping[int, Fence]) -> None:
        """A batch is in the table. by_partition: the partitions that its commit moved, and where they stand now."""
        with self._changed:
            for number, checkpoint in by_partition.items():
                partition = self._partitions.setdefault(number, _Partition(checkpoint, whole=True))
                partition.fence, partition.moved = checkpoint, True
                # The table took our commit from beyond what the store claims: nobody has taken this partition over.
                partition.overtaken &= partition.base is not None and partition.base.offset >= checkpoint.offset
                self._note(partition, sequence_cut.get(number, {}))
            self._changed.notify()

    @staticmethod
    def _note(partition: _Partition, values: Mapping[bytes, bytes]) -> None:
        partition.values.update(values)
        partition.behind.update(values)
        partition.moved = True

    def snapshot(self) -> StateSyncStatus:
        """How it stands."""
        with self._changed:
            behind = sum(len(p.values if p.whole else p.behind) for p in self._partitions.values() if p.moved)
            overtaken = [str(number) for number, partition in self._partitions.items() if partition.overtaken]
            others = f"others have published partitions {', '.join(overtaken)}; if there are none, start this one anew"
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
        """Publish what is left, if that is quick, and let the store go."""
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
            self._why = ""
            for update in updates:
                self._settle(update, refused)
        return True

    def _settle(self, update: Update, refused: Mapping[int, Fence | None]) -> None:
        partition = self._partitions[update.partition]
        if update.partition not in refused:
            partition.base = update.fence
            # What was committed meanwhile has marked it again, and then it stays marked.
            partition.whole = False
            self._rebuilt += update.whole
            return
        stands, partition.base = refused[update.partition], refused[update.partition]
        if stands is not None and stands.epoch == update.fence.epoch and stands.offset > update.fence.offset:
            partition.overtaken = True
            return
        partition.whole = True
        # The store is not where it was: ask after every partition, also those that have no trades now.
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


def _update(number: int, partition: _Partition, now_us: int) -> Update:
    values = dict(partition.values) if partition.whole else {name: partition.values[name] for name in partition.behind}
    fence = partition.fence._replace(at_us=now_us)
    return Update(number, partition.base, fence, values, partition.whole)


def _serves(found: Fence, checkpoint: Fence, since_us: int) -> bool:
    """Whether state at `found` leads to the table at `checkpoint`: the same commit, or rows that the table still can
    add.

    A store that is ahead of the table belongs to a table that was turned back.
    """
    if found.same_commit(checkpoint):
        return True
    return found.epoch == checkpoint.epoch and found.offset < checkpoint.offset and found.at_us >= since_us


def fences_at(checkpoints: Checkpoints, topic: str, epoch: str, offsets: Mapping[int, int]) -> dict[int, Fence]:
    """Where partitions stand that are read from the given offsets; one that the table does not know has no commit."""
    by_partition = {
        partition: checkpoints.by_partition.get(TopicPartition(topic, epoch, partition)) for partition in offsets
    }
    return {
        p: Fence(epoch, offsets[p], checkpoint.commit_id if checkpoint else "")
        for p, checkpoint in by_partition.items()
    }


def fences_moved(checkpoints: Checkpoints, topic: str, epoch: str, commit_id: str) -> dict[int, Fence]:
    """The partitions that a commit has moved and nobody since, and where they stand now."""
    return {
        partition.partition: Fence(epoch, checkpoint.next_offset, checkpoint.commit_id)
        for partition, checkpoint in checkpoints.by_partition.items()
        if partition[:2] == (topic, epoch) and checkpoint.commit_id == commit_id
    }
