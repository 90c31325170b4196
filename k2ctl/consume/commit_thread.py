"""The committing thread. At most one commit is under way, while the consumer fills the next checkpoint."""

import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from k2ctl.clock import Clock
from k2ctl.consume.pending_checkpoint import CommitTargets, PendingCheckpoint
from k2ctl.errors import FencedError, LakeError
from k2ctl.lake.written_offer import Committed

LOG: Final = logging.getLogger("k2ctl.consume")

CADENCE_COMMITS: Final = 5
"""Times between commits of which the median counts: one pause without trades does not move it."""

MANY_ROWS: Final = 10_000
"""A commit of so many takes longer for each of them."""

USUAL_RATE: Final = 50_000.0
"""Rows a second of a commit, before one of many rows was seen; a sixth of what two cores write."""


@dataclass(frozen=True)
class Finished:
    """A commit that is over."""

    checkpoint: PendingCheckpoint
    committed: Committed
    seconds: float
    # Catalog and store answered all the while, so that it took as long as others will.
    is_usual: bool


class CommitThread:
    """Stores sealed checkpoints on a thread of its own. Lives as long as the consumer, over all its assignments."""

    def __init__(self, targets: CommitTargets, clock: Clock, linger_s: float = 0.0) -> None:
        """linger_s: how long a commit that nobody waits for is held by a committer."""
        self._targets = targets
        self._linger_s = linger_s
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "k2-commit")
        self._under_way: tuple[PendingCheckpoint, Future[Finished]] | None = None
        self._is_held = False
        self._submitted_s = clock.monotonic_s()
        self._begun_s: deque[float] = deque(maxlen=CADENCE_COMMITS + 1)
        self._durations_s: deque[float] = deque(maxlen=100)
        self._rows_s: deque[float] = deque(maxlen=20)

    @property
    def is_busy(self) -> bool:
        """True while a commit is under way or waits to be collected."""
        return self._under_way is not None

    def wait_while(self, waits: Callable[[], bool]) -> None:
        """Wait for a catalog or store that does not answer for as long as this holds, and not for a minute only."""
        self._targets.writer.waits = waits

    def give_up_waiting(self) -> None:
        """The commit under way, if there is one, waits no longer for what other consumers claim."""
        if self._targets.settlement is not None:
            self._targets.settlement.give_up()

    def end_within(self, seconds: float) -> None:
        """The same of all commits, as soon as that time is over."""
        if self._targets.settlement is not None:
            self._targets.settlement.end_within(seconds)

    @property
    def troubled_s(self) -> float:
        """How long a commit has been tried in vain; 0 while none is."""
        return self.since_submit_s if self.is_busy and self.trouble else 0.0

    @property
    def trouble(self) -> str:
        """The last error of catalog or store, while the commit is tried again because of it; else empty."""
        return self._targets.writer.trouble

    @property
    def in_flight(self) -> PendingCheckpoint | None:
        """The checkpoint under way."""
        return self._under_way[0] if self._under_way else None

    @property
    def since_submit_s(self) -> float:
        """How long ago the last commit was begun, or this was made."""
        return self._clock.monotonic_s() - self._submitted_s

    def submit(self, checkpoint: PendingCheckpoint, *, whole: bool, directly: bool = False, urgent: bool) -> None:
        """Begin to store a sealed checkpoint; the previous one must have been collected.

        whole, directly: as `PendingCheckpoint.store`. urgent: somebody waits for it.
        """
        if self._under_way is not None:
            raise RuntimeError("a commit is under way")
        if self._targets.settlement is not None:
            self._targets.settlement.begin()
        self._submitted_s = self._clock.monotonic_s()
        self._begun_s.append(self._submitted_s)
        self._is_held = self._targets.author is not None and not (directly or urgent)
        if urgent and not directly and self._targets.author is not None:
            self._targets.author.hurry()
        self._under_way = (checkpoint, self._thread.submit(self._store, checkpoint, whole, directly))

    def hurry(self) -> None:
        """Somebody waits for the commit under way, if there is one: it is held for others no longer."""
        if self._is_held and self._under_way is not None and self._targets.author is not None:
            self._targets.author.hurry()
            self._is_held = False

    def collect(self, *, wait_s: float | None = 0.0) -> Finished | None:
        """The commit that has finished, if any. Raises what it raised. wait_s: as `Assignment.collect`."""
        if self._under_way is None:
            return None
        if wait_s != 0.0:
            self.hurry()
        if not futures.wait([self._under_way[1]], wait_s).done:
            return None
        future = self._under_way[1]
        self._under_way = None
        finished = future.result()
        if not finished.is_usual:
            return finished
        taken_s = max(0.01, finished.seconds - (self._linger_s if self._is_held else 0.0))
        self._durations_s.append(taken_s)
        if finished.checkpoint.rows >= MANY_ROWS:
            self._rows_s.append(finished.checkpoint.rows / taken_s)
        return finished

    def _store(self, checkpoint: PendingCheckpoint, whole: bool, directly: bool) -> Finished:
        started_s, troubles = self._clock.monotonic_s(), self._targets.writer.troubles
        committed = checkpoint.store(self._targets, whole=whole, directly=directly)
        if committed.fenced:
            partitions = [partition.partition for partition in committed.fenced]
            LOG.warning("a commit was fenced", extra={"commit_id": committed.commit_id, "partitions": partitions})
        is_usual = self._targets.writer.troubles == troubles
        return Finished(checkpoint, committed, self._clock.monotonic_s() - started_s, is_usual)

    def typical_s(self) -> float:
        """The median duration of the last commits, without the linger of a committer; 0 before the first."""
        ordered = sorted(self._durations_s)
        return ordered[len(ordered) // 2] if ordered else 0.0

    def every_s(self) -> float:
        """How often commits are begun: the median of the last times between two; 0 before the second."""
        between_s = sorted(later - earlier for earlier, later in pairwise(self._begun_s))
        return between_s[len(between_s) // 2] if between_s else 0.0

    def expected_s(self, rows: int) -> float:
        """How long a commit of so many rows takes; 0 before the first."""
        return expected_s(rows, self.typical_s(), self._rows_s) if self._durations_s else 0.0

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=True)


def expected_s(rows: int, typical_s: float, rates: Collection[float]) -> float:
    """How long a commit of so many rows takes: as long as usual, or longer for more rows than usual.

    rates: rows a second of the last commits that had `MANY_ROWS` or more. What a commit of few rows takes is no measure
    of it, because most of that does not depend on its rows.
    """
    rate = sorted(rates)[len(rates) // 2] if rates else USUAL_RATE
    return max(typical_s, rows / rate)


def fenced_error(committed: Committed, known: Mapping[int, int], topic: str) -> FencedError:
    """Of a fenced commit. known: per partition the table's offset, as this consumer knew it."""
    by_partition = committed.checkpoints.by_partition
    for fenced in committed.fenced:
        stands = by_partition[fenced].next_offset if fenced in by_partition else 0
        if stands < known[fenced.partition]:
            return FencedError(
                f"The table stands at offset {stands:,} of partition {fenced.partition} of {topic}, where this "
                f"consumer knew it at {known[fenced.partition]:,}: it was rolled back, or the partition's epoch was "
                "retired.",
                "See: k2ctl lake status. Go on from there with: k2ctl consume",
            )
    partitions = ", ".join(str(fenced.partition) for fenced in committed.fenced)
    return FencedError(
        f"Another consumer has committed partitions {partitions} of {topic} in the meantime; "
        "what this one had read of them was dropped, so nothing is stored twice.",
        "See who it is: k2ctl watch --once. To share the topic, start each with: k2ctl consume --group",
    )


def rolled_back_error(stands: int, known: int) -> LakeError:
    """Of a table whose newest commit is older than one that this consumer has seen; both by sequence number."""
    return LakeError(
        f"The table stands at commit {stands}, and this consumer has seen commit {known} of it: its catalog was rolled "
        "back, as by an older copy that was restored.",
        "Go on from its newest metadata file, or choose an older one: k2ctl lake register",
    )
