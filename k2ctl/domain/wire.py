"""How a topic's record values are written: SBE, or JSON for topics that others fill. The profile names the format."""

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from k2ctl.domain.topics import WireFormat
from k2ctl.domain.trade import (
    ASSET_CLASSES,
    DECIMAL_ONE,
    DECIMAL_SCALE,
    NO_SEQUENCE,
    SIDES,
    TRADE,
    Decoded,
    decode,
    frames,
    positions,
)
from k2ctl.domain.validity import NUMBER_MOST, above_limit

_TEXT_BYTES: Final = {
    name: TRADE.message[name].itemsize for name in ("symbol", "exchange", "currency", "trade_conditions")
}
_SMALLEST: Final = Decimal(1) / DECIMAL_ONE
_EXACT: Final = Context(prec=18, traps=[Inexact, InvalidOperation])
"""What does not fit into 18 digits, or not exactly, is an error."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def decode_json(values: Sequence[bytes]) -> Decoded:
    """Decode a batch of record values; never raises for what a record may hold."""
    parts: list[np.ndarray] = []
    records: list[int] = []
    broken: list[tuple[int, str]] = []
    for number, value in enumerate(values):
        try:
            parts.append(_frame(value))
            records.append(number)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            broken.append((number, _reason(error)))
    trades = np.concatenate(parts) if parts else TRADE.empty(0)
    record, index = positions(np.array(records, np.int64), np.array([len(part) for part in parts], np.int64))
    return Decoded(trades, record, index, broken)


def encode_json(trades: np.ndarray, per_frame: int) -> list[bytes]:
    """Cut an array of trades (dtype `TRADE.message`) into JSON record values of `per_frame` trades."""
    objects = [_object(trade) for trade in trades]
    if per_frame == 1:
        return [orjson.dumps(item) for item in objects]
    return [orjson.dumps(objects[at : at + per_frame]) for at in range(0, len(objects), per_frame)]


def _frame(value: bytes) -> np.ndarray:
    """One record value as trades; raises an error with the reason if it is not."""
    if not value:
        raise ValueError("empty value")
    document = orjson.loads(value)
    items = document if isinstance(document, list) else [document]
    if not items:
        raise ValueError("an array without a trade")
    trades = TRADE.empty(len(items))
    for at, item in enumerate(items):
        if not isinstance(item, dict):
            raise TypeError("neither a JSON object nor an array of objects")
        _fill(trades[at : at + 1], item)
    return trades


def _fill(trade: np.ndarray, item: dict[str, Any]) -> None:
    for name, size in _TEXT_BYTES.items():
        trade[name] = _text(name, item.get(name, "") if name == "trade_conditions" else item[name], size)
    trade["message_id"] = np.void(_uuid(item["message_id"]).bytes)
    trade["trade_id"] = _whole("trade_id", item["trade_id"])
    trade["timestamp"] = _microseconds("timestamp", item["timestamp"])
    trade["ingestion_timestamp"] = _microseconds("ingestion_timestamp", item["ingestion_timestamp"])
    trade["price"], trade["quantity"] = _mantissa("price", item["price"]), _mantissa("quantity", item["quantity"])
    sequence = item.get("source_sequence")
    trade["source_sequence"] = NO_SEQUENCE if sequence is None else _whole("source_sequence", sequence)
    trade["asset_class"] = _code("asset_class", ASSET_CLASSES, item["asset_class"])
    trade["side"] = _code("side", SIDES, item.get("side", "UNKNOWN"))


def _uuid(value: object) -> uuid.UUID:
    if not isinstance(value, str):
        raise TypeError("message_id is not a UUID")
    try:
        return uuid.UUID(value)
    except ValueError as error:
        raise ValueError("message_id is not a UUID") from error


def _text(name: str, value: object, size: int) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{name} is not a string")
    encoded = value.encode()
    if len(encoded) > size:
        raise ValueError(f"{name} is longer than {size} bytes")
    return encoded


def _whole(name: str, value: object) -> int:
    if isinstance(value, int | float) and value > NUMBER_MOST:
        raise ValueError(above_limit(name, value))
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} is not a whole number from 0 to 2^63 − 1")
    return value


def _mantissa(name: str, value: object) -> int:
    """A decimal as its int64 mantissa of scale 8, exactly or not at all."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(f"{name} is not a decimal")
    try:
        # repr of a float is the shortest decimal that means it: the digits that its sender wrote.
        decimal = Decimal(value if isinstance(value, str | int) else repr(value))
    except (InvalidOperation, ValueError) as error:
        raise ValueError(f"{name} is not a decimal") from error
    if not decimal.is_finite():
        raise ValueError(f"{name} is not a decimal")
    try:
        # Never as an int before it is known to be small: 1e999999 has nine bytes, and a million digits.
        return int(decimal.quantize(_SMALLEST, context=_EXACT).scaleb(DECIMAL_SCALE, context=_EXACT))
    except ArithmeticError as error:
        raise ValueError(f"{name} has more than 8 decimal places or 18 digits") from error


def _microseconds(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        if value > NUMBER_MOST:
            raise ValueError(above_limit(name, value))
        return value
    if not isinstance(value, str):
        raise TypeError(f"{name} is neither microseconds nor ISO 8601")
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is None:
        raise ValueError(f"{name} has no UTC offset")
    elapsed = instant - _EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


@cache
def _code(field: str, names: tuple[str, ...], name: str) -> int:
    if name not in names:
        raise ValueError(f"{field} is none of {', '.join(names)}")
    return names.index(name)


def _object(trade: np.void) -> dict[str, object]:
    sequence = int(trade["source_sequence"])
    return {
        "message_id": uuid.UUID(bytes=bytes(trade["message_id"])),
        "trade_id": int(trade["trade_id"]),
        **{name: trade[name].decode("ascii") for name in _TEXT_BYTES},
        "asset_class": ASSET_CLASSES[trade["asset_class"]],
        "timestamp": int(trade["timestamp"]),
        "ingestion_timestamp": int(trade["ingestion_timestamp"]),
        "price": f"{Decimal(int(trade['price'])) / DECIMAL_ONE:f}",
        "quantity": f"{Decimal(int(trade['quantity'])) / DECIMAL_ONE:f}",
        "side": SIDES[trade["side"]],
        "source_sequence": None if sequence == NO_SEQUENCE else sequence,
    }


def _reason(error: Exception) -> str:
    if isinstance(error, orjson.JSONDecodeError):
        return f"not JSON: {error}"
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return str(error)


class Codec(NamedTuple):
    """encode: trades and trades per record → record values. decode: record values → trades and what is broken."""

    encode: Callable[[np.ndarray, int], list[bytes]]
    decode: Callable[[Sequence[bytes]], Decoded]


CODECS: Final[dict[WireFormat, Codec]] = {"sbe": Codec(frames, decode), "json": Codec(encode_json, decode_json)}
