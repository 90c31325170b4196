"""Trades of columns that a feed only names: from Arrow to trades, without DuckDB.

DuckDB has nothing to find out of an expression that is a column and nothing else, and takes a tenth of a second to be
asked. A row whose values are not known to be what it would make of them is left to it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.domain.decimals import DECIMAL_SCALE, to_arrow
from k2ctl.domain.texts import fixed_binary
from k2ctl.domain.validity import NUMBER_MOST
from k2ctl.feeds.mapping import digit_words
from k2ctl.feeds.mapping.bound import INNER, OF_THE_MOMENT, Bound, name_of
from k2ctl.feeds.mapping.digit_words import PlacedTexts
from k2ctl.profiles.feed import Feed

DECIMALS: Final = ("price", "quantity")
WHOLES: Final = ("trade_id", "source_sequence")
INSTANTS: Final = {"timestamp": "event_ns", "ingestion_timestamp": "received_ns"}
TEXTS: Final = ("symbol", "exchange", "currency", "asset_class", "side", "action", "trade_conditions")

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LITERAL: Final = re.compile(r"'([^'\0]*)'")
_MOST_WHOLE_DIGITS: Final = 38 - DECIMAL_SCALE
_NO_COLUMN: Final = {
    "all", "analyse", "analyze", "and", "anti", "any", "array", "as", "asc", "asof", "asymmetric", "at",
    "authorization", "binary", "both", "by", "case", "cast", "check", "collate", "collation", "column", "columns",
    "concurrently", "constraint", "create", "cross", "default", "deferrable", "desc", "describe", "distinct", "do",
    "else", "end", "except", "false", "fetch", "for", "foreign", "freeze", "from", "full", "generated", "glob",
    "group", "having", "ilike", "in", "initially", "inner", "intersect", "into", "is", "isnull", "join", "lambda",
    "lateral", "leading", "left", "like", "limit", "map", "natural", "not", "notnull", "null", "offset", "on", "only",
    "or", "order", "outer", "overlaps", "pivot", "pivot_longer", "pivot_wider", "placing", "positional", "primary",
    "qualify", "references", "returning", "right", "select", "semi", "show", "similar", "some", "struct", "summarize",
    "symmetric", "table", "tablesample", "then", "to", "trailing", "true", "try_cast", "tuple", "union", "unique",
    "unpack", "unpivot", "using", "variadic", "verbose", "when", "where", "window", "with",
}  # fmt: skip
"""Words that DuckDB takes for something else where a column has that name."""

_Read = tuple[pa.Array, np.ndarray]
"""A column of n values as the SELECT gives it, and bool[n]: which of them are known."""

_Reader = Callable[[pa.Array], _Read]
_MOST_US: Final = NUMBER_MOST // 1000


def bound_by_name(feed: Feed, types: Mapping[str, str]) -> dict[str, Bound] | None:
    """The expressions of a feed, each of which is a column or a text; None of any other feed. types: of the columns."""
    if feed.where is not None or len({name.lower() for name in types}) < len(types):
        return None
    found = dict[str, Bound]()
    for key, text in feed.expressions():
        name, literal = name_of(key), _LITERAL.fullmatch(text)
        if literal is not None and name in TEXTS:
            found[name] = Bound(text, (), "VARCHAR", literal[1])
        elif text in types and _names_column(text):
            found[name] = Bound(text, (text,), types[text])
        else:
            return None
    return found


def _names_column(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and text.lower() not in _NO_COLUMN | OF_THE_MOMENT


class ByName:
    """What the SELECT of a feed gives of columns that it only names."""

    def __init__(self, bound: Mapping[str, Bound], readers: Mapping[str, tuple[str, _Reader]]) -> None:
        """readers: by the name that the SELECT has for a field, its column and what reads it."""
        self.bound = bound
        self._readers = readers

    @staticmethod
    def of(feed: Feed, schema: pa.Schema) -> "ByName | None":
        """None where a field is made of something else, or of a type that is left to DuckDB."""
        types = {one.name: one.type for one in schema}
        bound = None
        if feed.identity != "look-alikes" and len(types) == len(schema):
            bound = bound_by_name(feed, {name: "VARCHAR" if _is_text(one) else str(one) for name, one in types.items()})
        if bound is None or "identity_1" in bound:
            return None
        readers = dict[str, tuple[str, _Reader]]()
        for name, one in bound.items():
            if not one.columns:
                continue
            reader = _reader(name, types[one.columns[0]], feed.source.time_unit)
            if reader is None:
                return None
            readers["identity_number" if name == "identity_0" else name] = (one.columns[0], reader)
        return ByName(bound, readers)

    def read(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
        """What the SELECT gives of n rows, and bool[n]: of which of them that is known."""
        whole = table.combine_chunks()
        found = {name: _one(whole, name) for name in INNER}
        known = ~np.asarray(found["_bad"].to_numpy(zero_copy_only=False))
        for name, (column, reader) in self._readers.items():
            found[name], read = reader(_one(whole, column))
            known &= read
        return pa.table(found), known


def _one(table: pa.Table, name: str) -> pa.Array:
    """A column of a table, in one piece."""
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _reader(name: str, kind: pa.DataType, unit: str) -> _Reader | None:
    """What reads a field of columns of a type; None where DuckDB does."""
    if name.startswith("refers_to_"):
        return lambda column: (column, _nulls(column))
    if name in TEXTS:
        return _as_it_is if _is_text(kind) or _is_enum(kind) else None
    if name in DECIMALS:
        return _decimal_reader(kind)
    if name in INSTANTS:
        return _instant_reader(kind, unit)
    if name == "message_id":
        return _uuids if _is_text(kind) else _as_it_is if kind == pa.uuid() else None
    if _is_text(kind):
        return _whole_texts
    if not pa.types.is_integer(kind):
        return None
    return _numbers if name.startswith("identity_") else _wholes


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_enum(kind: pa.DataType) -> bool:
    return pa.types.is_dictionary(kind) and _is_text(kind.value_type)


def _nulls(column: pa.Array) -> np.ndarray:
    """bool[n]."""
    if not column.null_count:
        return np.zeros(len(column), np.bool_)
    return np.asarray(column.is_null().to_numpy(zero_copy_only=False))


def _as_it_is(column: pa.Array) -> _Read:
    return column, np.ones(len(column), np.bool_)


def _decimal_reader(kind: pa.DataType) -> _Reader | None:
    if pa.types.is_integer(kind):
        return _as_it_is
    if pa.types.is_decimal128(kind):
        fits = kind.scale <= DECIMAL_SCALE and kind.precision - kind.scale <= _MOST_WHOLE_DIGITS
        return _as_it_is if fits else None
    if pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return lambda column: _decimal_texts(column.cast(pa.large_string()))
    return _decimal_texts if _is_text(kind) else None


def _instant_reader(kind: pa.DataType, unit: str) -> _Reader | None:
    if pa.types.is_timestamp(kind) and kind.tz is not None and kind.unit == "us":
        return _microseconds
    if pa.types.is_integer(kind):
        return lambda column: _plain(column, *_instants(*_whole_values(column), unit))
    return (lambda column: _instant_texts(column, unit)) if _is_text(kind) else None


def _plain(column: pa.Array, values: np.ndarray, read: np.ndarray) -> _Read:
    """Values of which those that are null in a column are not known."""
    return pa.array(values), read & ~_nulls(column) if column.null_count else read


def _whole_values(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """int64[n], and bool[n]: which are from 0 to 2^63 − 1 and no nulls."""
    values = np.asarray(column.fill_null(0).to_numpy(zero_copy_only=False))
    return values.astype(np.int64), (values >= 0) & (values <= NUMBER_MOST)


def _numbers(column: pa.Array) -> _Read:
    """Whole numbers that have to be there."""
    return _plain(column, *_whole_values(column))


def _wholes(column: pa.Array) -> _Read:
    """Whole numbers; null is known to be none."""
    if column.type == pa.int64():
        return _as_it_is(column)
    values, read = _whole_values(column)
    return pa.array(values, mask=_nulls(column)), read


def _microseconds(column: pa.Array) -> _Read:
    values = np.asarray(column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False))
    read = (values >= -_MOST_US) & (values <= _MOST_US)
    made = np.where(read, values, 0) * 1000
    return pa.array(made, mask=_nulls(column) if column.null_count else None), read


def _instants(values: np.ndarray, read: np.ndarray, unit: str) -> tuple[np.ndarray, np.ndarray]:
    made, fits = digit_words.instants_of(values, unit)
    return made, read & fits


def _whole_texts(column: pa.Array) -> _Read:
    values, read = digit_words.wholes(PlacedTexts.of(column))
    return _plain(column, np.where(read, values, 0).astype(np.int64), read)


def _decimal_texts(column: pa.Array) -> _Read:
    values, read = digit_words.decimals(PlacedTexts.of(column))
    return to_arrow(values), read & ~_nulls(column)


def _instant_texts(column: pa.Array, unit: str) -> _Read:
    texts = PlacedTexts.of(column)
    if len(column) and b"-" in texts.first():
        return _plain(column, *digit_words.iso_instants(texts))
    return _plain(column, *digit_words.numbered_instants(texts, unit))


def _uuids(column: pa.Array) -> _Read:
    ids, read = digit_words.uuids(PlacedTexts.of(column))
    return pa.ExtensionArray.from_storage(pa.uuid(), fixed_binary(ids)), read & ~_nulls(column)
