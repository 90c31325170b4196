"""The price book: what a unit costs, who says so, when, and how sure that is. `profiles/pricing/<region>.yaml`.

A price that is not in the book is `not found`: it is never 0 and never guessed, and what it would have priced makes the
total a lower bound.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, model_validator

from k2ctl.errors import UsageError
from k2ctl.home import shipped
from k2ctl.profiles.loader import load_model
from k2ctl.profiles.section import Amount, PositiveInt, Section

Confidence = Literal["high", "medium", "low"]
Kind = Literal[
    "msk_broker", "msk_storage", "msk_express_data_in", "zone_transfer", "internet_out",
    "ec2", "ebs_gp3",
    "s3_standard", "s3_warm", "s3_warm_monitoring", "s3_archive", "s3_put", "s3_get", "s3_to_warm", "s3_to_archive",
    "rds_postgresql", "rds_storage", "valkey", "athena",
    "eks_cluster", "nat_gateway", "load_balancer", "interface_endpoint",
    "metrics_ingest", "metrics_storage", "grafana_editor", "grafana_viewer", "logs_ingest", "logs_storage",
    "support", "support_minimum", "discount_ec2", "discount_rds", "discount_valkey",
]  # fmt: skip
"""Everything that has a price. A key in a price book that is none of these is a mistake."""

DEFAULT_REGION: Final = "us-east-1"


class PriceGroup(Section):
    """Prices of one kind, with one unit and one origin: a value, a value per type, or tiers by monthly quantity."""

    unit: str
    source: tuple[str, ...]
    date: Annotated[str, Field(pattern=r"^(\d{4}(-\d{2}(-\d{2})?)?|unknown)$")]
    confidence: Confidence
    note: str = ""
    low_confidence: tuple[str, ...] = ()
    value: Amount | None = None
    per: Mapping[str, Amount | None] | None = None
    tiers: tuple[tuple[Annotated[float, Field(gt=0, allow_inf_nan=True)], Amount | None], ...] | None = None

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> "PriceGroup":
        if len({"value", "per", "tiers"} & self.model_fields_set) != 1:
            raise ValueError("give exactly one of value, per and tiers")
        bounds = [bound for bound, _ in self.tiers or ()]
        if bounds and (bounds != sorted(set(bounds)) or not math.isinf(bounds[-1])):
            raise ValueError("tiers must rise, and the last one must end at .inf")
        return self


class BookFile(Section):
    """A price book as a file has it."""

    region: str
    currency: Literal["USD"]
    collected: date
    stale_after_days: PositiveInt
    sources: Mapping[str, str] = {}
    prices: Mapping[Kind, PriceGroup]


class OverrideFile(Section):
    """A file for `--prices`: only the prices that differ, each in the unit of the book."""

    sources: Mapping[str, str] = {}
    prices: Mapping[Kind, PriceGroup]


class Quantity(NamedTuple):
    """So many of a unit; a price multiplies only quantities of its own unit."""

    value: float
    unit: str


@dataclass(frozen=True)
class Price:
    """A price per `unit`, or tiers of it."""

    kind: str
    unit: str
    # (up to this quantity, rate); a rate of None was not found.
    tiers: tuple[tuple[float, float | None], ...]
    sources: tuple[str, ...]
    date: str
    confidence: Confidence
    note: str = ""

    def times(self, quantity: Quantity) -> tuple[float, bool]:
        """US dollars, and whether all of it has a price.

        Raises:
            TypeError: the quantity is in another unit: a mistake in the model, not of its user.
        """
        if quantity.unit != self.unit:
            raise TypeError(f"{self.kind} is priced per {self.unit}, not per {quantity.unit}")
        amount, below, known = 0.0, 0.0, True
        for bound, rate in self.tiers:
            part = max(0.0, min(quantity.value, bound) - below)
            known = known and (rate is not None or part == 0)
            amount += part * (rate or 0.0)
            below = bound
        return amount, known

    @property
    def rate(self) -> float | None:
        """The first rate, which is the only one where there are no tiers."""
        return self.tiers[0][1]


Groups = Mapping[Kind, PriceGroup]


@dataclass(frozen=True)
class PriceBook:
    """The prices of a region."""

    region: str
    collected: date
    stale_after_days: int
    # Short name → where the prices are from.
    sources: Mapping[str, str]
    groups: Groups
    # A user's prices, which go before the book's.
    own: Groups = field(default_factory=dict)
    # Another region's, to rank choices by where this one has no price.
    reference: "PriceBook | None" = None

    def price(self, kind: Kind, item: str = "") -> Price:
        """The price of a kind, or of one type of it (`ec2`, `c7g.large`)."""
        for groups in (self.own, self.groups):
            group = groups.get(kind)
            if group is not None and (not item or item in (group.per or {})):
                return self._price(kind, item, group)
        missing = self.groups.get(kind)
        note = (missing.note if missing else "") or "not in the price book"
        return Price(f"{kind} {item}".strip(), self._unit(kind), ((math.inf, None),), (), "unknown", "low", note)

    def _price(self, kind: Kind, item: str, group: PriceGroup) -> Price:
        return Price(
            kind=f"{kind} {item}".strip(),
            unit=group.unit,
            tiers=group.tiers or ((math.inf, group.per[item] if item and group.per else group.value),),
            sources=tuple(self.sources.get(name, name) for name in group.source),
            date=group.date,
            confidence="low" if item in group.low_confidence else group.confidence,
            note=group.note,
        )

    def ranking(self, kind: Kind, item: str = "") -> float | None:
        """A rate to choose between types by: where this region has none, the reference region's."""
        found = self.price(kind, item).rate
        return found if found is not None or self.reference is None else self.reference.ranking(kind, item)

    def items(self, kind: Kind) -> list[str]:
        """The types of a kind that have a price here or in the reference region."""
        found = [item for groups in (self.own, self.groups) if kind in groups for item in groups[kind].per or ()]
        return list(dict.fromkeys([*found, *(self.reference.items(kind) if self.reference else [])]))

    def age_days(self, today: date) -> int:
        """Days since the prices were collected."""
        return (today - self.collected).days

    def stale(self, today: date) -> bool:
        """Too old to be quoted without a look at the price pages."""
        return self.age_days(today) > self.stale_after_days

    def with_overrides(self, path: Path) -> "PriceBook":
        """This book with the prices of a user's file before its own.

        Raises:
            ProfileError: a mistake in the file, by line and key.
            UsageError: a price in another unit or shape than the book's.
        """
        file = load_model(path, OverrideFile)
        for kind, group in file.prices.items():
            if group.unit != self._unit(kind):
                raise UsageError(
                    f"{path}: prices.{kind}.unit: '{group.unit}', but the model counts in '{self._unit(kind)}'.",
                    "Convert the price to that unit.",
                )
            if (group.per is None) == bool(self.items(kind)):
                shape = "one by type, under `per`" if self.items(kind) else "a `value` or `tiers`"
                raise UsageError(f"{path}: prices.{kind}: the model needs {shape}.", "See profiles/pricing/*.yaml.")
        return replace(self, own=file.prices, sources={**self.sources, **file.sources})

    def _unit(self, kind: Kind) -> str:
        group = self.groups.get(kind)
        if group is not None:
            return group.unit
        return self.reference._unit(kind) if self.reference else "unknown"


def regions() -> list[str]:
    """The regions that have a price book."""
    return sorted(path.stem for path in (shipped("profiles") / "pricing").glob("*.yaml"))


def load_book(region: str = DEFAULT_REGION) -> PriceBook:
    """The price book of a region; a region other than the default ranks by the default where it has no price.

    Raises:
        UsageError: no such region.
        ProfileError: a mistake in the book.
    """
    if region not in regions():
        raise UsageError(f"There is no price book for region '{region}'.", f"There are: {', '.join(regions())}")
    file = load_model(shipped("profiles") / "pricing" / f"{region}.yaml", BookFile)
    reference = None if region == DEFAULT_REGION else load_book()
    return PriceBook(region, file.collected, file.stale_after_days, file.sources, file.prices, reference=reference)
