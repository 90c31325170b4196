"""A consumer's side of group commit: its offer is announced to the committer, and committed directly if none answers.

The committer is an optimisation and no guarantee. An author that dies, at whatever line, leaves an offer that is either
taken as a whole or never: the table's offsets say which, and who is assigned the partitions next begins there.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from k2ctl.clock import Clock
from k2ctl.domain.announcement import Announced, NextStep, patience_s
from k2ctl.domain.checkpoint import NO_CHANGE, Checkpoints, OffsetDelta, TopicPartition
from k2ctl.domain.ledger import LedgerChange
from k2ctl.domain.offers import CommitterAnswer, fenced_partitions
from k2ctl.domain.rows import Rows
from k2ctl.errors import BrokerError, K2Error, first_line
from k2ctl.lake.writer import TableWriter
from k2ctl.lake.written_offer import Committed, WrittenOffer

LOG: Final = logging.getLogger("k2ctl.consume")

URGENT_PATIENCE_S: Final = 0.25
"""How long an author waits for an answer when others wait for it: a rebalance, or who stops it."""

LOOK_EVERY_S: Final = 0.05
"""How often an author that waits for an answer looks whether it has to hurry."""

AGE_KNOWN_FOR_S: Final = 30.0
"""An author that has announced nothing for so long does not know whether there is a committer."""


class Announcing(Protocol):
    """What an author asks of the topic of commits; see `AuthorChannel`."""

    def begin(self) -> None: ...

    def announce(self, document: bytes) -> None: ...

    def answers(self, wait_s: float) -> list[CommitterAnswer]: ...

    def rest(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class AuthorTotals:
    """Counts since the start."""

    # Offers that were announced.
    announced: int = 0
    # Those of them that their author committed in the end.
    direct: int = 0
    # Tries of these that another commit came before.
    conflicts: int = 0


class OfferAuthor:
    """Commits as `TableWriter` does, by way of a committer. Not thread-safe, except for `hurry` and the figures.

    1. The files are written.
    2. The offer is announced, and an answer waited for: it says that the offer is in the table, or refused.
    3. Without an answer the author looks at the table; where its offsets stand still, it announces again.
    4. Refused, or without an answer again, it commits directly, with a fresh look at the table.

    A crash before 2 leaves files that orphan removal deletes; a crash after it an offer that may still be taken.
    """

    def __init__(
        self,
        writer: TableWriter,
        channel: Announcing,
        look: Callable[[], Checkpoints],
        elect: Callable[[], None],
        clock: Clock,
    ) -> None:
        """look: the table's checkpoints now. elect: nobody answers; returns at once."""
        self._writer = writer
        self._channel = channel
        self._look = look
        self._elect = elect
        self._clock = clock
        self._durations_s: deque[float] = deque(maxlen=20)
        self._hurried = threading.Event()
        self._was_answered = False
        self._unanswered_since_s: float | None = None
        self._announced_s = 0.0
        self._trouble = ""
        self.totals = AuthorTotals()

    def hurry(self) -> None:
        """Somebody waits for the offer that is under way, or for the next one. From any thread."""
        self._hurried.set()

    def commit(
        self,
        batches: Sequence[Rows],
        deltas: Mapping[TopicPartition, OffsetDelta],
        change: LedgerChange = NO_CHANGE,
        *,
        whole: bool = False,
    ) -> Committed:
        """As `TableWriter.commit`, in the steps above."""
        started_s = self._clock.monotonic_s()
        try:
            written = self._writer.write(batches, deltas, change, urgent=self._hurried.is_set())
            committed = self._by_committer(written)
            if committed is None:
                return self._directly(written, whole)
            if committed.attempts == 1:
                self._durations_s.append(self._clock.monotonic_s() - started_s)
            return committed
        finally:
            self._hurried.clear()

    def _directly(self, written: WrittenOffer, whole: bool) -> Committed:
        started_s, troubles = self._clock.monotonic_s(), self._writer.troubles
        committed = self._writer.commit_written(written, whole=whole)
        if self._writer.troubles == troubles:  # else patience would grow with each outage
            self._durations_s.append(self._clock.monotonic_s() - started_s)
        self.totals.direct += 1
        self.totals.conflicts += committed.attempts - 1
        return committed

    def _by_committer(self, written: WrittenOffer) -> Committed | None:
        """Steps 2 and 3; None where the author has to commit it."""
        try:
            self._channel.begin()
            return self._asked(written)
        except BrokerError as error:
            self._was_answered = False  # who committed may be away as well
            self._note(first_line(error))
            return None
        finally:
            self._channel.rest()

    def _asked(self, written: WrittenOffer) -> Committed | None:
        asked = Announced(written.offer.id, written.offer.table, self._patience_s(written))
        while True:
            step = asked.step(self._clock.monotonic_s())
            if asked.answer is not None:
                return written.stored_by(asked.answer, asked.times)
            if step is NextStep.COMMIT_DIRECTLY:
                self._was_answered = asked.refused is not None
                return None
            if step is NextStep.WAIT:
                asked = self._waited(asked, written)
            elif asked.times and self._has_moved(written):
                return None
            else:
                asked = self._announced(asked, written)

    def _announced(self, asked: Announced, written: WrittenOffer) -> Announced:
        if asked.times or not self._was_answered:
            self._elect()
        self._channel.announce(written.document())
        self._note("")
        now_s = self._announced_s = self._clock.monotonic_s()
        self.totals.announced += not asked.times
        if self._unanswered_since_s is None:
            self._unanswered_since_s = now_s
        return asked.announced(now_s)

    def _waited(self, asked: Announced, written: WrittenOffer) -> Announced:
        now_s = self._clock.monotonic_s()
        if self._hurried.is_set() and not written.offer.urgent:
            written.offer = replace(written.offer, urgent=True)
            return replace(asked, patience_s=URGENT_PATIENCE_S, until_s=now_s)
        for answer in self._channel.answers(min(LOOK_EVERY_S, max(0.0, asked.until_s - now_s))):
            asked = asked.answered(answer)
        if asked.answer is not None or asked.refused is not None:
            self._was_answered, self._unanswered_since_s = True, None
        return asked

    def _has_moved(self, written: WrittenOffer) -> bool:
        """Whether the table stands elsewhere: by this offer, whose answer was lost, or by another."""
        try:
            return bool(fenced_partitions(self._look(), written.offer.deltas))
        except K2Error:  # the direct commit waits until the table answers
            return True

    def _patience_s(self, written: WrittenOffer) -> float:
        if written.offer.urgent:
            return URGENT_PATIENCE_S
        ordered = sorted(self._durations_s)
        return patience_s(ordered[len(ordered) // 2] if ordered else 0.0)

    def _note(self, trouble: str) -> None:
        """One line when the topic cannot be used, and one when it can be again."""
        if trouble and not self._trouble:
            LOG.warning("offers cannot be announced, and are committed directly: %s", trouble)
        elif self._trouble and not trouble:
            LOG.info("offers are announced again")
        self._trouble = trouble

    @property
    def announcement_age_s(self) -> float | None:
        """Since when no announcement of this author was answered; None where all were, or none was made lately."""
        since_s, now_s = self._unanswered_since_s, self._clock.monotonic_s()
        if since_s is None or now_s - self._announced_s > AGE_KNOWN_FOR_S:
            return None
        return now_s - since_s

    def close(self) -> None:
        """Leave Kafka; no commit is under way."""
        self._channel.close()
