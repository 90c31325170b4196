"""What a benchmark prints: one figure, the spread of its repetitions, and the baseline that it is compared with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

BASELINE: Final = "baseline: "
"""How the metric of a figure begins that says what the machine allows, not what k2ctl does."""

_DURATIONS: Final = ("ms", "s")


@dataclass(frozen=True)
class Figure:
    """One figure. baseline: what it is compared with, measured in the same run, in the same unit; ratio: value /
    baseline.

    goal: what the ratio (or, without a baseline, the value) should be at least; `at_most` turns that round.
    low, high: the smallest and the largest `value` of the repetitions; None where it was measured once.
    """

    benchmark: str
    case: str
    metric: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    goal: float | None = None
    at_most: bool = False
    low: float | None = None
    high: float | None = None

    @property
    def measured(self) -> float:
        """What goal and comparison look at: the ratio where there is one, else the value."""
        return self.value if self.ratio is None else self.ratio

    @property
    def met(self) -> bool | None:
        """Whether the goal was met; None without one."""
        if self.goal is None:
            return None
        return self.measured <= self.goal if self.at_most else self.measured >= self.goal

    @property
    def spread(self) -> float | None:
        """(high − low) / value; None where it was measured once."""
        if self.low is None or self.high is None or not self.value:
            return None
        return abs((self.high - self.low) / self.value)

    @property
    def lower_is_better(self) -> bool | None:
        """Which way is worse; None where neither is: a baseline, or a figure that only explains."""
        if self.metric.startswith(BASELINE):
            return None
        if self.at_most or self.unit in _DURATIONS:
            return True
        return False if self.goal is not None or self.unit.endswith("/s") else None


def measured(
    benchmark: str,
    case: str,
    metric: str,
    values: Sequence[float],
    unit: str,
    goal: float | None = None,
    *,
    at_most: bool = False,
) -> Figure:
    """A figure of several repetitions: their median, and how far they lay apart."""
    return Figure(benchmark, case, metric, middle(values), unit, None, None, goal, at_most, *_range(values))


def against(
    benchmark: str,
    case: str,
    metric: str,
    values: Sequence[float],
    unit: str,
    baselines: Sequence[float],
    goal: float | None,
    *,
    at_most: bool = False,
) -> Figure:
    """A figure of several repetitions, each compared with its baseline in the same one; medians of all."""
    value, baseline = middle(values), middle(baselines)
    ratio = middle([ours / its for ours, its in zip(values, baselines, strict=True)])
    return Figure(benchmark, case, metric, value, unit, baseline, ratio, goal, at_most, *_range(values))


def beside(figure: Figure, tool: str, rates: list[float], goal: float | None) -> Figure:
    """The same figure, compared with what a tool of Kafka reached."""
    reached = sorted(rates)[len(rates) // 2]
    return Figure(
        figure.benchmark, figure.case, f"{figure.metric.partition(',')[0]}, against {tool}", figure.value, figure.unit,
        reached, figure.value / reached, goal, low=figure.low, high=figure.high,
    )  # fmt: skip


def absolute(figure: Figure, goal: float) -> Figure:
    """The value of a figure with a baseline, with a goal of its own."""
    metric = f"{figure.metric}, absolute"
    return replace(figure, metric=metric, baseline=None, ratio=None, goal=goal)


def middle(values: Sequence[float]) -> float:
    """The median: one disturbed repetition does not move it."""
    return median(values)


def repeated(
    once: Callable[[], Sequence[float]], runs: int, warm_ups: int, say: Callable[[str], None]
) -> list[list[float]]:
    """Warm up, then repeat; the results of `once`, column by column.

    What is to be compared is measured inside one `once`: so a noisy moment of the machine hits both alike.
    """
    for run in range(warm_ups):
        say(f"warm-up {run + 1} of {warm_ups}")
        once()
    rows = []
    for run in range(runs):
        say(f"run {run + 1} of {runs}")
        rows.append(once())
    return [list(column) for column in zip(*rows, strict=True)]


def _range(values: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    return (min(values), max(values)) if len(values) > 1 else (None, None)
