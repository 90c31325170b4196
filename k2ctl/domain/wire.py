"""How a topic's record values are written: SBE, or JSON for topics that others fill. The profile names the format.

JSON is an object per trade, or an array of them as one frame. Fields are named as the table's columns. `message_id` and
`refers_to` are UUIDs; `price` and `quantity` are decimals as strings or as numbers, which are taken by their digits;
times are microseconds, or ISO 8601 with an offset and up to nine digits of a second; `side`, `asset_class` and `action`
are names; `trade_conditions` is a list of codes, or a text of them with spaces, commas or semicolons between. `side`,
`action`, `refers_to`, `trade_conditions` and `source_sequence` may be missing. JSON is about ten times slower than SBE.
"""

import json
import re
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from k2ctl.domain.conditions import pack, unpack
from k2ctl.domain.decimals import DECIMAL_LIMIT, DECIMAL_SCALE, as_decimal, of_int
from k2ctl.domain.texts import instant_text
from k2ctl.domain.topics import WireFormat
from k2ctl.domain.trade import (
    ACTIONS,
    ASSET_CLASSES,
    NEW,
    NO_SEQUENCE,
    SIDES,
    TRADE,
    Decoded,
    decode,
    frames,
    positions,
)
from k2ctl.domain.validity import NUMBER_MOST, above_limit

_TEXT_BYTES: Final = {name: TRADE.message[name].itemsize for name in ("symbol", "exchange", "currency")}
_TIMES: Final = {"timestamp": "event_ns", "ingestion_timestamp": "received_ns"}
_DECIMAL: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ISO: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(Z|[+-][0-9]{2}:?[0-9]{2})"
)
_BETWEEN_CODES: Final = re.compile(r"[ ,;]+")
_KEY: Final = re.compile(rb'"\s*:')
_EXPONENT_DIGITS: Final = 3
"""1e999999 has nine bytes, and a million digits."""

_WIDE: Final = Context(prec=2000)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CUT: Final = 40


class _Digits(str):
    """A JSON number by its digits: a float has no more than seventeen."""

    __slots__ = ()


def decode_json(values: Sequence[bytes]) -> Decoded:
    """Decode a batch of record values; never raises for what a record may hold."""
    parts: list[np.ndarray] = []
    records: list[int] = []
    broken: list[tuple[int, str]] = []
    for number, value in enumerate(values):
        try:
            parts.append(_frame(value))
            records.append(number)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
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
    items = _items(value)
    if not items:
        raise ValueError("an array without a trade")
    trades = TRADE.empty(len(items))
    for at, item in enumerate(items):
        _fill(trades[at : at + 1], item)
    return trades


def _items(value: bytes) -> list[dict[str, Any]]:
    items = _objects(orjson.loads(value))
    keys = sum(map(len, items))
    exact = not any(isinstance(number, float) for item in items for number in item.values())
    if exact and len(_KEY.findall(value)) == keys:
        return items
    return _objects(json.loads(value, parse_float=_Digits, object_pairs_hook=_unique))


def _objects(document: object) -> list[dict[str, Any]]:
    items: list[Any] = document if isinstance(document, list) else [document]
    if not all(isinstance(item, dict) for item in items):
        raise TypeError("neither a JSON object nor an array of objects")
    return items


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    item = dict(pairs)
    if len(item) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)[:_CUT]} is there twice")
    return item


def _fill(trade: np.ndarray, item: dict[str, Any]) -> None:
    for name, size in _TEXT_BYTES.items():
        trade[name] = _text(name, item[name], size)
    trade["trade_conditions"] = _conditions(item.get("trade_conditions"))
    trade["message_id"] = np.void(_uuid("message_id", item["message_id"]).bytes)
    trade["trade_id"] = _whole("trade_id", item["trade_id"])
    for name, field in _TIMES.items():
        trade[field] = _nanoseconds(name, item[name])
    for name in ("price", "quantity"):
        trade[name] = _decimal(name, item[name])
    sequence = item.get("source_sequence")
    trade["source_sequence"] = NO_SEQUENCE if sequence is None else _whole("source_sequence", sequence)
    trade["asset_class"] = _code("asset_class", ASSET_CLASSES, item["asset_class"])
    trade["side"] = _code("side", SIDES, item.get("side", "UNKNOWN"))
    trade["action"] = _code("action", ACTIONS, item.get("action", "NEW"))
    refers_to = item.get("refers_to")
    if refers_to is not None:
        trade["refers_to"] = np.void(_uuid("refers_to", refers_to).bytes)


def _shown(value: object) -> str:
    """A value as a reason shows it: cut."""
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, _Digits) else str(value)
    return text if len(text) <= _CUT else text[:_CUT] + "…"


def _uuid(name: str, value: object) -> uuid.UUID:
    if not isinstance(value, str) or isinstance(value, _Digits) or not _UUID.fullmatch(value):
        raise ValueError(f"{name} is {_shown(value)}, not a UUID")
    return uuid.UUID(value)


def _text(name: str, value: object, size: int) -> bytes:
    if not isinstance(value, str) or isinstance(value, _Digits):
        raise TypeError(f"{name} is {_shown(value)}, not a string")
    encoded = value.encode(errors="surrogatepass")
    if len(encoded) > size:
        raise ValueError(f"{name} is {_shown(value)}, longer than {size} bytes")
    if value.endswith("\0"):
        raise ValueError(f"{name} is {_shown(value)}, not printable UTF-8")
    return encoded


def _conditions(value: object) -> bytes:
    if value is None:
        return b""
    if isinstance(value, str) and not isinstance(value, _Digits):
        return pack([code for code in _BETWEEN_CODES.split(value) if code])
    if not isinstance(value, list) or not all(type(code) in (str, int) for code in value):
        raise TypeError(f"trade_conditions is {_shown(value)}, neither a list of codes nor a string")
    return pack([str(code) for code in value])


def _whole(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > NUMBER_MOST:
        raise ValueError(above_limit(name, value))
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} is {_shown(value)}, not a whole number from 0 to 2^63 − 1")
    return value


def _decimal(name: str, value: object) -> np.ndarray:
    """A decimal, exactly or not at all."""
    if isinstance(value, bool) or not isinstance(value, str | int) or not _DECIMAL.fullmatch(str(value)):
        raise ValueError(f"{name} is {_shown(value)}, not a decimal")
    text = str(value)
    exponent = text.lower().partition("e")[2].lstrip("+-0")
    if len(exponent) > _EXPONENT_DIGITS or len(text) > _WIDE.prec // 2:
        raise ValueError(f"{name} is {_shown(value)}, beyond 10^15 or of more than {DECIMAL_SCALE} decimal places")
    scaled = Decimal(text).scaleb(DECIMAL_SCALE, _WIDE)
    if abs(scaled) > DECIMAL_LIMIT:
        raise ValueError(f"{name} is {_shown(value)}, beyond 10^15")
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{name} is {_shown(value)}, of more than {DECIMAL_SCALE} decimal places")
    return of_int(int(scaled))


def _nanoseconds(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        if not -NUMBER_MOST <= value * 1000 <= NUMBER_MOST:
            raise ValueError(f"{name} is {_shown(value)}, not microseconds since 1970 that 64 bits of nanoseconds hold")
        return value * 1000
    found = _ISO.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{name} is {_shown(value)}, neither microseconds nor ISO 8601 with a UTC offset")
    date, time, fraction, zone = found.groups()
    digits = (fraction or "").rstrip("0")
    if len(digits) > 9:
        raise ValueError(f"{name} is {_shown(value)}, finer than nanoseconds")
    try:
        elapsed = datetime.fromisoformat(f"{date}T{time}{zone}") - _EPOCH
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name} is {_shown(value)}, no such time") from error
    nanoseconds = (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000_000 + int(digits.ljust(9, "0"))
    if abs(nanoseconds) > NUMBER_MOST:
        raise ValueError(f"{name} is {_shown(value)}, not a time that 64 bits of nanoseconds hold")
    return nanoseconds


def _code(field: str, names: tuple[str, ...], name: object) -> int:
    if not isinstance(name, str) or name not in names:
        raise ValueError(f"{field} is {_shown(name)}, none of {', '.join(names)}")
    return names.index(name)


def _object(trade: np.void) -> dict[str, object]:
    sequence = int(trade["source_sequence"])
    item = {
        "message_id": uuid.UUID(bytes=bytes(trade["message_id"])),
        "trade_id": int(trade["trade_id"]),
        **{name: trade[name].decode() for name in _TEXT_BYTES},
        "asset_class": ASSET_CLASSES[trade["asset_class"]],
        **{name: _time_text(int(trade[field])) for name, field in _TIMES.items()},
        "price": f"{as_decimal(trade['price']).normalize():f}",
        "quantity": f"{as_decimal(trade['quantity']).normalize():f}",
        "side": SIDES[trade["side"]],
        "trade_conditions": unpack(trade["trade_conditions"]),
        "source_sequence": None if sequence == NO_SEQUENCE else sequence,
    }
    if trade["action"] != NEW:
        item |= {"action": ACTIONS[trade["action"]], "refers_to": uuid.UUID(bytes=bytes(trade["refers_to"]))}
    return item


def _time_text(nanoseconds: int) -> int | str:
    """Microseconds where they are enough."""
    return instant_text(nanoseconds) if nanoseconds % 1000 else nanoseconds // 1000


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
