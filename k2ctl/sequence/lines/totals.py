"""What the commits of one consumer say of lines: each copy of another line's trade tells which of both came first."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from k2ctl.domain.line_status import LineCounts
from k2ctl.sequence.lines.skews import cells


@dataclass(frozen=True)
class Copied:
    """n copies that one consumer met, and the stored rows: receive times in int64[n], topics in object[n]."""

    received_ns: np.ndarray
    stored_topic: np.ndarray
    stored_received_ns: np.ndarray


class LineTotals:
    """Noted on the committing thread, read from any other."""

    def __init__(self, lines: Mapping[str, str], topic: str = "") -> None:
        """lines: name → topic. topic: the consumer's."""
        self._line_of = {of: line for line, of in lines.items()}
        self._own = self._line_of.get(topic)
        self._counts: Mapping[str, LineCounts] = {} if self._own is None else {self._own: LineCounts()}

    def status(self) -> dict[str, LineCounts]:
        """Since the start."""
        return dict(self._counts)

    def note(self, stored: int, copied: Copied) -> None:
        """Some rows of the consumer's topic were stored, and others were copies of rows that are stored."""
        own, counts = self._own, dict(self._counts)
        if own is None:
            return
        counts[own] = counts[own].plus(LineCounts(trades=stored))
        for name in set(copied.stored_topic.tolist()):
            other = self._line_of.get(name)
            if other not in (None, own):
                at = copied.stored_topic == name
                self._note_pair(counts, own, str(other), (copied.received_ns - copied.stored_received_ns)[at])
        self._counts = counts

    @staticmethod
    def _note_pair(counts: dict[str, LineCounts], own: str, other: str, later_ns: np.ndarray) -> None:
        """later_ns: how long after the other line each copy came on its own."""
        after, before = later_ns[later_ns > 0], -later_ns[later_ns < 0]
        mine = LineCounts(len(later_ns), len(later_ns), len(before), cells(after))
        counts[own] = counts[own].plus(mine)
        counts[other] = counts.get(other, LineCounts()).plus(LineCounts(first=len(after), skew=cells(before)))
