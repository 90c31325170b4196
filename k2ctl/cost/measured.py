"""What was measured on this machine, for `k2ctl cost --measured`: `measured.json` in the state directory.

`k2ctl load` and `consume` record at their end; each figure is the last one recorded, with its time. Only what a trade
costs is recorded: what a query scans depends on the size of the table, and a small one says nothing of a large one.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from k2ctl.clock import Clock, SystemClock
from k2ctl.cost.estimate import scale_of
from k2ctl.cost.price_book import PriceBook
from k2ctl.cost.scenarios import total, total_with, value_of, with_value
from k2ctl.cost.volumes import volumes_of
from k2ctl.errors import UsageError
from k2ctl.files import read_object, write_atomically
from k2ctl.home import Home
from k2ctl.profiles.model import Profile

LEAST_TRADES: Final = 10_000
"""A run of fewer trades says more about its start and end than about a trade, and is not recorded."""


@dataclass(frozen=True)
class Measured:
    """The last figures of each kind; None was never measured."""

    # Sent by the producers, protocol included.
    wire_bytes_per_trade: float | None = None
    # Bytes of written files / rows.
    parquet_bytes_per_trade: float | None = None
    # Of the consumer's process.
    cpu_s_per_million_trades: float | None = None
    # Deferred / seen.
    shed_share: float | None = None


FIGURES: Final = tuple(f.name for f in fields(Measured))


def record(home: Home, clock: Clock | None = None, **figures: float) -> None:
    """Merge figures into the record, in one step; processes that end together wait for each other.

    Raises:
        TypeError: a figure that is not one of `Measured`.
    """
    unknown = set(figures) - set(FIGURES)
    if unknown:
        raise TypeError(f"no such figure: {', '.join(sorted(unknown))}")
    now_us = (clock or SystemClock()).now_us()
    path = _path(home)
    with _locked(path):
        kept = _read(path)
        kept.update({name: {"value": value, "at_us": now_us} for name, value in figures.items()})
        write_atomically(path, json.dumps(kept, indent=2))


def record_load(home: Home, trades: int, wire_bytes: int) -> None:
    """What a load measured: bytes on the wire per trade."""
    if trades >= LEAST_TRADES and wire_bytes:
        record(home=home, wire_bytes_per_trade=wire_bytes / trades)


def record_consume(home: Home, trades: int, stored: int, written_bytes: int, cpu_s: float, deferred: int = 0) -> None:
    """What a consumer measured: Parquet bytes per row, CPU per trade, the share that was deferred."""
    if trades >= LEAST_TRADES:
        record(home=home, cpu_s_per_million_trades=cpu_s / trades * 1e6, shed_share=deferred / trades)
    if stored >= LEAST_TRADES:
        record(home=home, parquet_bytes_per_trade=written_bytes / stored)


def load(home: Home) -> Measured:
    """The figures recorded so far.

    Raises:
        UsageError: the record is not one of ours.
    """
    path = _path(home)
    return Measured(**{name: float(_figure(path, entry)) for name, entry in _read(path).items() if name in FIGURES})


def _figure(path: Path, entry: Mapping[str, float]) -> float:
    try:
        return float(entry["value"])
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, error) from error


def _path(home: Home) -> Path:
    return home.path / "measured.json"


def _read(path: Path) -> dict[str, dict[str, float]]:
    try:
        return read_object(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _broken(path, error) from error


def _broken(path: Path, why: object) -> UsageError:
    return UsageError(f"{path} cannot be read: {why}", "Delete it, and measure again: k2ctl load, consume")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_name(".measured.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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
