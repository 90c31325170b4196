"""A line of the bill: quantity × unit price, the formula in words and in numbers, and how far it can be trusted."""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

from k2ctl.cost.price_book import Confidence, Kind, Price, PriceBook, Quantity
from k2ctl.cost.sizing import Sizing
from k2ctl.profiles.model import Profile
from k2ctl.profiles.scale import Scale

Component = Literal[
    "Kafka", "Clients", "Lake", "Catalog", "State", "Query", "Internet", "Platform", "Observability", "Support"
]
_COMPONENTS: Final[dict[str, Component]] = {name.lower(): name for name in get_args(Component)}
"""What a line's name begins with → its component."""


class Spread(NamedTuple):
    """How far a quantity may be off: the share below and above the base."""

    below: float
    above: float


PLANNED: Final = Spread(0.0, 0.0)
"""A number that the profile fixes, such as NAT gateways."""
BY_RULE: Final = Spread(0.1, 0.1)
"""Follows from the load by arithmetic or by a published rule."""
ASSUMED: Final = Spread(0.3, 0.5)
"""Rests on an assumption: CPU per trade, compression, what people will query."""
METERED: Final = Spread(0.1, 0.1 + 0.074)
"""Transfer: by arithmetic, and 7.4 % more if AWS meters decimal GB."""

PRICE_SPREAD: Final[dict[Confidence, float]] = {"high": 0.0, "medium": 0.1, "low": 0.3}
"""How far a price of this confidence may be off, either way."""


@dataclass(frozen=True)
class Line:
    """A line of the bill, in US dollars a month."""

    # Such as `kafka.brokers`.
    name: str
    component: Component
    title: str
    quantity: float
    unit: str
    # The effective one, after tiers and discounts; None was not found.
    unit_price: float | None
    monthly_usd: float | None
    low_usd: float
    high_usd: float
    # False if a part has no price; `monthly_usd` is then a lower bound.
    complete: bool
    # The formula, in words and in numbers.
    words: str
    numbers: str
    sources: tuple[str, ...]
    # Of the price.
    date: str
    confidence: Confidence
    note: str


@dataclass(frozen=True)
class LinePlan:
    """What the lines are made from."""

    profile: Profile
    scale: Scale
    sizing: Sizing
    book: PriceBook
    # 1, 2, … since the start, or None for the steady state.
    month: int | None

    def line(
        self,
        name: str,
        title: str,
        quantity: Quantity,
        kind: Kind,
        words: str,
        numbers: str,
        spread: Spread,
        *,
        item: str = "",
        committed: Kind | None = None,
    ) -> Line:
        """A line of the component that `name` begins with. committed: the discount that a commitment would give it."""
        price = self.book.price(kind, item)
        amount, complete = price.times(quantity)
        if committed and self.scale.terms.commitment != "none":
            off = self.book.price(committed).rate
            rebate = "no commitment's price found" if off is None else f"less {off:.0%} for a year's commitment"
            amount, numbers = amount * (1 - (off or 0.0)), f"{numbers}, {rebate},"
        known = complete or bool(amount)
        effective = amount / quantity.value if known and quantity.value else price.rate
        price_spread = PRICE_SPREAD[price.confidence]
        return Line(
            name=name,
            component=_COMPONENTS[name.partition(".")[0]],
            title=title,
            quantity=quantity.value,
            unit=quantity.unit,
            unit_price=effective if complete else None,
            monthly_usd=amount if known else None,
            low_usd=amount * (1 - spread.below) * (1 - price_spread),
            high_usd=amount * (1 + spread.above) * (1 + price_spread),
            complete=complete,
            words=words,
            numbers=f"{numbers} × {rate_text(price)}",
            sources=price.sources,
            date=price.date,
            confidence=price.confidence,
            note=price.note,
        )


def rate_text(price: Price) -> str:
    """`$0.408`, `$0.023 to 51,200, then $0.022, then $0.021`, or that it was not found."""
    rates = ["not found" if rate is None else f"${rate:,g}" for _, rate in price.tiers]
    if len(rates) == 1:
        return rates[0]
    steps = [f"{rate} to {bound:,.0f}" for rate, (bound, _) in zip(rates[:-1], price.tiers, strict=False)]
    return f"({', '.join(steps)}, then {rates[-1]} per {price.unit})"
