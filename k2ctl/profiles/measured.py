"""What was measured on this machine, for `k2ctl cost --measured`: `measured.json` in the state directory.

`k2ctl load` and `consume` record at their end; each figure is the last one recorded, with its time. Only what a trade
costs is recorded: what a query scans depends on the size of the table, and a small one says nothing of a large one.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Final

from k2ctl.clock import Clock, SystemClock
from k2ctl.errors import UsageError
from k2ctl.files import read_object, write_atomically
from k2ctl.home import state_dir

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


def record(clock: Clock | None = None, **figures: float) -> None:
    """Merge figures into the record, in one step; processes that end together wait for each other.

    Raises:
        TypeError: a figure that is not one of `Measured`.
    """
    unknown = set(figures) - set(FIGURES)
    if unknown:
        raise TypeError(f"no such figure: {', '.join(sorted(unknown))}")
    now_us = (clock or SystemClock()).now_us()
    with _locked():
        kept = _read()
        kept.update({name: {"value": value, "at_us": now_us} for name, value in figures.items()})
        write_atomically(state_dir() / "measured.json", json.dumps(kept, indent=2))


def record_load(trades: int, wire_bytes: int) -> None:
    """What a load measured: bytes on the wire per trade."""
    if trades >= LEAST_TRADES and wire_bytes:
        record(wire_bytes_per_trade=wire_bytes / trades)


def record_consume(trades: int, stored: int, written_bytes: int, cpu_s: float, deferred: int = 0) -> None:
    """What a consumer measured: Parquet bytes per row, CPU per trade, the share that was deferred."""
    if trades >= LEAST_TRADES:
        record(cpu_s_per_million_trades=cpu_s / trades * 1e6, shed_share=deferred / trades)
    if stored >= LEAST_TRADES:
        record(parquet_bytes_per_trade=written_bytes / stored)


def load() -> Measured:
    """The figures recorded so far.

    Raises:
        UsageError: the record is not one of ours.
    """
    return Measured(**{name: float(_figure(entry)) for name, entry in _read().items() if name in FIGURES})


def recorded_at_us() -> Mapping[str, int]:
    """When each figure was recorded, microseconds since the Unix epoch."""
    known = {name for name, value in asdict(load()).items() if value is not None}
    return {name: int(entry["at_us"]) for name, entry in _read().items() if name in known}


def _figure(entry: Mapping[str, float]) -> float:
    try:
        return float(entry["value"])
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(error) from error


def _read() -> dict[str, dict[str, float]]:
    try:
        return read_object(state_dir() / "measured.json")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _broken(error) from error


def _broken(why: object) -> UsageError:
    return UsageError(
        f"{state_dir() / 'measured.json'} cannot be read: {why}", "Delete it, and measure again: k2ctl load, consume"
    )


@contextmanager
def _locked() -> Iterator[None]:
    with (state_dir() / ".measured.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
