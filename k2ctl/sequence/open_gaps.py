"""The gaps of each channel's present run: opened, filled, cut in two, lost after a while, explained."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from k2ctl.domain.ledger import DeferredRange
from k2ctl.sequence.symbol_codec import Gap

MAX_GAPS: Final = 1_000
"""Kept for each channel; beyond them the oldest gaps count as lost."""


@dataclass(frozen=True)
class GapCounts:
    """Gaps and the numbers missing in them: open, and lost (open for longer than the deadline)."""

    open_gaps: int = 0
    open_numbers: int = 0
    lost_gaps: int = 0
    lost_numbers: int = 0


class OpenGaps:
    """Per channel number its gaps, in order of their numbers."""

    def __init__(self, most: int = MAX_GAPS) -> None:
        self._most = most
        self._gaps: dict[int, list[Gap]] = {}
        self._given_up_gaps = self._given_up_numbers = 0

    def of(self, channel: int) -> list[Gap]:
        """The gaps of a channel; do not change the list."""
        return self._gaps.get(channel, [])

    def restore(self, channel: int, gaps: list[Gap]) -> None:
        """Replace the gaps of a channel."""
        if gaps:
            self._gaps[channel] = gaps
        else:
            self._gaps.pop(channel, None)

    def open(self, channel: int, gap: Gap) -> None:
        """A gap above all others of the channel, or below all of them."""
        own = self._gaps.setdefault(channel, [])
        if own and gap.start < own[0].start:
            own.insert(0, gap)
        else:
            own.append(gap)
        if len(own) > self._most:
            self._given_up_gaps += 1
            self._given_up_numbers += own.pop(0).missing

    @property
    def missing(self) -> int:
        """How many numbers are missing in all of them."""
        return sum(gap.missing for own in self._gaps.values() for gap in own)

    def holds(self, channel: int, number: int) -> bool:
        """Whether a number is missing."""
        return self._position(channel, number) is not None

    def fill(self, channel: int, number: int) -> bool:
        """A missing number has come; returns whether it was its gap's last."""
        at = self._position(channel, number)
        if at is None:
            raise KeyError(number)
        own = self._gaps[channel]
        gap = own[at]
        left = [gap._replace(after=number), gap._replace(start=number + 1)]
        own[at : at + 1] = [part for part in left if part.missing]
        if not own:
            del self._gaps[channel]
        return gap.missing == 1

    def clear(self, channel: int) -> int:
        """Forget the gaps of a channel; returns how many numbers were missing."""
        return sum(gap.missing for gap in self._gaps.pop(channel, []))

    def _position(self, channel: int, number: int) -> int | None:
        own = self._gaps.get(channel)
        if not own:
            return None
        at = bisect_right(own, number, key=lambda gap: gap.start) - 1
        return at if at >= 0 and number < own[at].after else None

    def __iter__(self) -> Iterator[tuple[int, Gap]]:
        for channel, own in self._gaps.items():
            for gap in own:
                yield channel, gap

    def counts(self, lost_before_us: int) -> GapCounts:
        """Totals; gaps opened before that time are lost."""
        gaps, numbers = [0, self._given_up_gaps], [0, self._given_up_numbers]
        for _, gap in self:
            lost = gap.opened_us < lost_before_us
            gaps[lost] += 1
            numbers[lost] += gap.missing
        return GapCounts(gaps[0], numbers[0], gaps[1], numbers[1])


class Priorities(Protocol):
    """Which symbol has which priority, by a policy with a digest; `Universe` and `Admission` are two."""

    @property
    def policy(self) -> str:
        """The digest."""
        ...

    def priority(self, symbol: bytes, /) -> int:
        """0 CRITICAL … 3 LOW."""
        ...


def is_deferred(
    entries: Iterable[DeferredRange], partition: tuple[str, int], symbol: bytes, gap: Gap, priorities: Priorities | None
) -> bool:
    """True if a range of the symbol's partition and priority may have trades between those on both sides of the gap.

    Such a gap is explained: its trades are outstanding, and no gap of the feed. partition: topic and partition, where
    the symbol was read last. priorities: where they are None, or of another policy than the range's, the range may have
    the symbol's trades.
    """
    return any(
        (entry.topic, entry.partition) == partition
        and entry.first_us <= gap.event_us
        and entry.last_us >= gap.before_us
        and (priorities is None or entry.policy != priorities.policy or entry.holds(priorities.priority(symbol)))
        for entry in entries
    )
