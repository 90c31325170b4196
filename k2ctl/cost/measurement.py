"""Measured figures in place of a profile's assumptions, and what each of them changes."""

from dataclasses import dataclass
from typing import Final

from k2ctl.cost.estimate import scale_of
from k2ctl.cost.levers import total, total_with
from k2ctl.cost.price_book import PriceBook
from k2ctl.cost.scenarios import value_of, with_value
from k2ctl.cost.volumes import volumes_of
from k2ctl.errors import UsageError
from k2ctl.profiles.measured import Measured
from k2ctl.profiles.model import Profile

_KEYS: Final = {
    "wire_bytes_per_trade": "workload.wire_bytes_per_trade",
    "parquet_bytes_per_trade": "workload.parquet_bytes_per_trade",
    "cpu_s_per_million_trades": "clients.cpu_s_per_million.lake_writer",
    "shed_share": "workload.shed_share",
}


@dataclass(frozen=True)
class Replaced:
    """A figure that was assumed and is now measured."""

    figure: str
    assumed: float
    measured: float
    # What it alone does to the total; None if it cannot work.
    usd: float | None


def with_measurements(profile: Profile, measured: Measured, book: PriceBook) -> tuple[Profile, tuple[Replaced, ...]]:
    """The profile with every measured figure in it, and what changed.

    Raises:
        UsageError: nothing was measured yet, or a figure cannot be.
    """
    base_usd = total(profile, book)
    changed, replaced = profile, []
    for figure, key in _KEYS.items():
        value = getattr(measured, figure)
        if value is None:
            continue
        assumed = _assumed(profile, figure, key)
        alone_usd = total_with(profile, book, key, value)
        usd = None if alone_usd is None or base_usd is None else alone_usd - base_usd
        replaced.append(Replaced(figure, assumed, value, usd))
        changed = with_value(changed, key, value)
    if not replaced:
        raise UsageError("Nothing was measured yet.", "Measure with: k2ctl load, and k2ctl consume")
    return changed, tuple(replaced)


def _assumed(profile: Profile, figure: str, key: str) -> float:
    volumes = volumes_of(profile, scale_of(profile))
    if figure == "wire_bytes_per_trade":
        return volumes.wire_bytes_per_trade
    if figure == "parquet_bytes_per_trade":
        return volumes.parquet_bytes_per_trade
    return float(value_of(profile, key))
