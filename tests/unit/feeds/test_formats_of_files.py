"""CSV, NDJSON, Parquet and DBN, plain and compressed: the same trades; what is none is named by file and line."""

import gzip
import zipfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import databento_dbn as dbn
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2ctl.domain.decimals import as_text
from k2ctl.domain.trade import NO_SEQUENCE
from k2ctl.errors import UsageError
from k2ctl.feeds.files.lines import LONGEST_LINE
from tests.support.feed_files import everything, opened

FEED = """
description: made up
source: {format: %s, %s}
trade: {symbol: symbol, exchange: "'X'", asset_class: "'crypto'", timestamp: time, price: price, quantity: size%s}
identity: [id]
"""
CSV = "columns: [id, symbol, time, price, size], aliases: {Trade Id: id, px: price}"
NAMED = "file_name: '(?P<symbol>[A-Z]+)-.*', columns: [id, time, price, size]"
ROWS = ["1,ABC,1735689600000001,1.5,10", "2,ABC,1735689601000001,0.000000000001,20", "3,DEF,1735689602000001,7,1e-3"]
JSON = ['{"id":1,"symbol":"ABC","time":1735689600000001,"price":1.5,"size":"10"}', "", '{"id":2', "[]"]


def feed(tmp_path: Path, form: str, columns: str, more: str = "") -> str:
    path = tmp_path / "my.yaml"
    path.write_text(FEED % (form, columns, more))
    return str(path)


def prices(trades: np.ndarray) -> list[str]:
    return [as_text(price) for price in trades["price"]]


@pytest.mark.parametrize(
    "header",
    ["", "id,symbol,time,price,size\n", "Trade Id,SYMBOL, Time ,px,size\n", "\ufeffid,symbol,time,price,size\n"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_header_is_found_under_its_names_of_all_years(tmp_path: Path, header: str, end: str) -> None:
    (tmp_path / "a.csv").write_text(header + "\n".join(ROWS) + "\n", newline=end)
    found = everything(tmp_path / "a.csv", feed(tmp_path, "csv", CSV))
    assert found.reasons == []
    assert prices(found.trades) == ["1.5", "0.000000000001", "7"]
    assert found.trades["symbol"].tolist() == [b"ABC", b"ABC", b"DEF"]


def test_columns_of_a_header_may_come_in_any_order_and_with_others_between(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("price,note,size,time,id,symbol\n1.5,x,10,1735689600000001,1,ABC\n")
    found = everything(tmp_path / "a.csv", feed(tmp_path, "csv", CSV))
    assert (prices(found.trades), found.reasons) == (["1.5"], [])


@pytest.mark.parametrize("delimiter", ["|", ";", "\t"])
def test_any_delimiter(tmp_path: Path, delimiter: str) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{row.replace(',', delimiter)}\n" for row in ROWS))
    shown = delimiter.encode("unicode_escape").decode()
    found = everything(tmp_path / "a.txt", feed(tmp_path, "csv", f'{CSV}, delimiter: "{shown}"'))
    assert prices(found.trades) == ["1.5", "0.000000000001", "7"]


def test_the_last_columns_may_be_missing_where_nothing_needs_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join(ROWS))
    wider = CSV.replace("size]", "size, is_best]")
    assert len(everything(tmp_path / "a.csv", feed(tmp_path, "csv", wider)).trades) == 3


@pytest.mark.parametrize("compression", ["gz", "gz in two", "zst", "zip"])
def test_compressed_files_are_known_by_their_content(tmp_path: Path, compression: str) -> None:
    """Whatever their names are."""
    content, path = ("\n".join(ROWS) + "\n").encode(), tmp_path / "a.csv"
    if compression == "gz":
        path.write_bytes(gzip.compress(content))
    elif compression == "gz in two":
        path.write_bytes(gzip.compress(content[:40]) + gzip.compress(content[40:]))
    elif compression == "zst":
        path.write_bytes(pa.compress(content, "zstd", asbytes=True))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("ABC.csv", content)
            archive.writestr("__MACOSX/._ABC.csv", b"\x00")
    found = everything(path, feed(tmp_path, "csv", CSV))
    assert (prices(found.trades), found.reasons) == (["1.5", "0.000000000001", "7"], [])


def test_lines_that_fail_are_named_and_the_others_are_trades(tmp_path: Path) -> None:
    rows = [
        ROWS[0], "x,ABC,1735689600000001,1.5", ROWS[1], '9,"ABC,1735689600000001,1.5,1', "9,ABC,yesterday,1.5,1",
        "9,ABC,1735689600000001,1.5.1,1", ROWS[2], "9,ABC,1735689600000001,,1", "9,,1735689600000001,1,1",
        "9,ABC,1735689600000001,0.0000000000001,1", "9,ABC,4102444800000001,1,1", "8,DEF,1735689604000001,8,1",
    ]  # fmt: skip
    (tmp_path / "a.csv").write_bytes("\n".join(rows).encode() + b"\n9,\xff\xfe,1735689600000001,1.5,1\n")
    found = everything(tmp_path / "a.csv", feed(tmp_path, "csv", CSV))
    assert prices(found.trades) == ["1.5", "0.000000000001", "7", "8"]
    named = [reason.removeprefix("a.csv:").partition(": ") for reason in found.reasons]
    assert [int(line) for line, _, _ in named] == [2, 4, 5, 6, 8, 9, 10, 11, 13]
    reasons = {int(line): reason for line, _, reason in named}
    assert reasons[2] == "4 columns, not 5"
    assert 'timestamp is "yesterday"' in reasons[5]
    assert 'price is "1.5.1", not a decimal' in reasons[6]
    assert "price" in reasons[8]
    assert "symbol" in reasons[9]
    assert "12 decimal places" in reasons[10]
    assert "ahead of the clock" in reasons[11]
    assert reasons[13] == "not UTF-8"
    assert found.findings.broken_count == 9


def test_only_the_first_broken_lines_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("".join(f"{row}\n" for row in ROWS * 20) + "1,2\n" * 100_000)
    found = everything(tmp_path / "a.csv", feed(tmp_path, "csv", CSV))
    assert (found.findings.broken_count, len(found.reasons), len(found.trades)) == (100_000, 10, 60)


def test_a_line_that_is_too_long_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{ROWS[0]}\n9,{'x' * (LONGEST_LINE + 5_000_000)},1,1,1\n{ROWS[1]}\n")
    found = everything(tmp_path / "a.csv", feed(tmp_path, "csv", CSV))
    assert prices(found.trades) == ["1.5", "0.000000000001"]
    assert found.reasons == ["a.csv:2: longer than 16 MB"]


def test_a_file_that_ends_too_early_gives_what_came_before_and_says_where(tmp_path: Path) -> None:
    rows = "".join(f"{at},ABC,{1735689600000001 + at},{at},1\n" for at in range(1, 300_001))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(rows.encode())[:-1000])
    (tmp_path / "b.csv").write_text("7,DEF,1735689600000001,1,1\n")
    found = everything(tmp_path, feed(tmp_path, "csv", CSV))
    assert 1 < len(found.trades) < 300_001
    (reason,) = found.reasons
    assert reason.startswith(f"a.csv.gz:{len(found.trades)}: the file cannot be read from here on: ")


def test_names_of_files_are_columns_and_one_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "BTC-x.csv").write_text("1,1735689600000001,1.5,10\n")
    mine = feed(tmp_path, "csv", NAMED)
    assert everything(tmp_path / "BTC-x.csv", mine).trades["symbol"].tolist() == [b"BTC"]
    (tmp_path / "btc.csv").write_text("1,1735689600000001,1.5,10\n")
    assert len(everything(tmp_path, mine).trades) == 1, "in a folder it is not one of the files"
    with pytest.raises(UsageError, match="does not fit"):
        everything(tmp_path / "btc.csv", mine)


def test_lines_of_json_are_what_records_are(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text(
        "\n".join([*JSON, '[{"id":3,"symbol":"D","time":1735689600000002,"price":2,"size":1}]'])
    )
    found = everything(tmp_path / "a.ndjson", feed(tmp_path, "ndjson", CSV.partition(", aliases")[0]))
    assert prices(found.trades) == ["1.5", "2"]
    assert [reason.rpartition(": ")[0].split(":")[1] for reason in found.reasons] == ["3", "4"]


def test_records_of_a_topic_may_lie_in_a_file_a_line_each(tmp_path: Path) -> None:
    message = '{"e":"trade","E":1735689600001,"s":"BTCUSDT","t":%d,"p":"93576.01","q":"0.1","T":1735689600000,"m":true}'
    (tmp_path / "recorded.jsonl").write_text("".join(message % at + "\n" for at in (1, 2)))
    found = everything(tmp_path, "binance-websocket")
    assert (prices(found.trades), found.reasons) == (["93576.01", "93576.01"], [])


def test_parquet_has_types_and_needs_no_columns(tmp_path: Path) -> None:
    table = pa.table(
        {
            "symbol": ["ABC", "ABC"],
            "time": pa.array([1735689600000000001, 1735689600000000002], pa.timestamp("ns", "UTC")),
            "price": pa.array([Decimal("1.25"), None], pa.decimal128(18, 8)),
            "size": [0.1, 3.0],
            "id": [5, 6],
            "other": [[1], [2]],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    mine = tmp_path / "my.yaml"
    mine.write_text((FEED % ("parquet", "", "")).replace("parquet, ", "parquet"))
    found = everything(tmp_path / "a.parquet", str(mine))
    (trade,) = found.trades
    assert (as_text(trade["price"]), as_text(trade["quantity"])) == ("1.25", "0.1")
    assert trade["event_ns"] == 1735689600000000001
    assert [reason[:14] for reason in found.reasons] == ["a.parquet:2: p"]


def dbn_file(path: Path, compressed: bool = False) -> None:
    """Three trades of two instruments, the second without a price, and a record of another kind between."""
    interval = {"start_date": date(2023, 9, 29), "end_date": date(2023, 9, 30), "symbol": "6675"}
    metadata = dbn.Metadata(
        "DBEQ.BASIC", 1695945600000000000, dbn.SType.RAW_SYMBOL, dbn.SType.INSTRUMENT_ID, dbn.Schema.TRADES,
        mappings=[SimpleNamespace(raw_symbol="GCTK", intervals=[SimpleNamespace(**interval)])],
    )  # fmt: skip

    def trade(instrument: int, at: int, price: int) -> bytes:
        return bytes(
            dbn.TradeMsg(
                39, instrument, 1695995535000000000 + at, price, 8, dbn.Action.TRADE, dbn.Side.ASK, 0,
                1695995535500000000 + at, flags=130, ts_in_delta=206360, sequence=187764,
            )
        )[:48]  # fmt: skip

    other = bytes(dbn.SystemMsg(1695995535000000000, "Heartbeat"))
    content = (
        bytes(metadata) + trade(6675, 1, 259_900_000) + other + trade(6675, 2, dbn.UNDEF_PRICE) + trade(7, 3, 10**9)
    )
    path.write_bytes(pa.compress(content, "zstd", asbytes=True) if compressed else content)


@pytest.mark.parametrize("compressed", [False, True])
def test_dbn_has_the_symbols_of_its_metadata(tmp_path: Path, compressed: bool) -> None:
    dbn_file(tmp_path / "trades.dbn", compressed)
    found = everything(tmp_path / "trades.dbn", "databento-dbn")
    assert found.trades["symbol"].tolist() == [b"GCTK", b"7"]
    assert prices(found.trades) == ["0.2599", "1"]
    assert found.trades["event_ns"].tolist() == [1695995535000000001, 1695995535000000003]
    assert found.trades["received_ns"].tolist() == [1695995535500000001, 1695995535500000003]
    (reason,) = found.reasons
    assert reason.startswith("trades.dbn:3: price ")


def test_numbers_that_are_not_dense_are_sent_as_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join(ROWS))
    dense = feed(tmp_path, "csv", CSV, ", source_sequence: id")
    assert everything(tmp_path / "a.csv", dense).trades["source_sequence"].tolist() == [1, 2, 3]
    path = Path(dense)
    path.write_text(path.read_text() + "sequence: {numbers: ordered}\n")
    assert set(everything(tmp_path / "a.csv", dense).trades["source_sequence"].tolist()) == {NO_SEQUENCE}


DAMAGED = {
    "a.csv.gz": b"\x1f\x8bgarbage", "b.csv.zst": b"\x28\xb5\x2f\xfdgarbage", "c.zip": b"PK\x03\x04garbage",
    "d.csv": bytes(range(256)) * 100, "e.csv": b"id,symbol,time,price,size\n", "f.csv.gz": gzip.compress(b""),
    "g.csv": b'"' * 999, "h.csv": b"\r" * 999,
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_is_damaged_or_empty_is_said_and_the_others_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(DAMAGED[name])
    mine = feed(tmp_path, "csv", CSV)
    with pytest.raises(UsageError, match="There are no trades of the feed my in") as raised:
        opened(tmp_path / name, mine).require_trades()
    assert f"k2ctl feed check '{tmp_path / name}' --feed {mine}" in raised.value.hint
    (tmp_path / "good.csv").write_text("\n".join(ROWS))
    found = everything(tmp_path, mine)
    assert len(found.trades) == 3
    assert {reason.partition(":")[0] for reason in found.reasons} <= {name}


def test_an_archive_with_a_password_or_a_damaged_member_is_said(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", "\n".join(ROWS))
    whole = (tmp_path / "a.zip").read_bytes()
    locked, damaged = bytearray(whole), bytearray(whole)
    for at in (6, whole.index(b"PK\x01\x02") + 8):
        locked[at] |= 1
    damaged[60] ^= 0xFF
    for content in (locked, damaged):
        (tmp_path / "a.zip").write_bytes(content)
        found = everything(tmp_path / "a.zip", feed(tmp_path, "csv", CSV))
        (reason,) = found.reasons
        assert reason.startswith("a.zip/a.csv:1: the file cannot be read from here on: ")


@pytest.mark.parametrize("form", ["parquet", "dbn"])
def test_a_file_of_another_format_is_said(tmp_path: Path, form: str) -> None:
    (tmp_path / f"a.{form}").write_bytes(b"id,symbol\n" * 10)
    mine = tmp_path / "my.yaml"
    mine.write_text((FEED % (form, "", "")).replace(f"{form}, ", form))
    (reason,) = everything(tmp_path / f"a.{form}", str(mine)).reasons
    assert reason.startswith(f"a.{form}:1: the file cannot be read from here on: ")
