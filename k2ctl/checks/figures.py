"""What a benchmark prints: one figure, and where there is one the ceiling that it is held against."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One figure. ceiling: what a stripped loop reached in the same run, in the same unit; ratio: value / ceiling.

    goal: what the ratio (or, without a ceiling, the value) should be at least; `at_most` turns that round.
    """

    benchmark: str
    case: str
    metric: str
    value: float
    unit: str
    ceiling: float | None = None
    ratio: float | None = None
    goal: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the goal was met; None without one."""
        if self.goal is None:
            return None
        measured = self.value if self.ratio is None else self.ratio
        return measured <= self.goal if self.at_most else measured >= self.goal


def against(
    benchmark: str, case: str, metric: str, value: float, unit: str, ceiling: float, goal: float | None
) -> Figure:
    """A figure with its ceiling."""
    return Figure(benchmark, case, metric, value, unit, ceiling, value / ceiling, goal)


def middle(values: list[float]) -> float:
    """The median: one disturbed repetition does not move it."""
    return median(values)
