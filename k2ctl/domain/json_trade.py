"""Trades as JSON, for topics that others fill: an object per trade, or an array of them as one frame.

Fields are named as the table's columns. `message_id` and `refers_to` are UUIDs; `price` and `quantity` are decimals as
strings or as numbers, which are taken by their digits; times are ISO 8601 with an offset and up to nine digits of a
second, or whole numbers in the unit that the topic declares; `side`, `asset_class` and `action` are names;
`trade_conditions` is a list of codes, or a text of them with spaces, commas or semicolons between. `side`, `action`,
`refers_to`, `trade_conditions` and `source_sequence` may be missing. JSON is about ten times slower than SBE.
"""

import json
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any, Final

import numpy as np
import orjson

from k2ctl.domain.conditions import pack, unpack
from k2ctl.domain.decimals import DECIMAL_LIMIT, DECIMAL_SCALE, as_text, words
from k2ctl.domain.texts import instant_text
from k2ctl.domain.trade import (
    ACTIONS,
    ASSET_CLASSES,
    NEW,
    NO_SEQUENCE,
    SIDES,
    TRADE,
    Decoded,
    RefusedTrade,
)
from k2ctl.domain.validity import NUMBER_MOST, above_limit

_TEXT_BYTES: Final = {name: TRADE.message[name].itemsize for name in ("symbol", "exchange", "currency")}
_TIMES: Final = {"timestamp": "event_ns", "ingestion_timestamp": "received_ns"}
_DECIMAL: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ISO: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(Z|[+-][0-9]{2}:?[0-9]{2})"
)
_LARGE_NUMBER: Final = re.compile(r"-?[0-9.]{300}|-?[0-9.]+[eE]\+?[0-9]{3}")
_BETWEEN_CODES: Final = re.compile(r"[ ,;]+")
_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_IN_ARRAY: Final = 2
"""The depth of the objects of an array."""

_KEY: Final = re.compile(rb'"\s*:')
_EXPONENT_DIGITS: Final = 3
"""1e999999 has nine bytes, and a million digits."""

_WIDE: Final = Context(prec=2000)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CUT: Final = 40
_LONGEST_NUMBER: Final = 100
"""Digits of a whole number that is taken as one; Python refuses those of 4,300."""

_UNIT_NAMES: Final = {1_000_000_000: "seconds", 1_000_000: "milliseconds", 1_000: "microseconds", 1: "nanoseconds"}
MICROSECOND: Final = 1_000
_NO_ID: Final = bytes(16)


class _Digits(str):
    """A JSON number by its digits: a float has no more than seventeen."""

    __slots__ = ()


def decode_json(values: Sequence[bytes], unit_ns: int = MICROSECOND) -> Decoded:
    """Decode a batch of record values; never raises for what a record may hold. unit_ns: of times as whole numbers."""
    parsed: list[tuple[int, list[dict[str, Any]], bool]] = []
    broken: list[tuple[int, str]] = []
    for number, value in enumerate(values):
        try:
            parsed.append((number, *_items(value)))
        except (ValueError, TypeError, RecursionError) as error:
            broken.append((number, _reason(error)))
    rows: list[tuple[Any, ...]] = []
    places: list[tuple[int, int]] = []
    refused: list[RefusedTrade] = []
    for number, items, is_frame in parsed:
        for index, item in enumerate(items):
            try:
                rows.append(_values(item, unit_ns))
                places.append((number, index))
            except (ValueError, TypeError, KeyError) as error:
                if is_frame:
                    refused.append(RefusedTrade(number, index, _reason(error)))
                else:
                    broken.append((number, _reason(error)))
    place = np.array(places, np.int64).reshape(-1, 2)
    return Decoded(_trades(rows), place[:, 0], place[:, 1].astype(np.int32), broken, refused)


def encode_json(trades: np.ndarray, per_frame: int, unit_ns: int = MICROSECOND) -> list[bytes]:
    """Cut an array of trades (dtype `TRADE.message`) into JSON record values of `per_frame` trades."""
    objects = [_object(trade, unit_ns) for trade in trades]
    if per_frame == 1:
        return [orjson.dumps(item) for item in objects]
    return [orjson.dumps(objects[at : at + per_frame]) for at in range(0, len(objects), per_frame)]


def objects_of(value: bytes) -> list[bytes]:
    """The bytes of each trade of a record value that could be read."""
    if not value.lstrip().startswith(b"["):
        return [value]
    found, depth, start = list[bytes](), 0, 0
    for token in _STRING_OR_BRACKET.finditer(value):
        if token[0] in b"[{":
            depth += 1
            start = token.start() if depth == _IN_ARRAY else start
        elif token[0] in b"]}":
            depth -= 1
            if depth == _IN_ARRAY - 1:
                found.append(value[start : token.end()])
    return found


def _items(value: bytes) -> tuple[list[dict[str, Any]], bool]:
    """The objects of a record value, and whether they came as an array; raises an error with the reason."""
    if not value:
        raise ValueError("empty value")
    document = orjson.loads(value)
    items = _objects(document)
    keys = sum(map(len, items))
    exact = not any(float in map(type, item.values()) for item in items)
    if not exact or len(_KEY.findall(value)) != keys:
        items = _objects(json.loads(value, parse_float=_Digits, parse_int=_int, object_pairs_hook=_unique))
    return items, isinstance(document, list)


def _int(text: str) -> int | _Digits:
    return int(text) if len(text) <= _LONGEST_NUMBER else _Digits(text)


def _objects(document: object) -> list[dict[str, Any]]:
    items: list[Any] = document if isinstance(document, list) else [document]
    if not items:
        raise ValueError("an array without a trade")
    if not all(isinstance(item, dict) for item in items):
        raise TypeError("neither a JSON object nor an array of objects")
    return items


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    item = dict(pairs)
    if len(item) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)[:_CUT]} is there twice")
    return item


_FIELDS: Final = (
    *("message_id", "refers_to", "symbol", "exchange", "currency", "trade_conditions", "event_ns", "received_ns"),
    *("price", "quantity", "trade_id", "source_sequence", "asset_class", "side", "action"),
)


def _values(item: dict[str, Any], unit_ns: int) -> tuple[Any, ...]:
    """The values of `_FIELDS`; raises an error with the reason if one cannot be."""
    sequence, refers_to = item.get("source_sequence"), item.get("refers_to")
    return (
        _uuid("message_id", item["message_id"]),
        _NO_ID if refers_to is None else _uuid("refers_to", refers_to),
        *[_text(name, item[name], size) for name, size in _TEXT_BYTES.items()],
        _conditions(item.get("trade_conditions")),
        *[_nanoseconds(name, item[name], unit_ns) for name in ("timestamp", "ingestion_timestamp")],
        *[_decimal(name, item[name]) for name in ("price", "quantity")],
        _whole("trade_id", item["trade_id"]),
        NO_SEQUENCE if sequence is None else _whole("source_sequence", sequence),
        _code("asset_class", ASSET_CLASSES, item["asset_class"]),
        _code("side", SIDES, item.get("side", "UNKNOWN")),
        _code("action", ACTIONS, item.get("action", "NEW")),
    )


def _trades(rows: list[tuple[Any, ...]]) -> np.ndarray:
    """A column at a time: numpy takes as long for one value of a trade as for some dozen of a column."""
    trades = TRADE.empty(len(rows))
    for name, column in zip(_FIELDS, zip(*rows, strict=True), strict=bool(rows)):
        kind = TRADE.message[name]
        is_id = kind.kind == "V" and kind.names is None
        trades[name] = np.frombuffer(b"".join(column), kind) if is_id else np.array(list(column), kind)
    return trades


def _shown(value: object) -> str:
    """A value as a reason shows it: cut."""
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, _Digits) else str(value)
    return text if len(text) <= _CUT else text[:_CUT] + "…"


def _uuid(name: str, value: object) -> bytes:
    if not isinstance(value, str) or isinstance(value, _Digits) or not _UUID.fullmatch(value):
        raise ValueError(f"{name} is {_shown(value)}, not a UUID")
    return bytes.fromhex(value.replace("-", ""))


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


def _decimal(name: str, value: object) -> tuple[int, int]:
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
    return words(int(scaled))


def _nanoseconds(name: str, value: object, unit_ns: int) -> int:
    unit = _UNIT_NAMES[unit_ns]
    if isinstance(value, int) and not isinstance(value, bool):
        if not -NUMBER_MOST <= value * unit_ns <= NUMBER_MOST:
            raise ValueError(f"{name} is {_shown(value)}, not {unit} since 1970 that 64 bits of nanoseconds hold")
        return value * unit_ns
    found = _ISO.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{name} is {_shown(value)}, neither whole {unit} nor ISO 8601 with a UTC offset")
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


def _object(trade: np.void, unit_ns: int) -> dict[str, object]:
    sequence = int(trade["source_sequence"])
    item = {
        "message_id": uuid.UUID(bytes=bytes(trade["message_id"])),
        "trade_id": int(trade["trade_id"]),
        **{name: trade[name].decode() for name in _TEXT_BYTES},
        "asset_class": ASSET_CLASSES[trade["asset_class"]],
        **{name: _time(int(trade[field]), unit_ns) for name, field in _TIMES.items()},
        "price": as_text(trade["price"]),
        "quantity": as_text(trade["quantity"]),
        "side": SIDES[trade["side"]],
        "trade_conditions": unpack(trade["trade_conditions"]),
        "source_sequence": None if sequence == NO_SEQUENCE else sequence,
    }
    if trade["action"] != NEW:
        item |= {"action": ACTIONS[trade["action"]], "refers_to": uuid.UUID(bytes=bytes(trade["refers_to"]))}
    return item


def _time(nanoseconds: int, unit_ns: int) -> int | str:
    """A whole number where the unit is fine enough."""
    return instant_text(nanoseconds) if nanoseconds % unit_ns else nanoseconds // unit_ns


def _not_json(text: str, at: int) -> str:
    if not text:
        return "not JSON: not UTF-8"
    if at >= len(text):
        return f"not JSON: it ends too early, after {at} characters"
    if _LARGE_NUMBER.match(text, at):
        return f"a number beyond 10^308 from character {at} on: {text[at:][:_CUT]}"
    return f"not JSON from character {at} on: {json.dumps(text[at:][:_CUT])}"


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return _not_json(error.doc, error.pos)
    if isinstance(error, RecursionError):
        return "JSON that is nested too deeply"
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return str(error)
