"""Which trades cannot be: values that no venue sends, found for whole batches."""

from typing import Final

import numpy as np

from k2ctl.schema.texts import codes_of
from k2ctl.schema.trade import ASSET_CLASSES, SIDES

MANTISSA_LIMIT: Final = 10**18
"""Prices and quantities have 18 digits: the mantissa's absolute value stays below this."""

FUTURE_TOLERANCE_US: Final = 300_000_000
"""A trade stamped more than five minutes ahead of the clock is dead-lettered (design, section 7)."""

_REASONS: Final = (
    "",
    "symbol is empty or not printable ASCII",
    "exchange is empty or not printable ASCII",
    "currency or trade_conditions is not printable ASCII",
    "unknown asset_class",
    "unknown side",
    "timestamp is before 1970",
    "timestamp is more than 5 minutes ahead of the clock",
    "negative price of an asset class that has none",
    "negative quantity",
    "price or quantity has more than 18 digits",
    "ingestion_timestamp is before 1970 or more than 5 minutes ahead of the clock",
)
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
    ]
    for code, failed in checks:
        if failed.any():
            reason[failed & (reason == 0)] = code
    return {int(at): _REASONS[reason[at]] for at in np.flatnonzero(reason)}


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
