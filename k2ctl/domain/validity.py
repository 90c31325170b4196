"""Which trades cannot be: values that no venue sends, found for whole batches, with field, value and limit."""

import uuid
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np

from k2ctl.domain.columns import TradeColumns
from k2ctl.domain.conditions import pack, unpack
from k2ctl.domain.decimals import as_text, beyond_limit, negative
from k2ctl.domain.texts import Texts, codes_of, instant_text
from k2ctl.domain.trade import ACTIONS, ASSET_CLASSES, CANCEL, NEW, NO_SEQUENCE, SIDES, TRADE

NUMBER_MOST: Final = (1 << 63) - 1
"""The wire's numbers are unsigned, and the table's signed: of the same 64 bits, the table holds the lower half."""

FUTURE_TOLERANCE_US: Final = 300_000_000
"""A trade stamped more than five minutes ahead of the clock is dead-lettered (design, section 7)."""

EARLIEST_US: Final = 631_152_000_000_000
"""1990-01-01: what is before it has a time of another unit, for nobody traded on a feed then."""

AHEAD: Final = "more than 5 minutes ahead of the clock"
"""In the reasons that would be others if the clock were."""

_NEGATIVE_PRICES: Final = np.array([name in {"futures", "options"} for name in ASSET_CLASSES])
_CUT: Final = 40

_Check = tuple[np.ndarray, Callable[[np.void], str]]
"""bool[n], the trades that fail, and why one does."""


def invalid(trades: np.ndarray, now_us: int, earliest_us: int = EARLIEST_US) -> dict[int, str]:
    """The trades whose values cannot be: position → reason. Vectorised; empty for a clean batch."""
    found: dict[int, str] = {}
    for failed, reason in _checks(trades, now_us, earliest_us):
        if failed.any():
            found |= {at: reason(trades[at]) for at in np.flatnonzero(failed).tolist() if at not in found}
    return found


def _checks(trades: np.ndarray, now_us: int, earliest_us: int) -> Iterator[_Check]:
    columns = TradeColumns(trades)
    for name in ("symbol", "exchange", "currency"):
        yield _texts_fail(columns.text(name), required=name != "currency"), _said(name, _text, _text_limit(name))
    conditions = columns.text("trade_conditions")
    yield _conditions_fail(conditions), lambda trade: _conditions_reason(trade["trade_conditions"])
    for name, known in (("asset_class", ASSET_CLASSES), ("side", SIDES), ("action", ACTIONS)):
        yield columns.code(name) >= len(known), _said(name, int, f"none of {', '.join(known)}")
    latest_ns, earliest_ns = (now_us + FUTURE_TOLERANCE_US) * 1000, earliest_us * 1000
    for field, name in (("event_ns", "timestamp"), ("received_ns", "ingestion_timestamp")):
        time_ns = columns.number(field)
        yield time_ns < earliest_ns, _said(name, instant_text, f"before {instant_text(earliest_ns)}", field)
        yield time_ns > latest_ns, _said(name, instant_text, AHEAD, field)
    price, quantity = columns.words("price"), columns.words("quantity")
    below = _negative_price(price, columns.code("asset_class"))
    yield below, _said("price", as_text, "negative, which its asset class has not")
    # A venue may cancel by the negative of what was traded.
    action = columns.code("action")
    yield negative(quantity) & (action != CANCEL), _said("quantity", as_text, "negative")
    for name, column in (("price", price), ("quantity", quantity)):
        yield beyond_limit(column), _said(name, as_text, "beyond 10^15")
    yield columns.number("trade_id") > NUMBER_MOST, lambda trade: above_limit("trade_id", int(trade["trade_id"]))
    sequence = columns.number("source_sequence")
    yield (
        (sequence > NUMBER_MOST) & (sequence != NO_SEQUENCE),
        lambda trade: above_limit("source_sequence", int(trade["source_sequence"])),
    )
    first, second = columns.words("refers_to")
    named, new = (first | second) != 0, action == NEW
    if named.any() or not new.all():
        yield ~new & ~named, lambda _: "refers_to is missing"
        yield new & named, _said("refers_to", _id, "though action is NEW, which refers to no trade")


def _said(name: str, shown: Callable[[Any], object], limit: str, field: str | None = None) -> Callable[[np.void], str]:
    return lambda trade: f"{name} is {str(shown(trade[field or name]))[:_CUT]}, {limit}"


def above_limit(name: str, value: float) -> str:
    """The reason of a field whose number the table cannot hold. value: a float where JSON has more than 64 bits."""
    return f"{name} is {str(value)[:_CUT]}, above {NUMBER_MOST} (2^63 − 1)"


def _text(value: bytes) -> str:
    return repr(value.decode(errors="backslashreplace")) if value else "empty"


def _id(value: np.void) -> str:
    return str(uuid.UUID(bytes=value.tobytes()))


def _negative_price(price: np.ndarray, asset_class: np.ndarray) -> np.ndarray:
    below = negative(price)
    if not below.any():
        return below
    known = asset_class < len(ASSET_CLASSES)
    return np.asarray(below & ~_NEGATIVE_PRICES[np.where(known, asset_class, 0)])


def _text_limit(name: str) -> str:
    most, least = TRADE.message[name].itemsize, 0 if name == "currency" else 1
    return f"not {least} to {most} bytes of printable UTF-8 without spaces around"


def _texts_fail(column: Texts, *, required: bool) -> np.ndarray:
    """bool[n]: not printable UTF-8, or with spaces around it, or empty though `required`."""
    codes, distinct = codes_of(column)
    failed = np.array([not _good_text(text, required=required) for text in distinct.tolist()], np.bool_)
    return failed[codes] if failed.any() else np.zeros(len(codes), np.bool_)


@lru_cache(65_536)
def _good_text(raw: bytes, *, required: bool) -> bool:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return False
    return text.isprintable() and text == text.strip() and bool(text or not required)


def symbol_reason(symbol: str) -> str:
    """Why no trade can have this symbol; empty if one can."""
    raw, most = symbol.encode(errors="surrogateescape"), TRADE.message["symbol"].itemsize
    if len(raw) <= most and _good_text(raw, required=True):
        return ""
    return f"symbol is {_text(raw)[:_CUT]}, {_text_limit('symbol')}"


def _conditions_fail(column: Texts) -> np.ndarray:
    codes, distinct = codes_of(column)
    failed = np.array([bool(_conditions_reason(field)) for field in distinct.tolist()], np.bool_)
    return failed[codes] if failed.any() else np.zeros(len(codes), np.bool_)


def _conditions_reason(field: bytes) -> str:
    """Why a trade's field cannot be; empty if it can."""
    codes = unpack(field)
    try:
        same = pack(codes).rstrip(b"\0") == field
    except ValueError as error:
        return str(error)
    return "" if same else f"trade_conditions is {_text(field)[:_CUT]}, not codes padded to 4 bytes"
