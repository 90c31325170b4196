"""`k2ctl query recent` as people and scripts use it."""

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2ctl.cli import main
from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.decimals import as_decimal, of_int64
from k2ctl.domain.topics import trades_topic
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.errors import ExitCode
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.writer import TableWriter
from tests.made_trades import BASE_US, make_rows, make_trades, produce_trades
from tests.support.cli import called
from tests.support.platforms import with_lake

TOPIC = trades_topic("equities", "ASX")


@pytest.fixture
def trades(embedded_stack: Endpoints, home: Path) -> np.ndarray:
    """100 trades, 60 of them in the lake, behind the command line."""
    endpoints = with_lake(embedded_stack, home)
    save_endpoints(endpoints)
    made = make_trades(100)
    made["symbol"], made["price"] = b"BHP", of_int64(45_123_450_000_000 + np.arange(100))
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(TOPIC, 4)
    with Lake.at(endpoints) as lake:
        TableWriter(lake, SystemClock()).commit(
            [make_rows(made, topic="another.topic")],
            {TopicPartition("another.topic", "e", 0): OffsetDelta(0, 100, Counts(100, 100))},
        )
    return made


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    return called(capsys, "query", "recent", *arguments)


def test_json_is_a_list_of_rows_with_exact_prices(trades: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "BHP", "--window", "all", "--format", "json")
    rows = json.loads(out)
    assert code == ExitCode.OK
    assert len(rows) == 100
    newest = rows[0]
    assert (newest["price"], newest["quantity"]) == ("45.123450000099", str(1 + 99 % 13))
    assert UUID(newest["message_id"]).bytes == bytes(trades["message_id"][99])
    assert datetime.fromisoformat(newest["timestamp"]).timestamp() * 1e6 == BASE_US + 99_000
    assert "100 from the lake, 0 from the stream" in err
    assert "complete" in err


def test_csv_has_the_same_texts(trades: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "BHP", "--window", "all", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    expected = [as_decimal(price) for price in trades["price"][::-1]]
    assert [Decimal(row["price"]) for row in rows] == expected


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_binary_formats_keep_decimals(trades: np.ndarray, tmp_path: Path, form: str) -> None:
    file = tmp_path / f"trades.{form}"
    assert main(["query", "recent", "BHP", "--window", "all", "--format", form, "-o", str(file)]) == ExitCode.OK
    table = pq.read_table(file) if form == "parquet" else pa.ipc.open_file(file.read_bytes()).read_all()
    assert table.column("price").type == pa.decimal128(38, 12)
    assert table.column("price").to_pylist() == [as_decimal(price) for price in trades["price"][::-1]]
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_a_binary_format_goes_to_a_pipe(trades: np.ndarray, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["query", "recent", "BHP", "--window", "all", "--format", "arrow"]) == ExitCode.OK
    assert len(pa.ipc.open_file(capfdbinary.readouterr().out).read_all()) == 100
    assert main(["query", "recent", "BHP", "--window", "all", "--format", "arrows"]) == ExitCode.OK
    assert len(pa.ipc.open_stream(capfdbinary.readouterr().out).read_all()) == 100


def test_a_table_shows_the_newest_twenty_in_eighty_columns(
    trades: np.ndarray, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run(capsys, "BHP", "--window", "all")
    lines = out.splitlines()
    assert code == ExitCode.OK
    assert len(lines) == 21
    assert "45.123450000099" in lines[1]
    assert max(map(len, lines)) <= 80
    assert "older ones cut by the limit" in err


def test_since_and_until_are_utc_times(trades: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    base = datetime.fromtimestamp(BASE_US / 1e6, UTC)
    since = base.replace(microsecond=90_000).isoformat()
    until = base.replace(microsecond=95_000, tzinfo=None).isoformat()
    _, out, _ = run(capsys, "BHP", "--since", since, "--until", until, "--format", "json")
    assert [row["trade_id"] for row in json.loads(out)] == [94, 93, 92, 91, 90]


def test_a_window_without_trades_is_an_empty_list_and_says_when_the_last_was(
    trades: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "BHP", "--format", "json")
    assert code == ExitCode.OK
    assert json.loads(out) == []
    assert "its last was at 2023-11-14 22:13:20 UTC" in err


def test_an_unknown_symbol_fails_with_the_nearest_names(trades: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "bhpx", "--format", "json")
    assert code == ExitCode.FAILED
    assert out == ""
    assert "Did you mean BHP?" in err


def test_the_stream_counts_before_any_consumer_ran(
    embedded_stack: Endpoints, trades: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    produce_trades(embedded_stack, TOPIC, make_trades(20, start=1000))
    code, out, err = run(capsys, "S05", "--window", "all", "--format", "json")
    assert code == ExitCode.OK
    assert [row["trade_id"] for row in json.loads(out)] == [1005]
    assert "0 from the lake, 1 from the stream" in err


def test_the_lake_alone_is_marked_incomplete(trades: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "BHP", "--window", "all", "--lake-only", "--format", "csv")
    assert code == ExitCode.OK
    assert "incomplete: the stream was not read" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["BHP", "--window", "soon"],
        ["BHP", "--since", "yesterday"],
        ["BHP", "--window", "5m", "--since", "2014-03-10"],
        ["BHP", "--since", "2014-03-11", "--until", "2014-03-10"],
        ["BHP", "--limit", "-1"],
        ["BHP", "--limit", "many"],
        ["BHP", "--format", "xml"],
        ["BHP", "-o", "trades.txt"],
        [],
    ],
)
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *arguments)
    assert code == ExitCode.USAGE
    assert out == ""
    assert err


def test_a_file_that_cannot_be_written_is_a_clear_line(trades: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "BHP", "--window", "all", "--format", "csv", "-o", "/nowhere/trades.csv")
    assert code == ExitCode.FAILED
    assert "/nowhere/trades.csv cannot be written: No such file or directory" in err


def test_without_a_stack_the_next_step_is_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "BHP")
    assert code == ExitCode.UNHEALTHY
    assert out == ""
    assert "k2ctl stack up" in err
