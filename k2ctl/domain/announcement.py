"""Group commit, its two sides: what the author of an offer does next, and which offers a committer holds. No I/O.

An author announces its offer and waits. Not answered, it announces again, and then commits by itself; refused, it
commits by itself at once, because only a fresh look at the table decides. A committer holds what was announced until it
is answered, or too old to be taken.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from k2ctl.domain.offers import ANNOUNCED_LIVES_S, CommitterAnswer, Offer, Refusal

ANNOUNCED_TIMES: Final = 2
"""How often an offer is announced before its author commits it."""

LEAST_PATIENCE_S: Final = 1.0
LONGEST_LINGER_S: Final = 0.5


def patience_s(typical_commit_s: float) -> float:
    """How long an author waits for an answer."""
    return max(LEAST_PATIENCE_S, 2 * typical_commit_s)


def linger_s(commit_interval_s: float) -> float:
    """How long a committer waits for more offers after the first."""
    return min(LONGEST_LINGER_S, commit_interval_s / 4)


class NextStep(Enum):
    """What the author of an offer does now."""

    ANNOUNCE = "announce"
    # For an answer, until `Announced.until_s`.
    WAIT = "wait"
    COMMIT_DIRECTLY = "commit directly"
    # The answer has it: the offer is in the table.
    STORED = "stored"


@dataclass(frozen=True)
class Announced:
    """An offer from its author's side. Each event makes another one; `step` says what to do."""

    offer_id: str
    # The table's uuid.
    table: str
    patience_s: float
    # How often it was announced.
    times: int = 0
    until_s: float = 0.0
    answer: CommitterAnswer | None = None
    # Why it was refused, as an answer says.
    refused: Refusal | None = None
    # Kafka takes no announcement.
    is_mute: bool = False

    def step(self, now_s: float) -> NextStep:
        """What to do now, by a monotonic clock."""
        if self.answer is not None:
            return NextStep.STORED
        if self.refused is not None or self.is_mute:
            return NextStep.COMMIT_DIRECTLY
        if self.times and now_s < self.until_s:
            return NextStep.WAIT
        return NextStep.ANNOUNCE if self.times < ANNOUNCED_TIMES else NextStep.COMMIT_DIRECTLY

    def announced(self, now_s: float) -> "Announced":
        """It was sent, once more."""
        return replace(self, times=self.times + 1, until_s=now_s + self.patience_s)

    def unsent(self) -> "Announced":
        """It could not be sent."""
        return replace(self, is_mute=True)

    def answered(self, answer: CommitterAnswer) -> "Announced":
        """A committer has answered, which may concern other offers."""
        if answer.table != self.table or self.answer is not None:
            return self
        if self.offer_id in answer.stored:
            return replace(self, answer=answer)
        return replace(self, refused=answer.refused.get(self.offer_id, self.refused))


class HeldOffers:
    """The offers that a committer has read and not answered. Not thread-safe."""

    def __init__(self, linger_s: float) -> None:
        """linger_s: how long the first one waits for others."""
        self._linger_s = linger_s
        # Offer id → the offer, and when it is due by a monotonic clock.
        self._held: dict[str, tuple[Offer, float]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def add(self, offer: Offer, now_s: float) -> None:
        """An announcement. One that comes again is due at once: its author has waited long enough."""
        at_once = offer.urgent or offer.id in self._held
        self._held[offer.id] = (offer, now_s if at_once else now_s + self._linger_s)

    def due_s(self) -> float | None:
        """When to commit what is held; None while nothing is."""
        return min((due_s for _, due_s in self._held.values()), default=None)

    def offers(self) -> list[Offer]:
        """All of them, in the order in which they came."""
        return [offer for offer, _ in self._held.values()]

    def answered(self, offer_ids: Iterable[str]) -> None:
        """These are answered."""
        for offer_id in offer_ids:
            self._held.pop(offer_id, None)

    def wait(self, now_s: float, now_us: int, pause_s: float) -> None:
        """Those that are left start ahead of the table: try again after a pause; drop those that are too old."""
        self._held = {
            offer.id: (offer, max(due_s, now_s + pause_s))
            for offer, due_s in self._held.values()
            if now_us - offer.written_us <= ANNOUNCED_LIVES_S * 1e6
        }
