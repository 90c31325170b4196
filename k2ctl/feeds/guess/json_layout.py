"""Where in a JSON record its trades are, and which columns they have."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from k2ctl.feeds.guess.columns import SampleColumn
from k2ctl.feeds.guess.names import USUAL

_DEPTH: Final = 5
_MOST_COLUMNS: Final = 200
MOST_TRADES: Final = 5_000
_PLAIN: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_KNOWN: Final = {name for field in ("price", "quantity", "timestamp") for name in USUAL[field]}


@dataclass(frozen=True)
class JsonLayout:
    """A sample of JSON records, taken apart."""

    # As `source.trades` of a feed.
    trades: str | None
    # Of the record around its trades, and of the trades.
    record: list[SampleColumn]
    columns: list[SampleColumn]
    # Records that are no JSON.
    broken: int = 0


def layout_of(values: Sequence[bytes]) -> JsonLayout:
    """The layout of JSON records; of lines, where a record has several."""
    records: list[Any] = []
    broken = 0
    for value in values:
        for line in _texts(value):
            try:
                records.append(json.loads(line, parse_int=str, parse_float=str, parse_constant=str))
            except (ValueError, RecursionError):
                broken += 1
    path = _trades_path(records)
    if path is None:
        items = [item for record in records for item in _items(record)]
        return JsonLayout(None, [], _columns([dict(_leaves(item)) for item in items[:MOST_TRADES]]), broken)
    if path == "$":
        return JsonLayout("$", [], _columns([dict(_leaves(record)) for record in records[:MOST_TRADES]]), broken)
    around, trades = list[dict[str, Any]](), list[dict[str, Any]]()
    for record in records:
        own = {at: value for at, value in _leaves(record) if not at.startswith((f"{path}.", f"{path}["))}
        for item in _listed(record, path):
            around.append(own)
            trades.append(dict(_leaves(item)))
    outer = [replace(column, is_around=True) for column in _columns(around[:MOST_TRADES])]
    return JsonLayout(path, outer, _columns(trades[:MOST_TRADES]), broken)


def _texts(value: bytes) -> list[str]:
    """The JSON documents of a record: the whole of it or, where that is none, its lines."""
    text = value.decode("utf-8-sig", "replace").strip()
    lines = text.splitlines()
    if len(lines) > 1 and all(line.strip()[:1] in ("{", "") for line in lines):
        return [line for line in lines if line.strip()]
    return [text]


def _items(record: Any) -> list[Any]:
    """What becomes trades without a path: an object, or the objects of an array."""
    if isinstance(record, dict):
        return [record]
    return [item for item in record if isinstance(item, dict)] if isinstance(record, list) else []


def _trades_path(records: Sequence[Any]) -> str | None:
    """`source.trades` of records: None where they are objects that are trades, or arrays of such."""
    best, most = None, 0
    for record in records[:100]:
        if isinstance(record, list) and record and all(isinstance(item, dict) for item in record):
            continue
        own = _score([record])
        for path, items in _lists(record, "$", 0):
            if path != "$" and _score(items) > max(own, most):
                best, most = path, _score(items)
    if best is None and records and all(isinstance(record, list) for record in records):
        of_objects = all(isinstance(item, dict) for record in records for item in record)
        return None if of_objects else "$"
    return best


def _score(items: Sequence[Any]) -> int:
    """How much items look like trades: usual names or, in arrays, numbers."""
    first = next(iter(items), None)
    if isinstance(first, dict):
        keys = {re.sub(r"[\W_]", "", path.rpartition(".")[2]).lower() for path, _ in _leaves(first, lists=False)}
        return 2 * len(keys & _KNOWN)
    if isinstance(first, list) and not any(isinstance(value, dict | list) for value in first):
        return min(3, sum(bool(re.fullmatch(r"-?[\d.]+", str(value))) for value in first))
    return 0


def _lists(value: Any, path: str, depth: int) -> Iterator[tuple[str, list[Any]]]:
    """Every list of objects or of lists within a value, with its path."""
    if depth > _DEPTH:
        return
    if isinstance(value, list):
        if value and all(isinstance(item, dict | list) for item in value):
            yield path, value
        for number, item in enumerate(value[:20]):
            if isinstance(item, dict | list):
                yield from _lists(item, f"{path}[{number}]", depth + 1)
    elif isinstance(value, dict):
        for key, item in _items_of(value):
            yield from _lists(item, f"{path}.{_quoted(key)}", depth + 1)


def _listed(record: Any, path: str) -> list[Any]:
    return next((items for at, items in _lists(record, "$", 0) if at == path), [])


def _leaves(value: Any, path: str = "$", depth: int = 0, *, lists: bool = True) -> Iterator[tuple[str, Any]]:
    """The values of a record with their paths. A list of plain values under a key is one; elsewhere each is."""
    if depth > _DEPTH:
        return
    if isinstance(value, dict):
        for key, item in _items_of(value):
            yield from _leaves(item, f"{path}.{_quoted(key)}", depth + 1, lists=lists)
    elif isinstance(value, list):
        if path.endswith(("]", "$")) or any(isinstance(item, dict | list) for item in value):
            for number, item in enumerate(value[:20] if lists else []):
                yield from _leaves(item, f"{path}[{number}]", depth + 1)
        else:
            yield path, value
    else:
        yield path, value


def _quoted(key: str) -> str:
    return key if _PLAIN.fullmatch(key) else f'"{key}"'


def _items_of(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """The items that a path can name: without a quote in their key."""
    return [(key, item) for key, item in value.items() if '"' not in key]


def _columns(rows: Sequence[dict[str, Any]]) -> list[SampleColumn]:
    paths = list(dict.fromkeys(path for row in rows for path in row))[:_MOST_COLUMNS]
    return [_column(path, [row.get(path) for row in rows]) for path in paths]


def _column(path: str, values: list[Any]) -> SampleColumn:
    name = path.rpartition(".")[2].strip('"')
    is_list = any(isinstance(value, list) for value in values)
    return SampleColumn(name, tuple(map(_text, values)), path, is_list)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(str(_text(item)) for item in value)
    return str(value).lower()  # a boolean; numbers are texts by now
