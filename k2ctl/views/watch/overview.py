"""The whole platform on one screen, arranged for the room there is."""

from typing import Final

from rich.console import Group, RenderableType

from k2ctl.domain.overview import Overview
from k2ctl.views.watch.consumers import consumers_panel
from k2ctl.views.watch.figures import BALANCE_HEIGHT, FIGURES_HEIGHT, balance_panel, figures, priorities_panel
from k2ctl.views.watch.frame import side_by_side
from k2ctl.views.watch.history import LagHistory
from k2ctl.views.watch.ladder import LADDER_HEIGHT, ladder_panel, lag_panel
from k2ctl.views.watch.transitions import transitions_panel

MORE_FROM_HEIGHT: Final = 34
TWO_COLUMNS_FROM: Final = 120
THREE_COLUMNS_FROM: Final = 200
_PRIORITIES_HEIGHT: Final = 10
_LEFT_LEAST: Final = 80
_THIRD_WIDTH: Final = 70


def watch_screen(
    overview: Overview, history: LagHistory, width: int, height: int, consumer: str = "", together: int = 1
) -> RenderableType:
    """The whole screen, always of the same height, so that nothing jumps; at least 80 × 23.

    consumer: whose `overview` this is; empty for all. together: ticks of half a second that are one value of the chart.
    """
    shown = _Arranged(overview, history, consumer, together)
    if height < MORE_FROM_HEIGHT:
        return Group(
            shown.ladder(), shown.lag(width, height - LADDER_HEIGHT - FIGURES_HEIGHT), figures(overview, width)
        )
    if width < TWO_COLUMNS_FROM:
        return shown.stacked(width, height)
    if width < THREE_COLUMNS_FROM:
        return shown.in_two(width, height)
    return shown.in_three(width, height)


class _Arranged:
    """The panels of one overview."""

    def __init__(self, overview: Overview, history: LagHistory, consumer: str, together: int) -> None:
        self._overview = overview
        self._history = history
        self._consumer = consumer
        self._together = together

    def ladder(self) -> RenderableType:
        return ladder_panel(self._overview, self._consumer)

    def lag(self, width: int, height: int) -> RenderableType:
        return lag_panel(self._overview, self._history, width, height, self._consumer, self._together)

    def stacked(self, width: int, height: int) -> RenderableType:
        """Below each other: high and narrow."""
        rest = height - LADDER_HEIGHT - FIGURES_HEIGHT
        beside = max(10, rest // 2)
        left = width * 9 // 20
        lower = side_by_side(
            (left, transitions_panel(self._overview, beside)),
            (width - left, consumers_panel(self._overview, width - left, beside)),
        )
        return Group(self.ladder(), self.lag(width, rest - beside), figures(self._overview, width), lower)

    def in_two(self, width: int, height: int) -> RenderableType:
        """What presses at the left, where trades are at the right."""
        left = max(_LEFT_LEAST, width * 11 // 20)
        right = width - left
        consumers = height - BALANCE_HEIGHT - _PRIORITIES_HEIGHT
        trades = Group(
            balance_panel(self._overview, right, BALANCE_HEIGHT),
            priorities_panel(self._overview, right, _PRIORITIES_HEIGHT),
            consumers_panel(self._overview, right, consumers),
        )
        return side_by_side((left, self._pressure(left, height)), (right, trades))

    def in_three(self, width: int, height: int) -> RenderableType:
        """The chart over two columns, and consumers with all their partitions in the third."""
        left = width - _THIRD_WIDTH
        first = width - 2 * _THIRD_WIDTH
        rest = height - _PRIORITIES_HEIGHT
        transitions = max(10, rest // 3)
        upper = side_by_side(
            (first, ladder_panel(self._overview, self._consumer, _PRIORITIES_HEIGHT)),
            (left - first, balance_panel(self._overview, left - first, _PRIORITIES_HEIGHT)),
        )
        pressure = Group(upper, self.lag(left, rest - transitions), transitions_panel(self._overview, transitions))
        consumers = consumers_panel(self._overview, _THIRD_WIDTH, height - _PRIORITIES_HEIGHT)
        priorities = priorities_panel(self._overview, _THIRD_WIDTH, _PRIORITIES_HEIGHT)
        return side_by_side((left, pressure), (_THIRD_WIDTH, Group(priorities, consumers)))

    def _pressure(self, width: int, height: int) -> RenderableType:
        rest = height - LADDER_HEIGHT
        transitions = max(10, rest // 3)
        return Group(self.ladder(), self.lag(width, rest - transitions), transitions_panel(self._overview, transitions))
