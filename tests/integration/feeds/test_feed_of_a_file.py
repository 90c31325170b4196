"""`k2ctl feed guess` and `check` on files: no stack runs."""

import gzip
import json
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2ctl.profiles.feed import feed_of
from tests.support.cli import called

BINANCE = "\n".join(f"{4435512345 + n},42313.1{n},0.00{n},126.9,{1735689600010866 + n},true,true" for n in range(1, 6))
SEMICOLONS = "\n".join(
    ["Trade Time;Instrument;Trade Price;Trade Size;Buy/Sell;Deal No"]
    + [f"2024-01-02 10:00:0{n}.123456;DE000{n};{n}.5;{100 * n};{'B' if n % 2 else 'S'};X{n}" for n in range(1, 6)]
)


def guessed(capsys: pytest.CaptureFixture[str], target: Path, folder: Path) -> tuple[str, Path]:
    """The YAML that is written for a file, and where it is saved."""
    code, out, err = called(capsys, "feed", "guess", str(target))
    assert (code, "k2ctl feed check" in err) == (0, True)
    path = folder / "my.yaml"
    path.write_text(out)
    return out, path


def checked(capsys: pytest.CaptureFixture[str], target: Path, feed: Path | str) -> tuple[int, dict[str, Any]]:
    code, out, _ = called(capsys, "feed", "check", str(target), "--feed", str(feed), "--json")
    return code, json.loads(out)


def trades(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [one["trade"] for one in document["first"]]


def test_a_file_in_a_venues_layout_is_of_the_shipped_feed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "BTCUSDT-trades-2025-01-01.csv"
    target.write_text(BINANCE)
    text, path = guessed(capsys, target, tmp_path)
    assert "The shipped feed binance-trades fits: 5 trades" in text
    code, document = checked(capsys, target, path)
    assert (code, document["trades"]) == (0, 5)
    assert trades(document)[0]["timestamp"] == "2025-01-01T00:00:00.010867Z"


def test_a_file_of_a_venue_under_another_name_says_whose_layout_it_may_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "mine.csv"
    target.write_text(BINANCE)
    text, path = guessed(capsys, target, tmp_path)
    assert "may be that of" in text
    assert "binance-trades" in text
    feed = feed_of("my", "my.yaml", text).feed
    assert (feed.source.header, feed.trade.trade_id, feed.trade.price) == (False, "trade_id", "price")
    assert checked(capsys, target, path)[1]["trades"] == 5
    target.write_text("34200.017459617,5,0,1,2238200,-1\n")
    code, _, err = called(capsys, "feed", "guess", str(target))
    assert (code, "looks like a time" in err, "--feed lobster" in err) == (1, True, True)
    said = ["--column", "date=2024-01-02", "--column", "symbol=AAPL"]
    _, out, _ = called(capsys, "feed", "guess", str(target), *said)
    assert "lobster" in out.partition("description:")[0]
    code, out, _ = called(capsys, "feed", "check", str(target), "--feed", "lobster", *said, "--json")
    assert (code, trades(json.loads(out))[0]["symbol"]) == (0, "AAPL")
    assert called(capsys, "feed", "check", str(target), "--feed", "lobster", "--column", "date")[0] == 2


@pytest.mark.parametrize("packed", ["plain", "gz", "zip"])
def test_a_csv_of_nobody_is_a_feed_that_its_check_accepts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], packed: str
) -> None:
    target = tmp_path / ("prints.csv" if packed == "plain" else f"prints.csv.{packed}")
    if packed == "zip":
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("prints.csv", SEMICOLONS)
    else:
        target.write_bytes(gzip.compress(SEMICOLONS.encode()) if packed == "gz" else SEMICOLONS.encode())
    text, path = guessed(capsys, target, tmp_path)
    source = feed_of("my", "my.yaml", text).feed.source
    assert (source.delimiter, source.zone) == (";", "UTC")
    code, document = checked(capsys, target, path)
    assert (code, document["trades"], document["ids"]["distinct"]) == (0, 5, 5)
    first = trades(document)[0]
    assert (first["symbol"], first["price"], first["quantity"], first["side"]) == ("DE0001", "1.5", "100", "BUY")
    assert first["timestamp"] == "2024-01-02T10:00:01.123456Z"


def test_lines_of_json_are_a_feed_that_its_check_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "prints.ndjson"
    records = [{"px": 1.25 + n, "amt": 3, "instrument": "BHP", "when": f"2024-01-02T03:04:0{n}Z", "no": n,
                "size": 7, "timestamp": f"2024-01-02T03:04:0{n}+11:00"} for n in range(5)]  # fmt: skip
    target.write_text("\n".join(map(json.dumps, records)))
    _, path = guessed(capsys, target, tmp_path)
    code, document = checked(capsys, target, path)
    assert (code, document["trades"]) == (0, 5)
    assert (trades(document)[1]["timestamp"], trades(document)[1]["price"]) == ("2024-01-01T16:04:01Z", "2.25")


def test_what_somebody_wrote_down_of_a_venues_stream_is_its_feed_for_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "stream.json"
    trade = {"e": "trade", "E": 1735689600011, "s": "BTCUSDT", "p": "0.1", "q": "5", "T": 1735689600010, "m": True,
             "M": True}  # fmt: skip
    target.write_text("\n".join(json.dumps({**trade, "t": number}) for number in range(9)))
    text, path = guessed(capsys, target, tmp_path)
    assert "binance-websocket fits" in text
    assert checked(capsys, target, path)[1]["trades"] == 9


def test_a_parquet_with_types_is_a_feed_that_its_check_accepts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "prints.parquet"
    columns = {
        "Trade Price": pa.array([1.5, 2.25]),
        "Trade Volume": pa.array([100, 200]),
        "ticker": pa.array(["SPY", "QQQ"]),
        "executed_at": pa.array([datetime(2024, 1, 2, 3, 4, 5, 678901)] * 2, pa.timestamp("us")),
        "is_buy": pa.array([True, False]),
        "trade_id": pa.array([1, 2]),
    }
    pq.write_table(pa.table(columns), target)
    text, path = guessed(capsys, target, tmp_path)
    assert '"Trade Price"' in text.replace("\\", "")
    code, document = checked(capsys, target, path)
    assert (code, [one["side"] for one in trades(document)]) == (0, ["BUY", "SELL"])
    assert trades(document)[1]["price"] == "2.25"
    assert trades(document)[0]["timestamp"] == "2024-01-02T03:04:05.678901Z"


def test_a_line_that_fails_is_shown_as_it_is_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "BTCUSDT-trades-2025-01-01.csv"
    target.write_text(f"{BINANCE}\n7,cheap,1,1,1735689600010866,true,true\nx,y\n")
    code, document = checked(capsys, target, "binance-trades")
    assert (code, document["trades"], document["failed"]) == (3, 5, 2)
    by_cause = {one["cause"]: one["origin"] for one in document["failures"]}
    assert by_cause["price: not a decimal"]["place"].endswith(":6")
    assert by_cause["price: not a decimal"]["text"].startswith("7,cheap,1")
    assert by_cause["N columns, not 7"]["text"] == "x,y"


def test_a_folder_is_checked_by_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT"):
        (tmp_path / f"{symbol}-trades-2025-01-01.csv").write_text(BINANCE)
    code, document = checked(capsys, tmp_path, "binance-trades")
    assert (code, document["symbol_count"], document["trades"]) == (0, 2, 10)


def test_no_more_lines_are_read_than_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for day in range(1, 4):
        (tmp_path / f"BTCUSDT-trades-2025-01-0{day}.csv").write_text(BINANCE)
    _, out, _ = called(capsys, "feed", "check", str(tmp_path), "--feed", "binance-trades", "--records", "5", "--json")
    assert (json.loads(out)["records"], json.loads(out)["is_part"]) == (5, True)


@pytest.mark.parametrize(
    ("content", "feed", "words"),
    [
        (b'{"price": 1}\n', "tardis", ["begins as ndjson", "reads csv"]),
        (b"PAR1" + bytes(20), "tardis", ["begins as parquet"]),
    ],
)
def test_a_feed_of_another_kind_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, feed: str, words: list[str]
) -> None:
    target = tmp_path / "any.csv"
    target.write_bytes(content)
    code, _, err = called(capsys, "feed", "check", str(target), "--feed", feed)
    assert code == 2
    assert all(word in err for word in words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"price,size,time,Price\n1,2,1735689600010,3\n", ["two columns that are named 'price'"]),
        (b"", ["is empty"]),
        (b"DBN\x01" + bytes(90), ["DBN"]),
        (b"\x00\x01\x02", ["Its columns"]),
        (b"PAR1", ["cannot be read"]),
    ],
)
def test_a_file_that_says_nothing_is_one_line_and_a_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, words: list[str]
) -> None:
    target = tmp_path / "any.bin"
    target.write_bytes(content)
    code, out, err = called(capsys, "feed", "guess", str(target))
    assert (code in (1, 2), out) == (True, "")
    assert all(word in err for word in words), err
    assert "Traceback" not in err


def test_a_name_that_is_neither_a_file_nor_a_topic_is_said(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    for arguments in (["guess", "nowhere"], ["check", "nowhere", "--feed", "k2-json"]):
        code, _, err = called(capsys, "feed", *arguments)
        assert (code, "no file nowhere, and no stack runs" in err) == (2, True)
    code, _, err = called(capsys, "feed", "guess", "./nowhere.csv")
    assert (code, "no file or folder ./nowhere.csv" in err) == (2, True)
