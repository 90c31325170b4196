"""Step 6: commit, off the consuming thread. At most one commit is under way."""

from collections import deque
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from k2ctl.clock import Clock
from k2ctl.consume.pending import Pending
from k2ctl.deferred.spill_files import Spiller
from k2ctl.domain.checkpoint import Checkpoints
from k2ctl.kafka.dead_letters import DeadLetters
from k2ctl.lake.writer import Committed, TableWriter


@dataclass(frozen=True)
class Finished:
    """A commit that is over: what was handed in, what became of it, how long it took."""

    pending: Pending
    committed: Committed
    seconds: float


class Committer:
    """Hands batches to the table writer on a thread of its own."""

    def __init__(self, writer: TableWriter, dead_letters: DeadLetters, spiller: Spiller, clock: Clock) -> None:
        self._writer = writer
        self._dead_letters = dead_letters
        self._spiller = spiller
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "k2-commit")
        self._under_way: tuple[Pending, Future[Finished]] | None = None
        self._durations_s: deque[float] = deque(maxlen=100)
        self._rows_s: deque[float] = deque(maxlen=20)

    @property
    def busy(self) -> bool:
        """A commit is under way or waits to be collected."""
        return self._under_way is not None

    @property
    def trouble(self) -> str:
        """What catalog or store said last, while the commit is tried again because of it; else empty."""
        return self._writer.trouble

    @property
    def in_flight(self) -> Pending | None:
        """The batch under way."""
        return self._under_way[0] if self._under_way else None

    def submit(self, pending: Pending, checkpoints: Checkpoints, *, whole: bool) -> None:
        """Begin a commit on the table as `checkpoints` says it stands; the previous one must have been collected.

        whole: as `TableWriter.commit`.
        """
        if self._under_way is not None:
            raise RuntimeError("a commit is under way")
        self._under_way = (pending, self._thread.submit(self._commit, pending, checkpoints, whole))

    def collect(self, *, wait_s: float | None = 0.0) -> Finished | None:
        """The commit that has finished, if any, after waiting so long for it; None for ever. Raises what it raised."""
        if self._under_way is None or not futures.wait([self._under_way[1]], wait_s).done:
            return None
        future = self._under_way[1]
        self._under_way = None
        finished = future.result()
        self._durations_s.append(finished.seconds)
        if finished.pending.rows:
            self._rows_s.append(finished.pending.rows / finished.seconds)
        return finished

    def _commit(self, pending: Pending, checkpoints: Checkpoints, whole: bool) -> Finished:
        """Put everything where it will be found, and only then move the offsets past it.

        1. Dead letters, acknowledged by Kafka.
        2. Spilled rows, durable on disk.
        3. Rows, offsets, counts and ledger, in one transaction.
        4. Spill files that nothing refers to any more are deleted.
        """
        started_s = self._clock.monotonic_s()
        if pending.dead_letters:
            self._dead_letters.publish(pending.dead_letters)
        spilled = self._spiller.spill(pending.spilled, pending.level, pending.spilled_priorities, pending.tally)
        committed = self._writer.commit(
            pending.batches(), pending.deltas(checkpoints), pending.change(spilled), whole=whole
        )
        before = checkpoints.ledger.spill_files | {entry.spill for entry in spilled if entry.spill}
        self._spiller.delete(before - committed.checkpoints.ledger.spill_files)
        return Finished(pending, committed, self._clock.monotonic_s() - started_s)

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
