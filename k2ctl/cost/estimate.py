"""What a platform costs in a month, or why it cannot work; estimates side by side, line against line, by month."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from k2ctl.cost.lake_lines import catalog_lines, lake_lines, query_lines
from k2ctl.cost.lines import Component, Line, LinePlan
from k2ctl.cost.platform_lines import (
    client_lines,
    internet_lines,
    kafka_lines,
    observability_lines,
    platform_lines,
    state_lines,
    support_line,
)
from k2ctl.cost.price_book import PriceBook
from k2ctl.cost.sizing import size
from k2ctl.errors import ProfileError
from k2ctl.profiles.model import Profile
from k2ctl.profiles.scale import Scale


@dataclass(frozen=True)
class Estimate:
    """A month's cost in US dollars."""

    profile: str
    region: str
    # Since the start; None for the steady state.
    month: int | None
    prices_collected: str
    trades_per_second: float
    trades_per_month: float
    # Uncompressed trades, GB of 10^9 bytes.
    payload_gb: float
    symbols: int
    lines: tuple[Line, ...]
    # Why it cannot work; then there are no lines.
    infeasible: tuple[str, ...]

    @property
    def total_monthly_usd(self) -> float:
        """The sum of the lines."""
        return math.fsum(line.monthly_usd or 0.0 for line in self.lines)

    @property
    def low_usd(self) -> float:
        """Every line at its low end."""
        return math.fsum(line.low_usd for line in self.lines)

    @property
    def high_usd(self) -> float | None:
        """Every line at its high end; None where a price was not found."""
        return None if self.not_found else math.fsum(line.high_usd for line in self.lines)

    @property
    def not_found(self) -> tuple[str, ...]:
        """Lines without a price, or with one for a part only: the total is a lower bound."""
        return tuple(line.name for line in self.lines if not line.complete and line.component != "Support")

    @property
    def usd_per_million_messages(self) -> float:
        """US dollars per million trades; a message is a trade."""
        return self.total_monthly_usd / (self.trades_per_month / 1e6)

    @property
    def usd_per_gb(self) -> float:
        """US dollars per GB (10^9 bytes) of uncompressed trades ingested."""
        return self.total_monthly_usd / self.payload_gb

    @property
    def usd_per_symbol_month(self) -> float:
        """US dollars per symbol and month."""
        return self.total_monthly_usd / self.symbols

    def by_component(self) -> dict[Component, float]:
        """US dollars a month by component, in the order of the lines."""
        sums: dict[Component, list[float]] = {}
        for line in self.lines:
            sums.setdefault(line.component, []).append(line.monthly_usd or 0.0)
        return {component: math.fsum(amounts) for component, amounts in sums.items()}


def scale_of(profile: Profile) -> Scale:
    """The profile's section `scale`.

    Raises:
        ProfileError: it has none.
    """
    if profile.scale is None:
        raise ProfileError(
            f"The profile '{profile.name}' has no section 'scale', so there is nothing to price.",
            "Copy the section from one that has: k2ctl cost --scale 10K",
        )
    return profile.scale


def estimate(profile: Profile, book: PriceBook, month: int | None = None) -> Estimate:
    """Size the platform, then price every line of it.

    Raises:
        ProfileError: the profile says nothing of its scale.
    """
    scale = scale_of(profile)
    sizing = size(profile, scale, book)
    plan = LinePlan(profile, scale, sizing, book, month)
    return Estimate(
        profile=profile.name,
        region=book.region,
        month=month,
        prices_collected=book.collected.isoformat(),
        trades_per_second=scale.workload.average_rate,
        trades_per_month=sizing.volumes.trades,
        payload_gb=sizing.volumes.payload_bytes / 1e9,
        symbols=profile.market.symbols,
        lines=() if sizing.faults else tuple(_lines(plan)),
        infeasible=sizing.faults,
    )


def _lines(plan: LinePlan) -> Iterator[Line]:
    others = [
        line
        for make in (
            kafka_lines, client_lines, lake_lines, catalog_lines, state_lines, query_lines,
            internet_lines, platform_lines, observability_lines,
        )
        for line in make(plan)
    ]  # fmt: skip
    yield from others
    yield from support_line(plan, others)


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
