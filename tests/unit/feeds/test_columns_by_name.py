"""Columns that a feed only names become the same trades without DuckDB as by the feed's SELECT."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2ctl.domain.trade import ACTIONS, ASSET_CLASSES, SIDES
from k2ctl.errors import ProfileError
from k2ctl.feeds.mapping import by_name
from k2ctl.feeds.mapping.mapping import Mapped, Mapping, Prepared
from k2ctl.profiles.feed import feed_of

FIELDS = (
    "symbol", "exchange", "currency", "asset_class", "timestamp", "ingestion_timestamp", "price", "quantity", "side",
    "trade_conditions", "trade_id", "source_sequence", "action",
)  # fmt: skip
IDENTITIES = {
    "message-id": "identity: message-id",
    "number": "identity: [message_id]",
    "refers": "identity: message-id\nrefers_to: [other]",
}


@cache
def mapping(identity: str, unit: str = "auto") -> Mapping:
    """A feed that names a column `c_NAME` for each field, and gives one as a text."""
    named = [*FIELDS, *(["message_id"] if identity != "number" else [])]
    fields = "\n".join(f"  {name}: c_{name}" for name in named if name != "exchange")
    source = f"source: {{format: avro, time_unit: {unit}}}"
    rest = IDENTITIES[identity].replace("[message_id]", "[c_message_id]").replace("other", "c_other")
    return Mapping(
        feed_of("mine", "mine.yaml", f"description: d\n{source}\ntrade:\n{fields}\n  exchange: '''V'''\n{rest}")
    )


def parts(found: Mapped) -> tuple[Any, ...]:
    refused = [(one.record, one.index, one.reason) for one in found.refused]
    return found.trades.tobytes(), found.record.tolist(), found.index.tolist(), refused, found.bad.tolist()


def typed(
    kind: pa.DataType, values: st.SearchStrategy[Any]
) -> st.SearchStrategy[tuple[pa.DataType, st.SearchStrategy[Any]]]:
    return st.just((kind, values | st.none()))


WORDS = ["", "é", "x" * 40, "[]", "{}", "a b", "a\0", "\n"]
NUMBERS = (
    st.sampled_from(["0", "1", "-1", "1.", ".5", "007", "1e5", "NaN", "1_0", "", " 5", "1.2.3", "+1", "0x10", "101.25"])
    | st.integers(0, 2**65).map(str)
    | st.decimals(0, 10**16, allow_nan=False, places=9).map(lambda number: f"{number:f}")
)
INSTANTS = (
    st.datetimes(datetime(1900, 1, 1), datetime(2400, 1, 1)).map(lambda moment: f"{moment.isoformat()}Z")
    | st.sampled_from(["2026-02-30T00:00:00Z", "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00+01:00"])
    | NUMBERS
)


def texts(values: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return typed(pa.large_string(), values) | typed(pa.string(), values)


def of_names(names: Sequence[str]) -> st.SearchStrategy[Any]:
    some = st.sampled_from([*names, names[0].lower(), *WORDS])
    return texts(some) | typed(pa.dictionary(pa.int32(), pa.string()), st.sampled_from([*names, "x"]))


WHOLES = st.sampled_from(
    [
        (pa.int64(), -(2**63), 2**63 - 1),
        (pa.int32(), -(2**31), 2**31 - 1),
        (pa.uint64(), 0, 2**64 - 1),
        (pa.uint8(), 0, 255),
    ]
).map(lambda one: (one[0], st.integers(one[1], one[2]) | st.integers(0, 100) | st.none()))
DECIMALS = (
    texts(NUMBERS)
    | WHOLES
    | typed(pa.float64(), st.floats() | st.sampled_from([0.1, 101.25, 1e-7, 123456.78]))
    | typed(pa.float32(), st.floats(width=32))
    | typed(pa.decimal128(18, 8), st.decimals(-(10**9), 10**9, places=8))
    | typed(pa.decimal128(38, 4), st.decimals(-(10**30), 10**30, places=4))
    | typed(pa.decimal128(38, 14), st.decimals(-(10**9), 10**9, places=14))
)
MOMENTS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999) | st.integers(0, 2**52)
TIMES = (
    texts(INSTANTS)
    | WHOLES
    | typed(pa.timestamp("us", "UTC"), MOMENTS)
    | typed(pa.timestamp("ns", "UTC"), st.integers(2 - 2**63, 2**63 - 2))
    | typed(pa.timestamp("us"), MOMENTS)
    | typed(pa.float64(), st.floats(0, 1e12))
)
UUIDS = st.uuids().map(str)
IDS = texts(UUIDS | UUIDS.map(str.upper) | UUIDS.map(lambda text: text.replace("-", "")) | NUMBERS)
UUID_BYTES = typed(pa.uuid(), st.uuids().map(lambda one: one.bytes))
COLUMNS = {
    "symbol": of_names(["BHP", "A"]),
    "currency": of_names(["AUD"]),
    "asset_class": of_names(ASSET_CLASSES),
    "side": of_names(SIDES),
    "action": of_names(ACTIONS),
    "trade_conditions": of_names(["A B", '["A", 1]', "XT"]),
    "timestamp": TIMES,
    "ingestion_timestamp": TIMES,
    "price": DECIMALS,
    "quantity": DECIMALS,
    "trade_id": texts(NUMBERS) | WHOLES,
    "source_sequence": texts(NUMBERS) | WHOLES,
}
PLAIN: dict[str, Any] = {
    "symbol": pa.array(["BHP"]), "currency": pa.array(["AUD"]), "asset_class": pa.array(["equities"]),
    "side": pa.array(["BUY"]), "action": pa.array(["NEW"]), "trade_conditions": pa.array([""]),
    "timestamp": pa.array([1_700_000_000_123]), "ingestion_timestamp": pa.array([datetime(2026, 1, 1, tzinfo=UTC)]),
    "price": pa.array([Decimal("1.25")]), "quantity": pa.array([7]), "trade_id": pa.array([7]),
    "source_sequence": pa.array([None], pa.int64()), "message_id": pa.array([str(uuid.UUID(int=7))]),
    "other": pa.array([None], pa.string()),
}  # fmt: skip


def table(columns: dict[str, pa.Array], count: int, bad: Sequence[bool] = ()) -> Prepared:
    """Rows with some columns; the others have the same in each row."""
    filled = {name: pa.concat_arrays([one] * count) for name, one in PLAIN.items()} | columns
    return Prepared(
        pa.table(
            {
                **{f"c_{name}": one for name, one in filled.items()},
                "_record": np.arange(count),
                "_index": np.zeros(count, np.int32),
                "_bad": pa.array([*bad, *[False] * (count - len(bad))]),
            }
        )
    )


def array(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if kind == pa.uuid():
        return pa.ExtensionArray.from_storage(kind, pa.array(values, pa.binary(16)))
    return pa.array(values, kind)


@settings(max_examples=60)
@given(data=st.data(), identity=st.sampled_from(list(IDENTITIES)), unit=st.sampled_from(["auto", "ms", "ns"]))
def test_any_columns_are_read_as_by_the_select(data: st.DataObject, identity: str, unit: str) -> None:
    ids = texts(NUMBERS) | WHOLES if identity == "number" else IDS | UUID_BYTES
    others = texts(UUIDS | st.just("x"))
    drawn, count = {**COLUMNS, "message_id": ids, "other": others}, data.draw(st.integers(1, 6))
    columns = {}
    for name in data.draw(st.lists(st.sampled_from(list(drawn)), min_size=1, max_size=3, unique=True)):
        kind, values = data.draw(drawn[name])
        columns[name] = array(kind, data.draw(st.lists(values, min_size=count, max_size=count)))
    if identity == "number" and "message_id" not in columns:
        columns["message_id"] = pa.array(np.arange(count))
    rows = table(columns, count, data.draw(st.lists(st.booleans(), max_size=count)) if data.draw(st.booleans()) else ())
    feed = mapping(identity, unit)
    try:
        exact = parts(feed._selected(rows))
    except ProfileError:
        with pytest.raises(ProfileError):
            feed.trades(rows)
        return
    assert parts(feed.trades(rows)) == exact


@pytest.mark.parametrize("kind", [pa.timestamp("us", "UTC"), pa.timestamp("us")], ids=str)
def test_a_time_whose_nanoseconds_are_beyond_64_bits_refuses_its_trade_alone(kind: pa.DataType) -> None:
    moments = pa.array([1_767_225_600_000_000, 32_503_680_000_000_000], kind)
    found = mapping("message-id").trades(table({"timestamp": moments}, 2))
    assert found.record.tolist() == [0]
    assert [(one.record, one.reason) for one in found.refused] == [(1, "timestamp is missing")]


def test_columns_that_are_only_named_need_no_duckdb() -> None:
    feed = Mapping(mapping("message-id").declared)
    feed.check(table({}, 3))
    assert len(feed.trades(table({}, 3)).trades) == 3
    assert "_connection" not in feed.__dict__


def test_a_word_of_sql_is_left_to_duckdb() -> None:
    keywords = duckdb.sql(
        "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function')"
    ).fetchall()
    assert {word for (word,) in keywords} == by_name._NO_COLUMN
