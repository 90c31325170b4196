"""What a check of a feed finds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Origin:
    """A record of a topic, or a line of a file."""

    # PARTITION:OFFSET, or FILE:LINE.
    place: str
    # What it looks like there.
    text: str


@dataclass(frozen=True)
class Failure:
    """What fails in one way: how often, and the first of them."""

    cause: str
    count: int
    reason: str
    origin: Origin


@dataclass(frozen=True)
class Ids:
    """What the ids of a sample are like; in trades, which together are all."""

    # The first with its id.
    distinct: int
    # The same trade once more; the table keeps one.
    copies: int
    # The same trade with another price or quantity; it corrects the first.
    reprints: int
    # Another trade with the id of one before it.
    shared: int


@dataclass(frozen=True)
class CheckedNumbers:
    """What the sequence numbers of a sample are like."""

    # Trades that have one.
    count: int
    # What the feed says of them, and what they look like, as `sequence.numbers` has it; None where they say nothing.
    declared: str
    found: str | None
    why: str
    # False where there are too few to see it.
    sure: bool


@dataclass(frozen=True)
class Checked:
    """What a check found."""

    feed: str
    target: str
    # Records of a topic, or lines or rows of files; True if there are more than were read.
    records: int
    is_part: bool
    # Trades; rows that `where` leaves out; records and trades that fail.
    trades: int
    filtered: int
    failed: int
    failures: Sequence[Failure]
    # The first trades (dtype `TRADE.message`) beside what they are of.
    first: Sequence[tuple[Origin, np.void]]
    # The most frequent, with their trades; of `symbol_count`.
    symbols: Sequence[tuple[str, int]]
    symbol_count: int
    # Of the venue's time, ISO; None without trades.
    since: str | None
    until: str | None
    sides: dict[str, int]
    ids: Ids
    # None where no trade has one.
    numbers: CheckedNumbers | None
    # Of reading and mapping in one thread, in the quickest part of the sample.
    trades_per_s: float
    # What is worth a look, though nothing fails.
    remarks: Sequence[str]

    @property
    def passes(self) -> bool:
        """True if there are trades, and nothing fails."""
        return self.trades > 0 and not self.failed
