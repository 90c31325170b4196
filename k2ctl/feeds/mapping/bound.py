"""The SELECT of a feed: its expressions, bound to the columns of a source in a locked DuckDB.

Each expression stands in a `TRY`: what fails for one record is null there, and the rest of the batch goes on. So an
expression may say nothing that differs from one time to the next, and no more than its own record.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import orjson

from k2ctl.domain.decimals import DECIMAL_SCALE
from k2ctl.lake.columns import quoted
from k2ctl.lake.duckdb_files import lock, silent
from k2ctl.profiles.feed import DeclaredFeed, Feed, Source

Key = tuple[str | int, ...]
"""The path of an expression's key in the feed's YAML."""

INNER: Final = ("_record", "_index", "_bad")
"""Columns that every source has: the position of the record in the batch, of the trade in the record, and whether the
record is none."""

_APART: Final = "_apart_"
MEMORY_MB: Final = 2_000
_WHOLE: Final = {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
}  # fmt: skip
_FLOATS: Final = {"FLOAT", "DOUBLE"}
_ZONELESS: Final = {"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}
_FACTORS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}

MACROS: Final = (
    # Nanoseconds since midnight of HHMMSS with up to nine digits of a second behind it.
    """hhmmss(t) AS CAST(t[1:2] AS BIGINT) * 3600000000000 + CAST(t[3:4] AS BIGINT) * 60000000000
       + CAST(t[5:6] AS BIGINT) * 1000000000 + CAST(rpad(t[7:], 9, '0') AS BIGINT)""",
    # Nanoseconds of seconds, by their digits.
    "seconds(t) AS CAST(CAST(t AS DECIMAL(38, 9)) * 1000000000 AS BIGINT)",
    # Nanoseconds since 1970 of a day's clock, in the source's zone: `at_clock('2024-01-02', hhmmss('093000'))`.
    """at_clock(day, since_midnight) AS epoch_us(CAST(CAST(strptime(replace(CAST(day AS VARCHAR), '-', ''), '%Y%m%d')
       AS TIMESTAMP) + to_microseconds(CAST(since_midnight AS BIGINT) // 1000) AS TIMESTAMPTZ)) * 1000
       + CAST(since_midnight AS BIGINT) % 1000""",
)
"""What expressions may call beside DuckDB's own functions."""

_BY_SIZE: Final = """CASE WHEN n < 100000000000 THEN 1000000000 WHEN n < 100000000000000 THEN 1000000
    WHEN n < 100000000000000000 THEN 1000 ELSE 1 END"""
_ISO: Final = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9}0*)?( ?UTC|[Zz]|[+-]\d\d(:?\d\d)?)?"
_OFFSET: Final = r"regexp_matches(t, '( ?UTC|[Zz]|[+-]\d\d(:?\d\d)?)$')"


def _of_times(source: Source) -> tuple[str, ...]:
    """The macros that make nanoseconds of what a source writes as times."""
    factor = _BY_SIZE if source.time_unit == "auto" else _FACTORS[source.time_unit]
    instant = "CAST(replace(t, 'z', 'Z') AS TIMESTAMPTZ)"
    # An hour that summer time leaves out is none.
    allowed = _OFFSET if source.zone is None else f"({_OFFSET} OR CAST({instant} AS TIMESTAMP) = CAST(t AS TIMESTAMP))"
    return (
        f"of_number(n) AS n * {factor}",
        # A part of a nanosecond is none.
        "of_scaled(n) AS CASE WHEN n = floor(n) THEN CAST(n AS BIGINT) END",
        "of_decimal(n) AS of_scaled(of_number(CAST(n AS DECIMAL(38, 9))))",
        f"""of_iso(t) AS CASE WHEN regexp_full_match(t, '{_ISO}') AND {allowed} THEN epoch_us({instant}) * 1000
            + CAST(rpad(regexp_extract(t, '\\.\\d{{6}}(\\d{{1,3}})', 1), 3, '0') AS BIGINT) END""",
        """of_text(t) AS CASE WHEN contains(t, '-') THEN of_iso(t) WHEN contains(t, '.') THEN of_decimal(t)
            ELSE of_number(CAST(t AS BIGINT)) END""",
        # Of nanoseconds: a cast of them to microseconds would round.
        """of_timestamp(t) AS epoch_us(CAST(make_timestamp(epoch_ns(t) // 1000) AS TIMESTAMPTZ)) * 1000
            + epoch_ns(t) % 1000""",
    )


_WRITTEN_AS_NUMBER: Final = """written_as_number(t) AS
    IF(CAST(TRY_CAST(t AS BIGINT) AS VARCHAR) = t AND TRY_CAST(t AS BIGINT) >= 0, TRY_CAST(t AS BIGINT), NULL)"""


@dataclass(frozen=True)
class Bound:
    """One expression, bound to the columns of a source."""

    text: str
    # Those columns that it names.
    columns: tuple[str, ...]
    # DuckDB's type of what it gives.
    type: str
    # What it gives, as a text, where it names no column.
    constant: str | None = None

    @property
    def is_column(self) -> bool:
        """True if it is a column and nothing else."""
        return self.columns == (self.text.strip().strip('"'),)


@dataclass(frozen=True)
class Select:
    """The whole query over a source, and its expressions by name."""

    sql: str
    bound: Mapping[str, Bound]


def connect(source: Source) -> duckdb.DuckDBPyConnection:
    """A DuckDB without files, network and settings, in the zone of the source's times."""
    connection = silent(duckdb.connect(config={"threads": 1}))
    # UUIDs and 128-bit numbers come as their bytes.
    connection.execute("SET arrow_lossless_conversion = true")
    connection.execute(f"SET timezone = '{source.zone or 'UTC'}'")
    for macro in (*MACROS, *_of_times(source), _WRITTEN_AS_NUMBER):
        connection.execute(f"CREATE MACRO {macro}")
    lock(connection, [], MEMORY_MB)
    return connection


def bind(connection: duckdb.DuckDBPyConnection, declared: DeclaredFeed, source: str) -> Select:
    """Bind a feed's expressions to a source's columns. source: what stands in FROM; its tables are registered.

    Raises:
        ProfileError: an expression cannot be bound, or gives what its field cannot be made of.
    """
    feed, bound = declared.feed, dict[str, Bound]()
    known = connection.sql(f"SELECT * FROM {source}").columns  # noqa: S608
    for key, text in feed.expressions():
        bound[name_of(key)] = _bound(connection, declared, source, key, text, known)
    apart = _apart(feed, known)
    selected = [*INNER, *_ids(feed, bound, apart)]
    for name, one in bound.items():
        try:
            selected += _selected(name, one)
        except TypeError as error:
            raise declared.mistake(_key(name, feed), str(error)) from error
    inner = [*INNER, *(f"{quoted(name)} AS {_APART}{at}" for at, name in enumerate(apart))]
    inner += [f"TRY(({one.text}\n)) AS {name}" for name, one in bound.items()]
    return Select(f"SELECT {', '.join(selected)} FROM (SELECT {', '.join(inner)} FROM {source})", bound)  # noqa: S608


def name_of(key: Key) -> str:
    """The name that an expression has in the query."""
    return str(key[-1]) if key[0] == "trade" else "_".join(map(str, key))


def _key(name: str, feed: Feed) -> Key:
    return next(key for key, _ in feed.expressions() if name_of(key) == name)


def _bound(
    connection: duckdb.DuckDBPyConnection, declared: DeclaredFeed, source: str, key: Key, text: str, known: list[str]
) -> Bound:
    """Raises:
    ProfileError: DuckDB's reason, with the line.
    """
    try:
        node = _expression(connection, text)
        relation = connection.sql(f"SELECT TRY(({text}\n)) FROM {source}")  # noqa: S608
        lowered = {name.lower(): name for name in known}
        named = [lowered[name.lower()] for name in _columns(node) if name.lower() in lowered]
        columns, kind = tuple(dict.fromkeys(named)), str(relation.types[0])
        constant = None
        if not columns and kind == "VARCHAR":
            constant = connection.sql(f"SELECT {text}\n").fetchall()[0][0]
        return Bound(text, columns, kind, constant)
    except (duckdb.Error, ValueError) as error:
        reason = str(error).partition("\n\nLINE")[0].replace("\n", " ")
        raise declared.mistake(key, reason) from error


def _expression(connection: duckdb.DuckDBPyConnection, text: str) -> dict[str, Any]:
    """The parsed expression.

    Raises:
        ValueError: it is no expression over one record.
    """
    answer = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT ({text}\n)"]).fetchall()[0][0]
    parsed = orjson.loads(answer)
    if parsed["error"]:
        raise ValueError(f"{parsed['error_message']}")
    statements = parsed["statements"]
    node = statements[0]["node"]
    plain = node.get("type") == "SELECT_NODE" and node["from_table"]["type"] == "EMPTY"
    if len(statements) != 1 or not plain or len(node["select_list"]) != 1 or node["where_clause"]:
        raise ValueError("not one expression")
    for inner in _nodes(node["select_list"][0]):
        if inner.get("class") in _BEYOND_ONE_RECORD:
            raise ValueError(f"{_BEYOND_ONE_RECORD[inner['class']]}: an expression sees one record at a time")
        said = inner.get("function_name") or (inner.get("column_names") or [""])[0]
        if said.lower() in OF_THE_MOMENT or (said.lower() == "age" and len(inner["arguments"]) == 1):
            raise ValueError(f"{said}: it is another each time that a record is read; say it of the record")
    found: dict[str, Any] = node["select_list"][0]
    return found


_BEYOND_ONE_RECORD: Final = {"WINDOW": "a window function", "SUBQUERY": "a subquery", "STAR": "*"}


OF_THE_MOMENT: Final = {
    "now", "today", "current_date", "current_time", "current_timestamp", "current_localtime", "current_localtimestamp",
    "localtime", "localtimestamp", "get_current_time", "get_current_timestamp", "transaction_timestamp", "txid_current",
}  # fmt: skip


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _columns(tree: dict[str, Any]) -> Iterator[str]:
    for node in _nodes(tree):
        if node.get("class") == "COLUMN_REF":
            yield node["column_names"][0]


def _selected(name: str, one: Bound) -> list[str]:
    """What the query has of an expression: its value, and its text where the digits are to be checked.

    Raises:
        TypeError: no value of the field can be made of its type.
    """
    if one.constant is not None and name not in _CHECKED:
        return []
    if name in ("price", "quantity"):
        return _decimal(name, one.type)
    if name in ("trade_id", "source_sequence"):
        return _whole(name, one.type)
    if name in ("timestamp", "ingestion_timestamp"):
        return _instant(name, one.type)
    if name == "message_id":
        return _uuid(name, one.type)
    if name == "where":
        if one.type != "BOOLEAN":
            raise TypeError(f"{one.type}, where true or false is needed")
        return ['COALESCE("where", false) AS _kept']
    if name.startswith(("identity_", "refers_to_")):
        return []
    return _text(name, one.type)


_CHECKED: Final = ("price", "quantity", "trade_id", "source_sequence", "timestamp", "ingestion_timestamp", "message_id")
"""Fields whose texts are read and checked, constant or not."""


def _decimal(name: str, kind: str) -> list[str]:
    cast = f"TRY_CAST({{}} AS DECIMAL(38, {DECIMAL_SCALE})) AS {name}"
    if kind in _WHOLE or (kind.startswith("DECIMAL") and int(kind.rstrip(")").rpartition(",")[2]) <= DECIMAL_SCALE):
        return [cast.format(name)]
    if kind == "VARCHAR":
        return [f"{name} AS {name}_text", cast.format(name)]
    if kind in _FLOATS or kind.startswith("DECIMAL"):
        text = f"CAST({name} AS VARCHAR)"  # a float's is the shortest that is the same float
        return [f"{text} AS {name}_text", cast.format(text)]
    raise TypeError(f"{kind}, where a number or the text of one is needed")


def _whole(name: str, kind: str) -> list[str]:
    if kind in _WHOLE:
        return [f"TRY_CAST({name} AS BIGINT) AS {name}"]
    if kind == "VARCHAR":
        return [f"{name} AS {name}_text", f"TRY_CAST({name} AS BIGINT) AS {name}"]
    if kind in _FLOATS or kind.startswith("DECIMAL"):
        return [f"CASE WHEN {name} = floor({name}) THEN TRY_CAST({name} AS BIGINT) END AS {name}"]
    raise TypeError(f"{kind}, where a whole number or the text of one is needed")


def _instant(name: str, kind: str) -> list[str]:
    if kind == "TIMESTAMP WITH TIME ZONE":
        return [f"TRY(epoch_us({name}) * 1000) AS {name}"]
    if kind == "TIMESTAMPTZ_NS":
        return [f"epoch_ns({name}) AS {name}"]
    if kind in _ZONELESS:
        return [f"TRY(of_timestamp({name})) AS {name}"]
    if kind in _WHOLE:
        return [f"TRY(of_number(CAST({name} AS BIGINT))) AS {name}"]
    if kind == "VARCHAR":
        return [f"{name} AS {name}_text", f"TRY(of_text({name})) AS {name}"]
    if kind in _FLOATS or kind.startswith("DECIMAL"):
        return [f"CAST({name} AS VARCHAR) AS {name}_text", f"TRY(of_decimal(CAST({name} AS VARCHAR))) AS {name}"]
    raise TypeError(f"{kind}, where a time is needed; of a day and a clock: at_clock(day, hhmmss(clock))")


def _uuid(name: str, kind: str) -> list[str]:
    if kind == "UUID":
        return [name]
    if kind == "VARCHAR":
        return [f"{name} AS {name}_text", f"TRY_CAST({name} AS UUID) AS {name}"]
    raise TypeError(f"{kind}, where a UUID is needed")


def _text(name: str, kind: str) -> list[str]:
    if name == "trade_conditions" and kind.endswith("[]"):
        return [f"array_to_string(CAST({name} AS VARCHAR[]), chr(31)) AS {name}"]
    if kind == "VARCHAR":
        return [name]
    if kind in _WHOLE or kind.startswith("ENUM"):
        return [f"CAST({name} AS VARCHAR) AS {name}"]
    raise TypeError(f"{kind}, where a text is needed")


def _apart(feed: Feed, known: list[str]) -> list[str]:
    """Columns that tell two trades apart where nothing identifies one.

    Of a file all, for trades may differ in one that is no field of a trade, and how many are alike before it; neither
    where it is in which file. Of a topic its place.
    """
    if feed.identity != "look-alikes":
        return []
    if feed.source.is_of_files:
        return ["_alike", *(name for name in known if name not in (*INNER, "_alike", "file_name", "line"))]
    return ["kafka_partition", "kafka_offset", "_index"]


def _ids(feed: Feed, bound: Mapping[str, Bound], apart: Sequence[str]) -> list[str]:
    """The columns that ids are made of, see `k2ctl.feeds.mapping.identity`."""
    if feed.identity == "message-id":
        return ["CAST(refers_to_0 AS VARCHAR) AS refers_to_text"] if feed.refers_to else []
    if feed.identity == "look-alikes":
        names = [name for name in bound if name not in ("where", "ingestion_timestamp")]
        names += [f"{_APART}{at}" for at in range(len(apart))]
        parts = [f"COALESCE(CAST({name} AS VARCHAR), '')" for name in names]
        return [f"md5_number(concat_ws(chr(31), {', '.join(parts)})) AS identity_digest"]
    return _id("identity", bound) + (_id("refers_to", bound) if feed.refers_to else [])


def _id(name: str, bound: Mapping[str, Bound]) -> list[str]:
    """One whole number that is written as such is a number; anything else is known by a digest."""
    parts = [part for part in bound if part.startswith(f"{name}_")]
    texts = [f"CAST({part} AS VARCHAR)" for part in parts]
    number = "NULL::BIGINT"
    if len(parts) == 1:
        whole = bound[parts[0]].type in _WHOLE
        number = (
            f"IF({parts[0]} >= 0, TRY_CAST({parts[0]} AS BIGINT), NULL)" if whole else f"written_as_number({texts[0]})"
        )
    there = " AND ".join(f"{part} IS NOT NULL" for part in parts)
    digest = f"md5_number(concat_ws(chr(31), exchange, symbol, {', '.join(texts)}))"
    return [f"{number} AS {name}_number", f"IF({there} AND {number} IS NULL, {digest}, NULL) AS {name}_digest"]
