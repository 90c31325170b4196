"""Every type that a SELECT can give, through every format: exact, and the same text in CSV as in JSON."""

import csv
import io
import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from k2ctl.errors import UsageError
from k2ctl.query.carried import carried
from k2ctl.query.formats import WRITERS, text_column
from k2ctl.views.query import rows_table

CONNECTION = duckdb.connect()
CONNECTION.execute("SET timezone = 'UTC'")


def written(form: str, value: str) -> bytes:
    """One row with one column `v`, in a format."""
    sink = io.BytesIO()
    WRITERS[form](carried(CONNECTION.sql(f"SELECT {value} AS v")).to_arrow_reader(100), sink)
    return sink.getvalue()


def as_json(value: str) -> Any:
    [row] = json.loads(written("json", value))
    return row["v"]


def as_csv(value: str) -> str:
    name, [text] = list(csv.reader(io.StringIO(written("csv", value).decode(), newline="")))
    assert name == ["v"]
    return text


class Made(NamedTuple):
    """sql: a value as DuckDB's SQL. kind: its type. right: what JSON has to say."""

    sql: str
    kind: str
    right: Any


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def of(kind: str, values: st.SearchStrategy[Any], text: Any, right: Any) -> st.SearchStrategy[Made]:
    return values.map(lambda value: Made(f"CAST({quoted(text(value))} AS {kind})", kind, right(value)))


def plain(value: Decimal) -> str:
    """Without an exponent and without zeros that do not count, by digits alone."""
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).rjust(1 - exponent, "0")
    whole, fraction = (text[:exponent], text[exponent:].rstrip("0")) if exponent else (text, "")
    return ("-" if sign and value else "") + whole.lstrip("0").rjust(1, "0") + ("." + fraction if fraction else "")


def micros(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds")


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))
LEAVES = st.one_of(
    of("DECIMAL(38,9)", st.decimals(-(10**28), 10**28, places=9), str, plain),
    of("DECIMAL(18,8)", st.decimals(-(10**9), 10**9, places=8), str, plain),
    of("HUGEINT", st.integers(-(2**127) + 1, 2**127 - 1), str, str),
    of("UHUGEINT", st.integers(0, 2**128 - 1), str, str),
    of("BIGINT", st.integers(-(2**63), 2**63 - 1), str, int),
    of("UBIGINT", st.integers(0, 2**64 - 1), str, int),
    of("DOUBLE", st.floats(allow_nan=False, allow_infinity=False), repr, float),
    of("BOOLEAN", st.booleans(), str, bool),
    of("VARCHAR", TEXTS, str, str),
    of("UUID", st.uuids(), str, str),
    of("DATE", st.dates(date(1, 1, 1)), str, date.isoformat),
    of("TIME", st.times(), str, lambda value: time.isoformat(value, "microseconds")),
    of("TIMESTAMP", MOMENTS, str, micros),
    of("TIMESTAMPTZ", MOMENTS, lambda moment: f"{moment}+00", lambda moment: micros(moment) + "Z"),
    of("BIT", st.text("01", min_size=1, max_size=20), str, str),
    st.binary(max_size=9).map(lambda value: Made(f"from_hex('{value.hex()}')", "BLOB", value.hex())),
    st.sampled_from(["INTEGER", "DECIMAL(38,20)", "UHUGEINT"]).map(lambda kind: Made(f"NULL::{kind}", kind, None)),
)


def listed(inner: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
    return inner.flatmap(
        lambda made: st.integers(0, 3).map(
            lambda count: Made(
                f"CAST([{', '.join([made.sql] * count)}] AS {made.kind}[])", f"{made.kind}[]", [made.right] * count
            )
        )
    )


def structured(inner: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
    return st.tuples(inner, inner).map(
        lambda both: Made(
            f"{{'a b': {both[0].sql}, '\"': {both[1].sql}}}",
            f'STRUCT("a b" {both[0].kind}, """" {both[1].kind})',
            {"a b": both[0].right, '"': both[1].right},
        )
    )


def mapped(inner: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
    return st.tuples(TEXTS, inner).map(
        lambda both: Made(
            f"MAP {{{quoted(both[0])}: {both[1].sql}}}", f"MAP(VARCHAR, {both[1].kind})", {both[0]: both[1].right}
        )
    )


VALUES = st.recursive(LEAVES, lambda inner: listed(inner) | structured(inner) | mapped(inner), max_leaves=4)


@given(VALUES)
def test_json_has_every_value_to_its_last_digit(made: Made) -> None:
    assert as_json(made.sql) == made.right


@given(VALUES)
def test_csv_has_the_text_that_json_has(made: Made) -> None:
    if isinstance(made.right, str):
        assert as_csv(made.sql) == made.right
    else:
        assert as_csv(made.sql) == ("" if made.right is None else written("json", made.sql)[7:-4].decode())


@given(VALUES)
def test_parquet_and_arrow_hold_what_the_query_gave(made: Made) -> None:
    table = carried(CONNECTION.sql(f"SELECT {made.sql} AS v")).to_arrow_table()
    assert pq.read_table(io.BytesIO(written("parquet", made.sql))).to_pylist() == table.to_pylist()
    assert pa.ipc.open_file(written("arrow", made.sql)).read_all() == table
    assert pa.ipc.open_stream(written("arrows", made.sql)).read_all() == table


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ("12345678901234567890123456789.123456789::DECIMAL(38,9)", "12345678901234567890123456789.123456789"),
        ("0.1::FLOAT", 0.1),
        ("'nan'::DOUBLE", "NaN"),
        ("'-infinity'::FLOAT", "-Infinity"),
        ("'infinity'::TIMESTAMP", "infinity"),
        ("'-infinity'::TIMESTAMPTZ", "-infinity"),
        ("'infinity'::DATE", "infinity"),
        ("'294247-01-10'::DATE", "+294247-01-10"),
        ("'44-03-15 (BC)'::DATE", "-0043-03-15"),
        ("'10000-01-01 00:00:00+00'::TIMESTAMPTZ", "+10000-01-01T00:00:00.000000Z"),
        ("'2020-01-01 00:00:00.123456789'::TIMESTAMP_NS", "2020-01-01T00:00:00.123456789"),
        ("'2020-01-01 00:00:00.123'::TIMESTAMP_MS", "2020-01-01T00:00:00.123"),
        ("'2020-01-01'::TIMESTAMP_S", "2020-01-01T00:00:00"),
        ("'24:00:00'::TIME", "24:00:00.000000"),
        ("'12:00:00+05:30'::TIMETZ", "12:00:00+05:30"),
        ("INTERVAL '1 year 2 months 3 days 04:05:06.789'", "P1Y2M3DT4H5M6.789S"),
        ("INTERVAL '-1 month 5 days -00:00:01.5'", "P-1M5DT-1.5S"),
        ("INTERVAL '0 days'", "PT0S"),
        ("[INTERVAL '1 day']", ["P1D"]),
        ("union_value(price := 1.50)", "1.5"),
        ("'b'::ENUM('a', 'b')", "b"),
        ("1234567890123456789012345678901234567890123::BIGNUM", "1234567890123456789012345678901234567890123"),
        ("'POINT(1 2)'::GEOMETRY", "POINT (1 2)"),
        ("MAP {[1, 2]: DATE '2020-01-01'}", {"[1,2]": "2020-01-01"}),
        ("[340282366920938463463374607431768211455::UHUGEINT]", ["340282366920938463463374607431768211455"]),
        ("[1, 2]::INTEGER[2]", [1, 2]),
        ("NULL", None),
    ],
)
def test_a_type_of_its_own_has_one_text(value: str, right: Any) -> None:
    assert as_json(value) == right
    if isinstance(right, str):
        assert as_csv(value) == right


def test_a_slice_of_nested_values_has_the_rows_of_the_slice() -> None:
    rows = CONNECTION.sql(
        "SELECT [n, n + 1] AS l, {'n': n} AS s, MAP {n: n} AS m, [n, n]::BIGINT[2] AS f FROM range(9) AS t(n)"
    ).to_arrow_table()
    assert [text_column(column) for column in rows.slice(4, 2).columns] == [
        ["[4,5]", "[5,6]"],
        ['{"n":4}', '{"n":5}'],
        ['{"4":4}', '{"5":5}'],
        ["[4,4]", "[5,5]"],
    ]


def test_an_empty_text_and_no_text_are_not_the_same_in_csv() -> None:
    sink = io.BytesIO()
    WRITERS["csv"](CONNECTION.sql("SELECT '' AS a, NULL AS b, 'x' AS c").to_arrow_table(), sink)
    assert sink.getvalue() == b'a,b,c\n"",,x\n'


def test_a_row_of_one_null_is_no_empty_line() -> None:
    assert written("csv", "NULL::VARCHAR") == b'v\n""\n'


def test_two_columns_of_one_name_are_distinguished() -> None:
    sink = io.BytesIO()
    WRITERS["json"](carried(CONNECTION.sql("SELECT 1 AS a, 2 AS a, 3 AS a_1")).to_arrow_reader(100), sink)
    assert json.loads(sink.getvalue()) == [{"a": 1, "a_2": 2, "a_1": 3}]


@pytest.mark.parametrize("value", ["INTERVAL '1 day'", "union_value(n := 1)", "'infinity'::TIMESTAMP_S"])
def test_parquet_refuses_what_it_cannot_hold(value: str) -> None:
    with pytest.raises(UsageError, match="Parquet"):
        written("parquet", value)


def test_a_longer_interval_than_arrow_counts_is_refused_and_not_cut() -> None:
    assert as_json("INTERVAL '2000000 hours'") == "PT2000000H"
    with pytest.raises(duckdb.Error, match="cast it to VARCHAR"):
        written("json", "INTERVAL '3000000 hours'")


@given(st.timedeltas(timedelta(0), timedelta(days=9)))
def test_an_interval_is_an_iso_duration(length: timedelta) -> None:
    days, seconds = length.days, Decimal(length.seconds) + Decimal(length.microseconds).scaleb(-6)
    text = as_json(f"to_days({days}) + to_microseconds({int(seconds * 10**6)})")
    dated, _, clock = text.removeprefix("P").partition("T")
    found = Decimal(0)
    for unit, sign in ((3600, "H"), (60, "M"), (1, "S")):
        number, there, rest = clock.partition(sign)
        found, clock = (found + Decimal(number) * unit, rest) if there else (found, clock)
    assert (dated or "0D") == f"{days}D"
    assert found == seconds
    assert clock == ""


@pytest.mark.parametrize("scale", [0, 1, 12, 24, 37, 38])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_decimal_of_38_digits_is_whole_in_every_text(scale: int, sign: str) -> None:
    digits = "12345678901234567890123456789012345678"
    whole, fraction = digits[: 38 - scale], digits[38 - scale :]
    right = f"{sign}{whole or '0'}{'.' if fraction else ''}{fraction}"
    value = f"CAST('{right}' AS DECIMAL(38,{scale}))"
    assert (as_json(value), as_csv(value)) == (right, right)
    canvas = Console(width=100, file=io.StringIO())
    with canvas.capture() as captured:
        canvas.print(rows_table(carried(CONNECTION.sql(f"SELECT {value} AS v")).to_arrow_table(), 100).table)
    assert captured.get().split() == ["v", right]
