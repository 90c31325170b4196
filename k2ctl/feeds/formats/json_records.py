"""Records of JSON as columns: the paths of a feed, extracted in the same query that maps them.

1. Record values become documents: UTF-8, without a byte order mark, lines of objects taken apart, numbers by their
   digits.
2. The keys of each document are read: what is no JSON is refused, and so is a key that is there twice, of which some
   programs take the first value and others the last.
3. Where documents hold several trades, those are taken out of them, and their keys are read.
4. The query of the mapping takes the columns out of each.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.domain.trade import RefusedTrade
from k2ctl.feeds.formats.json_keys import KeyReader
from k2ctl.feeds.formats.json_parts import lines_of, parts_of, why_not_json
from k2ctl.feeds.formats.json_texts import by_digits, first_bytes, joined, not_utf8, raw, trimmed
from k2ctl.feeds.mapping.bound import connect
from k2ctl.feeds.mapping.mapping import RECORDS, Parts, Prepared
from k2ctl.lake.columns import literal, quoted
from k2ctl.profiles.feed import Source

_WHOLE: Final = -1
"""The place of a document that is a whole record."""

_SLICE_BYTES: Final = 16 << 20
"""Read at once. Nothing but brackets takes DuckDB thirty times its bytes, until all of it is read."""

_LARGEST_BYTES: Final = 32 << 20
"""Of one record."""

_SEVERAL_LINES: Final = r"\n\s*\S"
_ARRAY, _OBJECT = b"[{"


@dataclass
class _Documents:
    """n texts of JSON, and what became of the others.

    rows: columns `_record` (int64), `_index` (int32; in the record, or `_WHOLE`), `_value` (large_string), and what a
    record has around its trades.
    """

    rows: pa.Table
    broken: list[tuple[int, str]] = field(default_factory=list)
    refused: list[RefusedTrade] = field(default_factory=list)

    @staticmethod
    def of(texts: pa.Array) -> "_Documents":
        """One of each record."""
        index = np.full(len(texts), _WHOLE, np.int32)
        return _Documents(pa.table({"_record": np.arange(len(texts)), "_index": index, "_value": texts}))

    @property
    def texts(self) -> pa.Array:
        """large_string[n]."""
        column: pa.ChunkedArray = self.rows["_value"]
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()

    def begin_at(self, record: int) -> None:
        """Count the records from another number on."""
        if record:
            self.rows = self.rows.set_column(0, "_record", pa.array(self.rows["_record"].to_numpy() + record))
            self.broken = [(at + record, reason) for at, reason in self.broken]
            self.refused = [RefusedTrade(one.record + record, one.index, one.reason) for one in self.refused]

    def refuse(self, reasons: Mapping[int, str]) -> None:
        """Take documents out, by their position, each for a reason."""
        for at, reason in reasons.items():
            record, index = self.rows["_record"][at].as_py(), self.rows["_index"][at].as_py()
            if index == _WHOLE:
                self.broken.append((record, reason))
            else:
                self.refused.append(RefusedTrade(record, index, reason))
        if reasons:
            kept = np.delete(np.arange(len(self.rows)), list(reasons))
            self.rows = self.rows.take(pa.array(kept)).combine_chunks()


@dataclass(frozen=True)
class _Slice:
    """Values that are read at once."""

    # The number of the first.
    start: int
    values: Sequence[bytes]


def _slices(values: Sequence[bytes]) -> list[_Slice]:
    """Some values in slices: one, unless they are large."""
    if sum(map(len, values)) <= _SLICE_BYTES:
        return [_Slice(0, values)]
    ends, start, found = np.cumsum(list(map(len, values))), 0, list[_Slice]()
    while start < len(values):
        before = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + _SLICE_BYTES, side="right")))
        found.append(_Slice(start, values[start:end]))
        start = end
    return found


def _with_columns(rows: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    """Rows with the columns that their records have beside the value."""
    index = np.maximum(rows["_index"].to_numpy(), 0)
    rows = rows.set_column(1, "_index", pa.array(index))
    for name, column in columns.items():
        rows = rows.append_column(name, column.take(rows["_record"]))
    return rows


class JsonRecords:
    """The columns of JSON records."""

    def __init__(self, source: Source) -> None:
        self._is_one = source.trades == "$"
        self._trades = None if self._is_one else source.trades
        self._lock = threading.Lock()
        self._source = source
        self._parts_sql = _parts_sql(self._trades, source.record)
        self._sql = _columns_sql(source.paths)

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        return connect(self._source)

    @cached_property
    def _of_trades(self) -> KeyReader:
        return KeyReader(self._connection, self._source.paths.values())

    @cached_property
    def _of_records(self) -> KeyReader:
        around = [] if self._trades is None else [self._trades, *self._source.record.values()]
        return KeyReader(self._connection, around) if around else self._of_trades

    def prepare(self, values: Sequence[bytes], columns: dict[str, pa.Array]) -> Parts:
        """The columns of n record values. columns: of the records, n each."""
        several = [self._read(part) for part in _slices(values)]
        return Parts(
            [Prepared(_with_columns(documents.rows, columns), self._sql) for documents in several],
            sorted(one for documents in several for one in documents.broken),
            [one for documents in several for one in documents.refused],
        )

    def sample(self, _: str, columns: dict[str, pa.Array]) -> Prepared:
        """No rows of these columns."""
        return self.prepare([], columns).prepared[0]

    def why_bad(self, value: bytes) -> str:
        """Why a record value is no JSON."""
        return why_not_json(value)

    def alone(self, value: bytes) -> list[bytes] | None:
        """Each trade of a record as its producer would have sent it alone; None where they cannot be cut."""
        return None if self._is_one else parts_of(value, self._trades)

    def _read(self, part: _Slice) -> _Documents:
        with self._lock:
            documents = self._documents(part.values)
        documents.begin_at(part.start)
        return documents

    def _documents(self, values: Sequence[bytes]) -> _Documents:
        """A document of each trade."""
        documents = _documents(values, may_be_lines=self._trades is None and not self._is_one)
        _check(documents, self._of_records)
        if self._trades is not None or (not self._is_one and (first_bytes(documents.texts) == _ARRAY).any()):
            documents = self._taken_apart(documents)
            _refuse_scalars(documents)
            _check(documents, self._of_trades)
        return documents

    def _taken_apart(self, documents: _Documents) -> _Documents:
        """The trades of documents. Where there should be a list of trades and is none, there is one of nothing."""
        self._connection.register(RECORDS, documents.rows)
        parts = self._connection.sql(self._parts_sql).to_arrow_table().combine_chunks()
        parts = parts.set_column(2, "_value", parts["_value"].cast(pa.large_string()))
        found = _Documents(parts, documents.broken, documents.refused)
        if self._trades is None and parts["_value"].null_count:
            nothing = parts["_value"].is_null()
            empty = parts.filter(nothing)["_record"].to_pylist()
            found.broken += [(record, "an array without a trade") for record in empty]
            found.rows = parts.filter(pc.invert(nothing)).combine_chunks()
        return found


def _refuse_scalars(documents: _Documents) -> None:
    """Refuse what stands in a list of trades and is neither an object nor an array."""
    texts = documents.texts
    there = np.flatnonzero(texts.is_valid())
    first = first_bytes(texts.drop_null())
    scalars = there[~np.isin(first, (_ARRAY, _OBJECT))]
    documents.refuse({at: why_not_json(texts[at].as_py().encode()) for at in scalars.tolist()})


def _documents(values: Sequence[bytes], *, may_be_lines: bool) -> _Documents:
    """Step 1. may_be_lines: a record may have an object a line."""
    documents = _Documents.of(trimmed(joined(values)))
    reasons = dict.fromkeys(not_utf8(documents.texts), "not JSON: not UTF-8")
    odd = np.flatnonzero(~np.isin(first_bytes(documents.texts), (_ARRAY, _OBJECT)))
    for at in odd.tolist():
        reasons.setdefault(at, why_not_json(values[at]))
    for at in np.flatnonzero(np.diff(raw(documents.texts)[1]) > _LARGEST_BYTES).tolist():
        reasons.setdefault(at, f"{len(values[at]):,} bytes of JSON, more than {_LARGEST_BYTES:,}")
    documents.refuse(reasons)
    if may_be_lines:
        _split_lines(documents)
    documents.rows = documents.rows.set_column(2, "_value", by_digits(documents.texts))
    return documents


def _split_lines(documents: _Documents) -> None:
    """A document of each line where records have an object a line."""
    texts = documents.texts
    if not (raw(texts)[0] == ord("\n")).any():
        return
    several = pc.match_substring_regex(texts, _SEVERAL_LINES)
    split = {at: lines_of(texts[at].as_py().encode()) for at in np.flatnonzero(several).tolist()}
    split = {at: lines for at, lines in split.items() if lines}
    if not split:
        return
    counts = np.ones(len(texts), np.int64)
    counts[list(split)] = list(map(len, split.values()))
    rows = documents.rows.take(pa.array(np.repeat(np.arange(len(texts)), counts)))
    begins, index = np.cumsum(counts) - counts, rows["_index"].to_numpy().copy()
    for at, lines in split.items():
        index[begins[at] : begins[at] + len(lines)] = np.arange(len(lines))
    values = [line for at, text in enumerate(texts) for line in split.get(at) or [text.as_py().encode()]]
    documents.rows = rows.set_column(1, "_index", pa.array(index)).set_column(2, "_value", joined(values))


def _check(documents: _Documents, keys: KeyReader) -> None:
    """Refuse what is no JSON, or has a key twice."""
    texts, reasons = documents.texts, dict[int, str]()
    for at, key in keys.faults(texts).items():
        reasons[at] = why_not_json(texts[at].as_py().encode()) if key is None else f"{key} is there twice"
    documents.refuse(reasons)


def _parts_sql(trades: str | None, around: Mapping[str, str]) -> str:
    """The query that takes documents apart, a row per trade."""
    if trades is None:
        several, otherwise = "_index < 0 AND json_type(_value) = 'ARRAY'", "[_value]"
        parts = f"CASE WHEN {several} THEN {_texts_at('_value', '$[*]')} ELSE {otherwise} END"
    elif "*" in trades:
        parts = _texts_at("_value", trades)
    else:
        found = f"json_extract(_value, {literal(trades)})"
        # A list of nothing but values, as some venues write a trade, is one trade.
        plain = f"list_filter(json_extract({found}, '$[*]'), lambda one: json_type(one) IN ('OBJECT', 'ARRAY')) = []"
        is_one = f"COALESCE(json_type({found}, '$[0]') NOT IN ('OBJECT', 'ARRAY'), false) AND {plain}"
        several = f"json_type({found}) = 'ARRAY' AND NOT ({is_one})"
        parts = f"CASE WHEN {several} THEN {_texts_at(found, '$[*]')} ELSE [CAST({found} AS VARCHAR)] END"
    columns = "".join(
        f", json_extract_string(_value, {literal(path)}) AS {quoted(name)}" for name, path in around.items()
    )
    number = "CASE WHEN _index < 0 THEN CAST(generate_subscripts(_parts, 1) - 1 AS INTEGER) ELSE _index END"
    some = "CASE WHEN len(_parts) = 0 THEN [NULL] ELSE _parts END AS _parts"
    inner = f"SELECT * REPLACE ({some}) FROM (SELECT _record, _index, {parts} AS _parts{columns} FROM {RECORDS})"  # noqa: S608
    columns = f"_record, {number} AS _index, unnest(_parts) AS _value, * EXCLUDE (_record, _index, _parts)"
    return f"SELECT {columns} FROM ({inner})"  # noqa: S608


def _texts_at(document: str, path: str) -> str:
    return f"CAST(json_extract({document}, {literal(path)}) AS VARCHAR[])"


def _columns_sql(paths: Mapping[str, str]) -> str:
    """What stands in FROM: the columns of a trade, those at one place extracted all at once."""
    single = {name: path for name, path in paths.items() if "*" not in path}
    wanted = ", ".join(map(literal, single.values()))
    found = [f"json_extract_string(_value, [{wanted}]) AS _found"] if single else []
    found += [
        f"json_extract_string(_value, {literal(path)}) AS {quoted(name)}" for name, path in paths.items() if "*" in path
    ]
    inner = f"SELECT *, {', '.join(found)} FROM {RECORDS}"  # noqa: S608
    left_out = "_record, _index, _value" + (", _found" if single else "")
    columns = "".join(f", _found[{at}] AS {quoted(name)}" for at, name in enumerate(single, 1))
    return f"(SELECT _record, _index, false AS _bad, * EXCLUDE ({left_out}){columns} FROM ({inner}))"  # noqa: S608
