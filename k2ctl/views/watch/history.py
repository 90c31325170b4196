"""Lag and level over time, of all consumers together and of each."""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from k2ctl.domain.overview import Overview

HISTORY_TICKS: Final = 7200
TICK_S: Final = 0.5


class _Sample(NamedTuple):
    lag: int | None
    level: int


class LagHistory:
    """Lag and level of the last hour, a tick every half second."""

    def __init__(self) -> None:
        self._ticks: deque[tuple[int, dict[str, _Sample]]] = deque(maxlen=HISTORY_TICKS)
        self._added = 0

    def add(self, overview: Overview) -> bool:
        """Note one tick; more than one in half a second is not noted, and False returned."""
        due = not self._ticks or overview.at_us - self._ticks[-1][0] >= TICK_S * 0.9e6
        if due:
            of_each = {one.id: _Sample(one.lag_trades, one.level_number) for one in overview.consumers}
            self._ticks.append((overview.at_us, {**of_each, "": _Sample(overview.lag_trades, overview.level_number)}))
            self._added += 1
        return due

    def copy(self) -> "LagHistory":
        """As it is now, for a screen that stands still."""
        copied = LagHistory()
        copied._ticks, copied._added = self._ticks.copy(), self._added
        return copied

    def lags(self, most: int, consumer: str = "", together: int = 1) -> list[int | None]:
        """The newest lags in trades, oldest first; of `together` ticks the largest. consumer: empty for all."""
        groups = self._groups(most, consumer, together)
        return [max((one.lag for one in group if one.lag is not None), default=None) for group in groups]

    def levels(self, most: int, consumer: str = "", together: int = 1) -> list[int]:
        """Level numbers in the same way, the worst of each group."""
        return [max(one.level for one in group) for group in self._groups(most, consumer, together)]

    def _groups(self, most: int, consumer: str, together: int) -> list[list[_Sample]]:
        """Ticks in groups whose bounds stay where they are as ticks are added."""
        first = self._added - len(self._ticks)
        newest = (self._added - 1) // together
        skipped = max(0, (newest - most + 1) * together - first)
        samples = [tick for _, tick in list(self._ticks)[skipped:]]
        return _grouped([tick.get(consumer, _Sample(None, 0)) for tick in samples], first + skipped, together)


def _grouped(samples: Sequence[_Sample], first: int, together: int) -> list[list[_Sample]]:
    groups: dict[int, list[_Sample]] = {}
    for number, sample in enumerate(samples, first):
        groups.setdefault(number // together, []).append(sample)
    return list(groups.values())
