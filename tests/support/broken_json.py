"""Binance's trades as JSON, some written in odd ways, and some broken in every way that was thought of."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

BASE_MS: Final = 1_735_689_600_000
FEED: Final = "binance-websocket"
Message = dict[str, Any]

LARGE: Final = 5_000_000
"""Bytes of the largest records."""


def message(number: int) -> Message:
    """One trade, as Binance sends it."""
    return {
        "e": "trade",
        "E": BASE_MS + number,
        "s": f"C{number % 40:02}USDT",
        "t": number,
        "p": f"{90_000 + number % 1000}.{number % 100:02}",
        "q": f"0.{number % 99_999 + 1:05}",
        "T": BASE_MS + number,
        "m": bool(number % 2),
        "M": True,
    }


def plain(sent: Message) -> bytes:
    """As it comes, without spaces."""
    return json.dumps(sent, separators=(",", ":")).encode()


def with_text(name: str, text: str) -> Callable[[Message], bytes]:
    """A field with a text of JSON that no dump writes."""
    return lambda sent: plain({**sent, name: "@"}).replace(b'"@"', text.encode())


def without(name: str) -> Callable[[Message], bytes]:
    """A field is missing."""
    return lambda sent: plain({key: value for key, value in sent.items() if key != name})


ODD: Final[dict[str, Callable[[Message], bytes]]] = {
    "a byte order mark": lambda sent: b"\xef\xbb\xbf" + plain(sent),
    "spaces and lines": lambda sent: b"\n " + json.dumps(sent, indent=2).encode() + b"\n",
    "other order": lambda sent: plain(dict(reversed(sent.items()))),
    "escaped keys": lambda sent: plain(sent).replace(b'"p"', b'"\\u0070"'),
    "a long number": with_text("q", "90071992.547409931234"),
    "a number that looks long in a text": with_text("M", '"a: 1.2345678901234567 \\" [1.2345678901234567"'),
    "something deep that is not read": with_text("M", "[" * 3000 + "]" * 3000),
    "no number where none is read": with_text("M", "NaN"),
    "other scripts": with_text("M", '"価格 \\ud83d\\ude00"'),
}
"""Good ones, however they are written."""


@dataclass(frozen=True)
class Broken:
    """A way to break a record, and what the reason says."""

    write: Callable[[Message], bytes]
    reason: str


BROKEN: Final[dict[str, Broken]] = {
    "empty": Broken(lambda _: b"", "empty value"),
    "cut": Broken(lambda sent: plain(sent)[:-20], "not JSON: it ends too early"),
    "no JSON": Broken(lambda _: b"trade BTCUSDT 1 @ 2", "not JSON from character"),
    "no UTF-8": Broken(lambda sent: plain(sent).replace(b"USDT", b"US\xffDT"), "not UTF-8"),
    "two in one": Broken(lambda sent: plain(sent) * 2, "not JSON from character"),
    "a scalar": Broken(lambda _: b"17", "neither a JSON object nor an array"),
    "nothing in an array": Broken(lambda _: b"[]", "an array without a trade"),
    "brackets": Broken(lambda _: b"[" * 20_000, "not JSON"),
    "objects in objects": Broken(lambda _: b'{"a":' * 5_000, "not JSON"),
    "half a character": Broken(with_text("s", '"C\\ud800"'), "not JSON from character"),
    "a key twice": Broken(lambda sent: plain(sent)[:-1] + b',"p":"1"}', "p is there twice"),
    "an escaped key twice": Broken(lambda sent: plain(sent)[:-1] + b',"\\u0074":1}', "t is there twice"),
    "price missing": Broken(without("p"), "price is missing"),
    "price null": Broken(with_text("p", "null"), "price is missing"),
    "price true": Broken(with_text("p", "true"), "price is"),
    "price an object": Broken(with_text("p", '{"a":1}'), "price is"),
    "price deep": Broken(with_text("p", "[" * 2000 + "]" * 2000), "price is"),
    "price NaN": Broken(with_text("p", "NaN"), 'price is "NaN"'),
    "price infinite": Broken(with_text("p", "-Infinity"), 'price is "-Infinity"'),
    "price of a million digits": Broken(with_text("p", "1e999999"), 'price is "1e999999"'),
    "price next to nothing": Broken(with_text("p", "1e-999999"), "more than 12 decimal places"),
    "price of 17 digits": Broken(with_text("p", "0.12345678901234567"), "more than 12 decimal places"),
    "price negative": Broken(with_text("p", '"-5"'), "negative"),
    "quantity a word": Broken(with_text("q", '"many"'), 'quantity is "many"'),
    "quantity in hexadecimal": Broken(with_text("q", '"0x10"'), 'quantity is "0x10"'),
    "quantity too large": Broken(with_text("q", "1e16"), "quantity is"),
    "time a word": Broken(with_text("T", '"yesterday"'), 'timestamp is "yesterday"'),
    "time of 1970": Broken(with_text("T", "5"), "timestamp is 1970"),
    "time to come": Broken(with_text("T", "7258118400000"), "ahead of the clock"),
    "time a list": Broken(with_text("T", "[1]"), "timestamp is"),
    "number of a trade negative": Broken(with_text("t", "-1"), "trade_id is"),
    "number of a trade a fraction": Broken(with_text("t", "1.5"), "trade_id is"),
    "number of a trade too large": Broken(with_text("t", "9223372036854775808"), "trade_id is"),
    "symbol too long": Broken(with_text("s", '"' + "X" * 33 + '"'), "longer than 32 bytes"),
    "symbol with a zero byte": Broken(with_text("s", '"C\\u0000"'), "symbol is"),
    "symbol a list": Broken(with_text("s", "[]"), "symbol is"),
    "side a word": Broken(with_text("m", '"maybe"'), "side is"),
}
"""Broken ones."""

LARGE_ONES: Final[dict[str, Broken]] = {
    "5 MB of digits": Broken(with_text("p", "1" * LARGE), "price is"),
    "5 MB of brackets": Broken(lambda _: b"[" * LARGE, "not JSON"),
}


def large(sent: Message) -> bytes:
    """A good one of 5 MB, most of which is not read."""
    return with_text("M", '"' + "x" * LARGE + '"')(sent)
