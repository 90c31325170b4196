"""Estimates side by side, line against line, and month by month."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from k2ctl.cost.estimate import Estimate, estimate
from k2ctl.cost.price_book import PriceBook
from k2ctl.profiles.model import Profile


@dataclass(frozen=True)
class ComponentRow:
    """A component in every estimate."""

    component: str
    # US dollars a month.
    usd: tuple[float, ...]
    # True where all of it has a price.
    complete: tuple[bool, ...]


@dataclass(frozen=True)
class Comparison:
    """Estimates side by side."""

    estimates: tuple[Estimate, ...]
    rows: tuple[ComponentRow, ...]


@dataclass(frozen=True)
class LineChange:
    """A line in two estimates."""

    # `~` changed, `+` added, `-` removed, a space for the same.
    mark: Literal["~", "+", "-", " "]
    name: str
    # Titles; empty where the line is not there.
    before: str
    after: str
    # None where the line is not there, or has no price.
    before_usd: float | None
    after_usd: float | None

    @property
    def usd(self) -> float:
        """What the change costs a month."""
        return (self.after_usd or 0.0) - (self.before_usd or 0.0)


@dataclass(frozen=True)
class Difference:
    """Two estimates, line against line, the largest change first."""

    before: Estimate
    after: Estimate
    changes: tuple[LineChange, ...]

    @property
    def usd(self) -> float:
        """What the second costs more than the first."""
        return self.after.total_monthly_usd - self.before.total_monthly_usd


@dataclass(frozen=True)
class MonthCost:
    """A month since the start."""

    month: int
    total_monthly_usd: float
    by_component: dict[str, float]


def compare(estimates: Sequence[Estimate]) -> Comparison:
    """Components in the order in which they first come."""
    sums = [found.by_component() for found in estimates]
    names = dict.fromkeys(name for each in sums for name in each)
    rows = tuple(
        ComponentRow(
            name, tuple(each.get(name, 0.0) for each in sums), tuple(_complete(name, one) for one in estimates)
        )
        for name in names
    )
    return Comparison(tuple(estimates), tuple(rows))


def _complete(component: str, found: Estimate) -> bool:
    return all(line.complete for line in found.lines if line.component == component)


def difference(before: Estimate, after: Estimate) -> Difference:
    """What changes from one estimate to another."""
    old = {line.name: line for line in before.lines}
    new = {line.name: line for line in after.lines}
    changes = []
    for name in dict.fromkeys([*old, *new]):
        a, b = old.get(name), new.get(name)
        same = a is not None and b is not None and (a.title, a.monthly_usd) == (b.title, b.monthly_usd)
        changes.append(
            LineChange(
                mark="+" if a is None else "-" if b is None else " " if same else "~",
                name=name,
                before=a.title if a else "",
                after=b.title if b else "",
                before_usd=a.monthly_usd if a else None,
                after_usd=b.monthly_usd if b else None,
            )
        )
    changes.sort(key=lambda change: -abs(change.usd))
    return Difference(before, after, tuple(changes))


def by_month(profile: Profile, book: PriceBook, months: int) -> tuple[MonthCost, ...]:
    """The first months: retention fills up, the rest stands from the first day."""
    found = [estimate(profile, book, month) for month in range(1, months + 1)]
    return tuple(
        MonthCost(month, each.total_monthly_usd, {str(name): usd for name, usd in each.by_component().items()})
        for month, each in enumerate(found, 1)
    )
