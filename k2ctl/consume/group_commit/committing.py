"""The committer: takes what consumers have announced, and commits it together.

One process at a time has the lease of a table's committer. It is wanted by an author whom nobody answers, and given up
once nobody announces. Two that both believe that they have it do no harm: the table decides what each may take.
"""

import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, Protocol

from k2ctl.clock import Clock
from k2ctl.domain.announcement import HeldOffers
from k2ctl.domain.offers import CommitterAnswer, Offer
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, K2Error, first_line
from k2ctl.kafka.lease import FileLease, GroupLease
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.writer import TableWriter
from k2ctl.timing import Every

LOG: Final = logging.getLogger("k2ctl.consume")

LOOK_BACK_S: Final = 15.0
"""Of the announcements before the lease was taken: who still waits for an answer has announced again since."""

IDLE_FOR_S: Final = 60.0
"""Nothing announced for so long: the lease is given up."""

COMMIT_WITHIN_S: Final = 10.0
"""How long a commit is tried; the authors commit directly meanwhile."""

WAIT_S: Final = 0.1
WAITING_PAUSE_S: Final = 0.5
"""Offers that start ahead of the table are tried again after this."""

ELECTION_JITTER_S: Final = 0.3
"""Of several whom nobody answers the first takes the lease, and the others see it."""

ENDS_WITHIN_S: Final = 1.0
"""Of the two seconds of a stop. A process that ends in the middle of it leaves the lease as one that is killed."""


class Committing(Protocol):
    """What a committer asks of the topic of commits; see `CommitterChannel`."""

    def begin(self, back_s: float) -> None: ...

    def offers(self, wait_s: float) -> list[Offer]: ...

    def answer(self, answer: CommitterAnswer) -> None: ...

    def close(self) -> None: ...


@dataclass
class CommitterTotals:
    """Counts since the start of the process."""

    # Commits that took at least one offer, and the offers that they took.
    commits: int = 0
    offers: int = 0
    # Tries that another commit came before.
    conflicts: int = 0
    # How long the last commits took.
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=1000))


class CommitterTerm:
    """The time for which one process commits. Not thread-safe.

    1. Announcements are read, from a little before the lease was taken on.
    2. After a short linger, none for an urgent offer, all that is there is committed together.
    3. Their authors are answered.

    A crash before 2 leaves all to the next committer, or to the authors; a crash before 3 offers whose authors find
    them in the table.
    """

    def __init__(
        self, channel: Committing, writer: TableWriter, clock: Clock, linger_s: float, totals: CommitterTotals
    ) -> None:
        self._channel = channel
        self._writer = writer
        self._clock = clock
        self._held = HeldOffers(linger_s)
        self._totals = totals
        self._last_came_s = clock.monotonic_s()
        self._is_reading = False

    def step(self) -> bool:
        """Read, and commit what is due; False once nothing has come for `IDLE_FOR_S`.

        Raises:
            LakeError: catalog or store do not answer, or the table takes nothing.
        """
        due_s, now_s = self._held.due_s(), self._clock.monotonic_s()
        self._take_in(WAIT_S if due_s is None else min(WAIT_S, max(0.0, due_s - now_s)))
        due_s, now_s = self._held.due_s(), self._clock.monotonic_s()
        if due_s is not None and due_s <= now_s:
            self._commit()
        return bool(self._held) or now_s - self._last_came_s < IDLE_FOR_S

    def finish(self) -> None:
        """Commit what has come: its authors would wait for the next committer."""
        self._take_in(0.0)
        if self._held:
            self._commit()

    def _take_in(self, wait_s: float) -> None:
        """Step 1. A topic that has gone is read again from its beginning."""
        try:
            if not self._is_reading:
                self._channel.begin(LOOK_BACK_S)
                self._is_reading = True
            offers = self._channel.offers(wait_s)
        except BrokerError as error:
            if self._is_reading:
                LOG.warning("announcements cannot be read: %s", first_line(error))
            self._is_reading = False
            self._clock.sleep(WAITING_PAUSE_S)
            return
        now_s = self._clock.monotonic_s()
        for offer in offers:
            self._held.add(offer, now_s)
            self._last_came_s = now_s

    def _commit(self) -> None:
        """Steps 2 and 3."""
        started_s = self._clock.monotonic_s()
        done = self._writer.commit_offers(self._held.offers(), COMMIT_WITHIN_S)
        if done.taken:
            self._totals.seconds.append(self._clock.monotonic_s() - started_s)
        self._totals.commits += bool(done.taken)
        self._totals.offers += done.taken
        self._totals.conflicts += done.attempts - 1
        answer = done.answer
        self._held.answered([*answer.stored, *answer.refused])
        self._held.wait(self._clock.monotonic_s(), self._clock.now_us(), WAITING_PAUSE_S)
        if not answer.says_something:
            return
        try:
            self._channel.answer(answer)
        except BrokerError as error:
            LOG.warning("authors cannot be answered, and look at the table: %s", first_line(error))


class GroupCommitter:
    """Takes part in the election, on a thread of its own, and commits while it has the lease."""

    def __init__(
        self,
        endpoints: Endpoints,
        lease: GroupLease | FileLease,
        channel: Callable[[], Committing],
        clock: Clock,
        linger_s: float,
        retention: SnapshotRetention | None,
    ) -> None:
        """channel: opens one, for each term."""
        self._endpoints = endpoints
        self._lease = lease
        self._channel = channel
        self._clock = clock
        self._linger_s = linger_s
        self._retention = retention
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        # True while this process commits for others.
        self.has_lease = False
        self.totals = CommitterTotals()

    def want(self) -> None:
        """Nobody answers: take the lease, if nobody has it. Returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="k2-committer", daemon=True)
            self._thread.start()
        self._wanted.set()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            if self._stopped.wait(random.uniform(0.0, ELECTION_JITTER_S)):
                return
            self._wanted.clear()
            try:
                if self._lease.acquire():
                    self._serve()
            except K2Error as error:
                LOG.warning("this process does not commit for others: %s", first_line(error))
            except Exception:  # the consumer of this process goes on, as all do without a committer
                LOG.exception("the committer has ended")
            finally:
                self.has_lease = False
                self._release()

    def _serve(self) -> None:
        """One term."""
        with Lake.at(self._endpoints) as lake, closing(self._channel()) as channel:
            writer = TableWriter(lake, self._clock, self._retention)
            term = CommitterTerm(channel, writer, self._clock, self._linger_s, self.totals)
            keep = Every(1.0, self._clock)
            self.has_lease = True
            LOG.info("commits for all consumers of the table")
            while not self._stopped.is_set() and term.step():
                if keep.due():
                    self._lease.keep()
            term.finish()
            LOG.info("commits for others no more")

    def _release(self) -> None:
        try:
            self._lease.release()
        except K2Error as error:
            LOG.warning("the lease of the committer is not released: %s", first_line(error))

    def stop(self) -> None:
        """Commit what has come, and give the lease up."""
        self._stopped.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(ENDS_WITHIN_S)
