"""The committing thread. At most one commit is under way, while the consumer fills the next checkpoint."""

import logging
from collections import deque
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from k2ctl.clock import Clock
from k2ctl.consume.pending_checkpoint import CommitTargets, PendingCheckpoint
from k2ctl.lake.writer import Committed

LOG: Final = logging.getLogger("k2ctl.consume")


@dataclass(frozen=True)
class Finished:
    """A commit that is over."""

    checkpoint: PendingCheckpoint
    committed: Committed
    seconds: float


class Committer:
    """Stores sealed checkpoints on a thread of its own. Lives as long as the consumer, over all its assignments."""

    def __init__(self, targets: CommitTargets, clock: Clock) -> None:
        self._targets = targets
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "k2-commit")
        self._under_way: tuple[PendingCheckpoint, Future[Finished]] | None = None
        self._submitted_s = clock.monotonic_s()
        self._durations_s: deque[float] = deque(maxlen=100)
        self._rows_s: deque[float] = deque(maxlen=20)

    @property
    def is_busy(self) -> bool:
        """True while a commit is under way or waits to be collected."""
        return self._under_way is not None

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

    def submit(self, checkpoint: PendingCheckpoint, *, whole: bool) -> None:
        """Begin to store a sealed checkpoint; the previous one must have been collected.

        whole: as `TableWriter.commit`.
        """
        if self._under_way is not None:
            raise RuntimeError("a commit is under way")
        self._submitted_s = self._clock.monotonic_s()
        self._under_way = (checkpoint, self._thread.submit(self._store, checkpoint, whole))

    def collect(self, *, wait_s: float | None = 0.0) -> Finished | None:
        """The commit that has finished, if any, after waiting so long for it; None for ever. Raises what it raised."""
        if self._under_way is None or not futures.wait([self._under_way[1]], wait_s).done:
            return None
        future = self._under_way[1]
        self._under_way = None
        finished = future.result()
        self._durations_s.append(finished.seconds)
        if finished.checkpoint.rows:
            self._rows_s.append(finished.checkpoint.rows / finished.seconds)
        return finished

    def _store(self, checkpoint: PendingCheckpoint, whole: bool) -> Finished:
        started_s = self._clock.monotonic_s()
        committed = checkpoint.store(self._targets, whole=whole)
        if committed.fenced:
            partitions = [partition.partition for partition in committed.fenced]
            LOG.warning("a commit was fenced", extra={"commit_id": committed.commit_id, "partitions": partitions})
        return Finished(checkpoint, committed, self._clock.monotonic_s() - started_s)

    def typical_s(self) -> float:
        """The median duration of the last commits; 0 before the first."""
        ordered = sorted(self._durations_s)
        return ordered[len(ordered) // 2] if ordered else 0.0

    def expected_s(self, rows: int) -> float:
        """How long a commit of so many rows takes, by the rate of the last ones; 0 before the first."""
        ordered = sorted(self._rows_s)
        return max(self.typical_s(), rows / ordered[len(ordered) // 2]) if ordered else 0.0

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=True)
