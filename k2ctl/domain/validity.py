"""Which trades cannot be: values that no venue sends, found for whole batches."""

from typing import Final

import numpy as np

from k2ctl.domain.texts import codes_of
from k2ctl.domain.trade import ASSET_CLASSES, NO_SEQUENCE, SIDES

MANTISSA_LIMIT: Final = 10**18
"""Prices and quantities have 18 digits: the mantissa's absolute value stays below this."""

NUMBER_MOST: Final = (1 << 63) - 1
"""The wire's numbers are unsigned, and the table's signed: of the same 64 bits, the table holds the lower half."""

FUTURE_TOLERANCE_US: Final = 300_000_000
"""A trade stamped more than five minutes ahead of the clock is dead-lettered (design, section 7)."""

AHEAD: Final = "more than 5 minutes ahead of the clock"
"""In the reasons that would be others if the clock were."""

_REASONS: Final = (
    "",
    "symbol is empty or not printable ASCII",
    "exchange is empty or not printable ASCII",
    "currency or trade_conditions is not printable ASCII",
    "unknown asset_class",
    "unknown side",
    "timestamp is before 1970",
    f"timestamp is {AHEAD}",
    "negative price of an asset class that has none",
    "negative quantity",
    "price or quantity has more than 18 digits",
    f"ingestion_timestamp is before 1970 or {AHEAD}",
)
_LARGEST: Final = {12: "trade_id", 13: "source_sequence"}
"""The checks of unsigned fields that the table stores as signed ones, by their codes."""

_NEGATIVE_PRICES: Final = np.array([name in {"futures", "options"} for name in ASSET_CLASSES])


def invalid(trades: np.ndarray, now_us: int) -> dict[int, str]:
    """The trades whose values cannot be: position → reason. Vectorised; empty for a clean batch."""
    reason = np.zeros(len(trades), np.uint8)
    latest_us = now_us + FUTURE_TOLERANCE_US
    known_class = trades["asset_class"] < len(ASSET_CLASSES)
    may_be_negative = _NEGATIVE_PRICES[np.where(known_class, trades["asset_class"], 0)]
    price, quantity = trades["price"], trades["quantity"]
    checks: list[tuple[int, np.ndarray]] = [
        (1, ~_printable(trades["symbol"], required=True)),
        (2, ~_printable(trades["exchange"], required=True)),
        (3, ~(_printable(trades["currency"]) & _printable(trades["trade_conditions"]))),
        (4, ~known_class),
        (5, trades["side"] >= len(SIDES)),
        (6, trades["timestamp"] < 0),
        (7, trades["timestamp"] > latest_us),
        (8, (price < 0) & ~may_be_negative),
        (9, quantity < 0),
        (10, (price <= -MANTISSA_LIMIT) | (price >= MANTISSA_LIMIT) | (quantity >= MANTISSA_LIMIT)),
        (11, (trades["ingestion_timestamp"] < 0) | (trades["ingestion_timestamp"] > latest_us)),
        (12, trades["trade_id"] > NUMBER_MOST),
        (13, (trades["source_sequence"] > NUMBER_MOST) & (trades["source_sequence"] != NO_SEQUENCE)),
    ]
    for code, failed in checks:
        if failed.any():
            reason[failed & (reason == 0)] = code
    return {int(at): _reason(int(reason[at]), trades[at]) for at in np.flatnonzero(reason)}


def _reason(code: int, trade: np.void) -> str:
    name = _LARGEST.get(code)
    return _REASONS[code] if name is None else above_limit(name, int(trade[name]))


def above_limit(name: str, value: float) -> str:
    """The reason of a field whose number the table cannot hold. value: a float where JSON has more than 64 bits."""
    return f"{name} is {value}, above {NUMBER_MOST} (2^63 − 1)"


def _printable(texts: np.ndarray, *, required: bool = False) -> np.ndarray:
    """bool[n]: only printable ASCII, padded with zeros at the end alone; with `required`, not empty."""
    if not len(texts):
        return np.zeros(0, np.bool_)
    codes, distinct = codes_of(texts)
    characters = distinct.view(np.uint8).reshape(len(distinct), texts.dtype.itemsize)
    is_padding = characters == 0
    ends_clean = ~(is_padding[:, :-1] & ~is_padding[:, 1:]).any(axis=1)
    printable = (((characters >= 0x20) & (characters < 0x7F)) | is_padding).all(axis=1)
    filled = ~is_padding[:, 0] if required else True
    return np.asarray((printable & ends_clean & filled)[codes])
