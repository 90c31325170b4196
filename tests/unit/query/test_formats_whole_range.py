"""Whatever a trade may have, in every format of an answer: to the last digit, each time as one text."""

import csv
import io
import json
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from rich.console import Console

from k2ctl.domain.conditions import unpack
from k2ctl.domain.decimals import as_int
from k2ctl.domain.rows import arrow_schema, trades_of
from k2ctl.domain.trade import NEW, NO_SEQUENCE
from k2ctl.query.formats import WRITERS
from k2ctl.query.texts import with_nanoseconds
from k2ctl.views.query import trades_table
from tests.made_trades import make_rows
from tests.support.any_trades import any_trades

TEXTS = ("symbol", "exchange", "currency")


def answer_of(trades: np.ndarray) -> pa.Table:
    return make_rows(trades).to_arrow().cast(arrow_schema())


def written(form: str, table: pa.Table) -> bytes:
    sink = io.BytesIO()
    WRITERS[form](table, sink)
    return sink.getvalue()


def plain(mantissa: int) -> str:
    """Whole numbers of 10^-12, by their digits alone."""
    digits = f"{abs(mantissa):013d}"
    fraction = digits[-12:].rstrip("0")
    return ("-" if mantissa < 0 else "") + digits[:-12] + ("." + fraction if fraction else "")


def time_text(nanoseconds: int) -> str:
    second = str(np.datetime64(nanoseconds // 10**9, "s"))
    digits = f"{nanoseconds % 10**9:09d}"
    return f"{second}.{digits[:6] if digits.endswith('000') else digits}Z"


def expected(trade: np.void) -> dict[str, object]:
    """What JSON says of a trade."""
    sequence = int(trade["source_sequence"])
    return {
        "message_id": str(uuid.UUID(bytes=bytes(trade["message_id"]))),
        "trade_id": int(trade["trade_id"]),
        **{name: trade[name].decode() for name in TEXTS},
        "timestamp": time_text(int(trade["event_ns"])),
        "ingestion_timestamp": time_text(int(trade["received_ns"])),
        "price": plain(as_int(trade["price"])),
        "quantity": plain(as_int(trade["quantity"])),
        "trade_conditions": unpack(bytes(trade["trade_conditions"])),
        "source_sequence": None if sequence == NO_SEQUENCE else sequence,
        "refers_to": None if trade["action"] == NEW else str(uuid.UUID(bytes=bytes(trade["refers_to"]))),
    }


@given(trades=any_trades())
def test_json_says_all_of_a_trade(trades: np.ndarray) -> None:
    rows = json.loads(written("json", with_nanoseconds(answer_of(trades))))
    assert [{name: row[name] for name in expected(trades[0])} for row in rows] == [*map(expected, trades)]
    assert not any("nanos" in name for name in rows[0])


@given(trades=any_trades())
def test_csv_says_the_same_as_json(trades: np.ndarray) -> None:
    table = with_nanoseconds(answer_of(trades))
    rows = list(csv.DictReader(io.StringIO(written("csv", table).decode(), newline="")))
    for row, objects in zip(rows, json.loads(written("json", table)), strict=True):
        for name, value in objects.items():
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            assert row[name] == ("" if value is None else value if isinstance(value, str) else text)


@pytest.mark.parametrize("form", ["parquet", "arrow", "arrows"])
@given(trades=any_trades())
def test_binary_formats_hold_the_trades_themselves(form: str, trades: np.ndarray) -> None:
    content = pa.BufferReader(written(form, answer_of(trades)))
    open_as = {"parquet": pq.read_table, "arrow": pa.ipc.open_file, "arrows": pa.ipc.open_stream}[form]
    found = open_as(content)
    table = found if isinstance(found, pa.Table) else found.read_all()
    again = b"".join(trades_of(batch).tobytes() for batch in table.cast(arrow_schema()).to_batches())
    assert again == trades.tobytes()


@given(trades=any_trades(most=2))
def test_the_table_shows_every_digit(trades: np.ndarray) -> None:
    canvas = Console(width=400, file=io.StringIO())
    with canvas.capture() as captured:
        canvas.print(trades_table(with_nanoseconds(answer_of(trades)), 400).table)
    _, *lines = captured.get().splitlines()
    for trade, line in zip(trades, lines, strict=True):
        row = expected(trade)
        for name in ("price", "quantity"):
            assert any(_same(word, str(row[name])) for word in line.split()), (name, row[name], line)
        shown = str(row["timestamp"]).removesuffix("Z").replace("T", " ")
        assert line.startswith(shown.rstrip("0").rstrip("."))


def _same(word: str, decimal: str) -> bool:
    """The same number, with zeros behind the point."""
    return word == decimal or ("." in word and word.rstrip("0").rstrip(".") == decimal)
