"""Healing: the ids of rows that are stored and not claimed are added from the table, and their partitions covered.

Claims are missing after a generation was lost, after consumers have stored trades while the store did not answer, and
where the tier is new. One round takes these steps:

1. What is covered is asked for, then the table is loaded. Partitions that stand elsewhere there are missing, also
   those that nobody reads now, and epochs that are gone.
2. The rows of the last window, or of the commits since what is covered, are added in bounded batches.
3. The missing partitions are covered as far as that table has them. Who claimed on it meanwhile, joins.

Commits go on all the while, so a round may leave a partition for the next one, which has little to read.
"""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from k2ctl.clock import Clock
from k2ctl.dedup.shared.claims import ClaimStore, Coverage
from k2ctl.dedup.shared.coverage import uncovered
from k2ctl.errors import LakeError, StateError, first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.stored_ids import RecentIds

LOG: Final = logging.getLogger("k2ctl.dedup")

BATCH_ROWS: Final = 50_000
"""Of one call of the store, so that others are kept for some 0.1 s at most."""
TURN_S: Final = 10.0
"""For how long one consumer heals, and the others wait, unless it goes on."""
BETWEEN_ROUNDS_S: Final = 0.2
RETRY_S: Final = 2.0


@dataclass(frozen=True)
class HealingProgress:
    """How far a round is."""

    # Partitions that are missing.
    partitions: int
    # Rows that were added, and that there are to look at.
    rows: int
    of_rows: int

    @property
    def percent(self) -> int:
        """0 to 100."""
        return 100 * self.rows // self.of_rows if self.of_rows else 100


def heal(lake: Lake, store: ClaimStore, topic: str | None, window_s: float, clock: Clock) -> Iterator[HealingProgress]:
    """One round; yields at its beginning and after each batch. Nothing is missing if it yields nothing.

    topic: the scope; None for all.

    Raises:
        LakeError: the table cannot be read. StateError: the store does not answer, or has lost its claims.
    """
    before = store.covered()
    table = lake.find_table()
    if table is None:
        return
    checkpoints = checkpoints_of(table)
    missing = uncovered(before, checkpoints, topic)
    if not missing:
        return
    known = [before.by_partition.get(partition) for partition in missing]
    after = min(one.sequence_number if one and not one.since else -1 for one in known)
    recent = RecentIds(table, clock.now_us() - round(window_s * 1e6), after, topic)
    done, total = 0, recent.rows
    yield HealingProgress(len(missing), done, total)
    for found in recent.batches(BATCH_ROWS):
        store.add_stored(before.generation, found.ids, found.times_us)
        done += len(found.ids)
        yield HealingProgress(len(missing), done, total)
    by_partition, number = checkpoints.by_partition, checkpoints.sequence_number
    healed = {partition: Coverage("", by_partition[partition].commit_id, number) for partition in missing}
    store.cover(before.generation, healed, before.by_partition)


class Healer:
    """Heals on a thread of its own, when it is woken: whoever finds that something is not covered does that.

    Of several consumers one heals at a time. A round that failed is begun again when the next one wakes it.
    """

    def __init__(
        self, lake: Lake, store: ClaimStore, topic: str | None, window_s: float, consumer: str, clock: Clock
    ) -> None:
        """lake: for this thread alone."""
        self._lake = lake
        self._store = store
        self._topic = topic
        self._window_s = window_s
        self._consumer = consumer
        self._clock = clock
        self._wake = threading.Event()
        self._ended = threading.Event()
        # The round under way; None while there is none.
        self.progress: HealingProgress | None = None
        self._thread = threading.Thread(target=self._run, name="healing", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something is not covered. From any thread."""
        self._wake.set()

    def close(self) -> None:
        """Stop after the batch under way, and close the lake."""
        self._ended.set()
        self._wake.set()
        self._thread.join()
        self._lake.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                while self._round():
                    self._ended.wait(BETWEEN_ROUNDS_S)
            except (StateError, LakeError) as error:
                LOG.warning("healing is tried again later: %s", first_line(error))
                self._ended.wait(RETRY_S)
            finally:
                self.progress = None

    def _round(self) -> bool:
        """True if another one is to follow."""
        if self._ended.is_set():
            return False
        if not self._store.take_turn(self._consumer, TURN_S):
            return not self._ended.wait(1.0)
        began = False
        for progress in heal(self._lake, self._store, self._topic, self._window_s, self._clock):
            if not began:
                LOG.info("claims of stored rows are missing: they are added", extra=vars(progress))
            began, self.progress = True, progress
            if self._ended.is_set() or not self._store.take_turn(self._consumer, TURN_S):
                return False
        return began
