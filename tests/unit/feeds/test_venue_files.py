"""Files as venues document them, and the trades that the shipped feeds make of them.

Numbers that are not dense per symbol are left out, as a replay sends them.
"""

import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from k2ctl.domain.conditions import unpack
from k2ctl.errors import UsageError
from k2ctl.feeds.files.reading import FeedFiles
from k2ctl.profiles.feed import load_feed
from tests.support.cli import called
from tests.support.feed_files import everything
from tests.support.foreign_trades import lines

BINANCE_LINE = "4435512345,42313.10000000,0.00300000,126.93930000,{time},True,True\n"
BINANCE = [
    "BTCUSDT BINANCE USDT crypto SELL 0.003 @ 42313.1 at 2025-01-01T00:00:00.010866Z #4435512345 seq 4435512345",
]
TAQ_HEADER = (
    "Time|Exchange|Symbol|Sale Condition|Trade Volume|Trade Price|Trade Stop Stock Indicator|"
    "Trade Correction Indicator|Sequence Number|Trade Id|Source of Trade|Trade Reporting Facility|"
    "Participant Timestamp|Trade Reporting Facility TRF Timestamp|Trade Through Exempt Indicator\n"
)
TAQ_LINES = (
    "093000123456789|P|A|@ TI|5|68.01||00|1801|52983525033037|C||093000123000000||0\n"
    "093001000000000|D|BRK B|@   |100|357.5|N|00|1901|71675223028802|C|T|093000950000000|093000999000000|1\n"
    "093002000000000|N|A|@   |300|68.00|N|01|2001|52983525033038|C||093001999000000||0\n"
    "093003000000000|N|A|@   |300|6.80|N|12|2001|52983525033038|C||093001999000000||0\n"
    "093004000000000|Z|A|@F  |40|68.02|N|08|2101|52983525033039|C||093003999000000||0\n"
    "094500000000000|Z|A|@F  |40|68.02|N|10|2101|52983525033039|C||094459999000000||0\n"
)
TAQ = [
    "A ARCX USD equities UNKNOWN 5 @ 68.01 at 2024-01-02T14:30:00.123000Z #52983525033037 [@ TI]",
    "BRK B FINN USD equities UNKNOWN 100 @ 357.5 at 2024-01-02T14:30:00.950000Z #71675223028802 [@]",
    "A XNYS USD equities UNKNOWN 300 @ 68 at 2024-01-02T14:30:01.999000Z #52983525033038 [@]",
    "A BATS USD equities UNKNOWN 40 @ 68.02 at 2024-01-02T14:30:03.999000Z #52983525033039 [@F]",
    "A BATS USD equities UNKNOWN 40 @ 68.02 at 2024-01-02T14:44:59.999000Z #52983525033039 [@F] CANCEL",
]
MASSIVE_HEADER = (
    "ticker,conditions,correction,exchange,id,participant_timestamp,price,sequence_number,sip_timestamp,size,tape,"
    "trf_id,trf_timestamp\n"
)
MASSIVE_LINES = (
    'XYZ,"12,37",0,4,1,1704186000000000123,10.5,42,1704186000000123456,3,1,202,1704186000000100000\n'
    "XYZ,14,0,11,52983525027888,1704207600000000001,10.51,43,1704207600000200000,100,1,0,0\n"
    "XYZ,,8,12,7,1704207601000000001,10.52,44,1704207601000200000,100,1,0,0\n"
    "XYZ,,10,12,7,1704207661000000001,10.52,45,1704207661000200000,100,1,0,0\n"
    "XYZ,,12,12,8,1704207661000000001,1.05,46,1704207661000200000,100,1,0,0\n"
)
MASSIVE = [
    "XYZ FINN USD equities UNKNOWN 3 @ 10.5 at 2024-01-02T09:00:00.000000123Z #1 [T I]",
    "XYZ ARCX USD equities UNKNOWN 100 @ 10.51 at 2024-01-02T15:00:00.000000001Z #52983525027888 [F]",
    "XYZ XNAS USD equities UNKNOWN 100 @ 10.52 at 2024-01-02T15:00:01.000000001Z #7",
    "XYZ XNAS USD equities UNKNOWN 100 @ 10.52 at 2024-01-02T15:01:01.000000001Z #7 CANCEL",
]
LOBSTER_LINES = (
    "34200.004241176,1,16113575,18,5853300,1\n"
    "34200.017459617,5,0,1,2238200,-1\n"
    "34200.017459617,5,0,1,2238200,-1\n"
    "34200.189607670,4,16113798,21,2238100,1\n"
    "34200.189607670,4,16113799,21,2238100,1\n"
    "34201.5,7,0,0,-1,-1\n"
    "57599.999999999,6,-1,1000,2240000,-1\n"
)
LOBSTER = [
    "AAPL XNAS USD equities BUY 1 @ 223.82 at 2012-06-21T13:30:00.017459617Z [hid]",
    "AAPL XNAS USD equities BUY 1 @ 223.82 at 2012-06-21T13:30:00.017459617Z [hid]",
    "AAPL XNAS USD equities SELL 21 @ 223.81 at 2012-06-21T13:30:00.189607670Z",
    "AAPL XNAS USD equities SELL 21 @ 223.81 at 2012-06-21T13:30:00.189607670Z",
    "AAPL XNAS USD equities UNKNOWN 1000 @ 224 at 2012-06-21T19:59:59.999999999Z [crss]",
]
LEAN_LINES = "34200017,645100,20,T,P,0\n34200018,645150,7,Z,00000421,1\n34200019,645100,100,,,0\n"
LEAN = [
    "SPY XNAS USD equities UNKNOWN 20 @ 64.51 at 2013-10-07T13:30:00.017000Z [P]",
    "SPY BATS USD equities UNKNOWN 7 @ 64.515 at 2013-10-07T13:30:00.018000Z [@ F T H]",
    "SPY USA USD equities UNKNOWN 100 @ 64.51 at 2013-10-07T13:30:00.019000Z",
]
TARDIS_LINES = (
    "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
    "binance,btcusdt,1735689600010000,1735689600012345,440,buy,93576.01,0.001\n"
    "deribit,BTC-27DEC24-100000-C,1735689600010001,1735689600012345,ETH-1,sell,0.0005,12.5\n"
    "huobi-dm-linear-swap,BTC-USDT,1735689600010002,1735689600012345,,unknown,93576,1000000000000\n"
)
TARDIS = [
    "BTCUSDT binance crypto BUY 0.001 @ 93576.01 at 2025-01-01T00:00:00.010000Z #440",
    "BTC-27DEC24-100000-C deribit options SELL 12.5 @ 0.0005 at 2025-01-01T00:00:00.010001Z",
    "BTC-USDT huobi-dm-linear futures UNKNOWN 1000000000000 @ 93576 at 2025-01-01T00:00:00.010002Z",
]
DATABENTO_HEADER = (
    "ts_recv,ts_event,rtype,publisher_id,instrument_id,action,side,depth,price,size,flags,ts_in_delta,sequence,symbol\n"
)
DATABENTO_LINES = (
    "2023-09-29T13:52:15.228370773Z,2023-09-29T13:52:15.227854084Z,0,14,6675,T,N,0,0.259900000,8,130,206360,187764,GCTK\n"
    "2023-09-29T13:52:15.228370773Z,2023-09-29T13:52:15.227854084Z,0,1,6676,T,A,0,-40.320000000,3,130,206360,9,CLK0\n"
)
DATABENTO_INTEGERS = (
    "1695995535228370773,1695995535227854084,0,14,6675,T,N,0,259900000,8,130,206360,187764,GCTK\n"
    "1695995535228370773,1695995535227854084,0,1,6676,T,A,0,-40320000000,3,130,206360,9,CLK0\n"
)
DATABENTO = [
    "GCTK XCIS USD equities UNKNOWN 8 @ 0.2599 at 2023-09-29T13:52:15.227854084Z",
    "CLK0 GLBX USD futures SELL 3 @ -40.32 at 2023-09-29T13:52:15.227854084Z",
]


@pytest.mark.parametrize(
    ("feed", "name", "content", "trades", "left_out"),
    [
        ("binance-trades", "BTCUSDT-trades-2025-01-01.csv", BINANCE_LINE.format(time=1735689600010866), BINANCE, 0),
        (
            "binance-trades",
            "BTCUSDT-trades-2024-12.csv",
            BINANCE_LINE.format(time=1735603200010),
            [BINANCE[0].replace("2025-01-01T00:00:00.010866Z", "2024-12-31T00:00:00.010000Z")],
            0,
        ),
        (
            "binance-trades",
            "BTCUSDT-trades-2025-01-01.csv",
            "id,price,qty,quoteQty,time,isBuyerMaker,isBestMatch\n" + BINANCE_LINE.format(time=1735689600010866),
            BINANCE,
            0,
        ),
        (
            "binance-aggtrades",
            "PEPEFDUSD-aggTrades-2025-01-01.csv",
            "1,0.00002000,23640926208.00000000,0,4,1735689600010866,False,True\n",
            ["PEPEFDUSD BINANCE FDUSD crypto BUY 23640926208 @ 0.00002 at 2025-01-01T00:00:00.010866Z #1 seq 1"],
            0,
        ),
        (
            "binance-futures-trades",
            "BTCUSD_PERP-trades-2025-01-01.csv",
            "id,price,qty,base_qty,time,is_buyer_maker\n4435512345,42313.10,0.003,126.9393,1735689600010,true\n",
            ["BTCUSD_PERP BINANCE-FUTURES USD futures SELL 0.003 @ 42313.1 at 2025-01-01T00:00:00.010000Z #4435512345"],
            0,
        ),
        (
            "binance-futures-aggtrades",
            "ETHUSDT_250328-aggTrades-2025-01.csv",
            "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
            "26129,0.01633102,4.70443515,27781,27781,1735689600010,false\n",
            [
                "ETHUSDT_250328 BINANCE-FUTURES USDT futures BUY 4.70443515 @ 0.01633102"
                " at 2025-01-01T00:00:00.010000Z #26129 seq 26129"
            ],
            0,
        ),
        (
            "bybit-archive",
            "SOLUSDT2026-01-01.csv",
            "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional,RPI\n"
            "1767225600.6864,SOLUSDT,Buy,0.2,124.650,PlusTick,7df520b4-f4a1-5eb9-86c2-3ac7ebac1832,2.493e+09,0.2,24.93,0\n",
            ["SOLUSDT BYBIT USDT futures BUY 0.2 @ 124.65 at 2026-01-01T00:00:00.686400Z"],
            0,
        ),
        (
            "okx-archive",
            "BTC-USDT-SWAP-trades-2025-06-01.csv",
            "instrument_name,trade_id,side,price,size,created_time\n"
            "BTC-USDT-SWAP,1566502282,sell,104503.0,30.14,1748707200008\n",
            ["BTC-USDT-SWAP OKX USDT futures SELL 30.14 @ 104503 at 2025-05-31T16:00:00.008000Z #1566502282"],
            0,
        ),
        ("nyse-taq", "EQY_US_ALL_TRADE_20240102.csv", TAQ_HEADER + TAQ_LINES, TAQ, 1),
        ("massive-flatfiles", "2024-01-02.csv", MASSIVE_HEADER + MASSIVE_LINES, MASSIVE, 1),
        ("lobster", "AAPL_2012-06-21_34200000_57600000_message_10.csv", LOBSTER_LINES, LOBSTER, 2),
        ("lean", "20131007_spy_Trade_Tick.csv", LEAN_LINES, LEAN, 0),
        ("tardis", "binance_trades_2025-01-01_BTCUSDT.csv", TARDIS_LINES, TARDIS, 0),
        ("databento-csv", "xnas-itch-20230929.trades.csv", DATABENTO_HEADER + DATABENTO_LINES, DATABENTO, 0),
        ("databento-csv", "xnas-itch-20230929.trades.csv", DATABENTO_HEADER + DATABENTO_INTEGERS, DATABENTO, 0),
    ],
)
def test_a_file_of_a_venue_is_its_trades(
    tmp_path: Path, feed: str, name: str, content: str, trades: list[str], left_out: int
) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    found = everything(file, feed)
    assert lines(found.trades) == trades
    assert (found.reasons, found.findings.filtered) == ([], left_out)
    assert len({bytes(one) for one in found.trades["message_id"]}) == len(trades)


def zipped(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize("packing", ["gz", "zst", "zip"])
@pytest.mark.parametrize(
    ("feed", "name", "content", "trades"),
    [
        ("binance-trades", "BTCUSDT-trades-2025-01-01.csv", BINANCE_LINE.format(time=1735689600010866), BINANCE),
        ("nyse-taq", "EQY_US_ALL_TRADE_20240102", TAQ_HEADER + TAQ_LINES, TAQ),
        ("massive-flatfiles", "2024-01-02.csv", MASSIVE_HEADER + MASSIVE_LINES, MASSIVE),
        ("lean", "20131007_spy_Trade_Tick.csv", LEAN_LINES, LEAN),
    ],
)
def test_a_packed_file_is_the_same_trades(
    tmp_path: Path, feed: str, name: str, content: str, trades: list[str], packing: str
) -> None:
    raw = content.encode()
    packed = {"gz": gzip.compress(raw), "zst": bytes(pa.Codec("zstd").compress(raw)), "zip": zipped(name, raw)}
    # LEAN's archives have another name than the file in them.
    outer = "20131007_trade" if feed == "lean" and packing == "zip" else name
    file = tmp_path / f"{outer}.{packing}"
    file.write_bytes(packed[packing])
    assert lines(everything(file, feed).trades) == trades


@pytest.mark.parametrize(
    ("feed", "name", "content", "reason"),
    [
        (
            "binance-trades",
            "BTCUSDT-trades-2025-01-01.csv",
            BINANCE_LINE.format(time=1735689600010866) + BINANCE_LINE.format(time="soon"),
            'timestamp is "soon"',
        ),
        (
            "binance-trades",
            "BTCUSDT-trades-2025-01-01.csv",
            BINANCE_LINE.format(time=1735689600010866)
            + BINANCE_LINE.replace("True,True", "perhaps,True").format(time=1735689600010866),
            'side is "perhaps", none of BUY',
        ),
        (
            "nyse-taq",
            "EQY_US_ALL_TRADE_20240102.csv",
            TAQ_HEADER + TAQ_LINES + "25X000123456789|P|A|@ TI|5|68.01||00|1|2|C||25X000123000000||0\n",
            "timestamp is missing",
        ),
        (
            "databento-csv",
            "a.csv",
            DATABENTO_HEADER + DATABENTO_INTEGERS.replace("259900000", "9223372036854775807"),
            "price is missing",
        ),
    ],
)
def test_a_line_with_a_wrong_field_is_named_and_the_others_are_read(
    tmp_path: Path, feed: str, name: str, content: str, reason: str
) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    found = everything(file, feed)
    assert [one.reason[: len(reason)] for one in found.findings.broken] == [reason]
    assert len(found.trades) >= 1


def test_conditions_that_a_vendor_has_no_number_for_stay_as_they_came(tmp_path: Path) -> None:
    file = tmp_path / "2024-01-02.csv"
    line = "XYZ,{},0,12,6,1704207600000000001,10.51,{},1704207600000200000,100,1,0,0\n"
    codes = ['"12,F"', "77", "-1", "", "41", "waytoolong"]
    file.write_text(MASSIVE_HEADER + "".join(line.format(code, at) for at, code in enumerate(codes)), encoding="utf-8")
    found = everything(file, "massive-flatfiles")
    assert [unpack(bytes(one)) for one in found.trades["trade_conditions"]] == [
        ["12", "F"],
        ["new"],
        ["new"],
        [],
        ["8"],
    ]
    assert [one.reason[:16] for one in found.findings.broken] == ["trade_conditions"]


def test_a_file_that_was_published_again_gives_every_trade_the_id_that_it_had(tmp_path: Path) -> None:
    whole = LOBSTER_LINES.splitlines(keepends=True)
    ids = []
    for folder, content in (("first", whole[3:]), ("second", whole)):
        file = tmp_path / folder / "AAPL_2012-06-21_34200000_57600000_message_10.csv"
        file.parent.mkdir()
        file.write_text("".join(content), encoding="utf-8")
        ids.append([bytes(one) for one in everything(file, "lobster").trades["message_id"]])
    assert ids[1][2:] == ids[0]
    assert len(set(ids[1])) == 5


def test_a_taq_trade_that_is_marked_as_cancelled_later_is_still_the_same_trade(tmp_path: Path) -> None:
    ids = []
    for number, correction in enumerate(("00", "08")):
        file = tmp_path / str(number) / "EQY_US_ALL_TRADE_20240102.csv"
        file.parent.mkdir()
        line = f"093004000000000|Z|A|@F  |40|68.02|N|{correction}|2101|52983525033039|C||093003999000000||0\n"
        file.write_text(TAQ_HEADER + line, encoding="utf-8")
        ids.append(everything(file, "nyse-taq").trades["message_id"])
    assert np.array_equal(*ids)


def files_of(feed: str, file: Path, **said: str) -> FeedFiles:
    return FeedFiles.at(load_feed(feed), str(file), {}, {}, 1_767_225_600_000_000, said=said)


def test_what_the_name_of_a_file_does_not_say_is_given_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "taq.csv"
    file.write_text(TAQ_HEADER + TAQ_LINES, encoding="utf-8")
    files = files_of("nyse-taq", file, date="2024-01-02")
    (trades,) = files.read(files.files[0], 1 << 20, is_in_order=True)
    assert lines(trades) == TAQ
    moved = tmp_path / "EQY_US_ALL_TRADE_20240103"
    moved.write_text(TAQ_HEADER + TAQ_LINES, encoding="utf-8")
    files = files_of("nyse-taq", moved, date="20240102")
    (trades,) = files.read(files.files[0], 1 << 20, is_in_order=True)
    assert lines(trades) == TAQ, "what is given stands before what the name says"


def test_a_name_that_does_not_fit_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    file = tmp_path / "lean.csv"
    file.write_text(LEAN_LINES, encoding="utf-8")
    with pytest.raises(UsageError, match=r"lean\.csv: its name does not fit") as raised:
        files_of("lean", file, date="2013-10-07").open(files_of("lean", file).files[0])
    assert raised.value.hint == "Rename the file, or give what its name does not say: --column symbol=…"
    with pytest.raises(UsageError, match="makes nothing of a column ticker"):
        files_of("lean", file, ticker="SPY")


def test_a_check_takes_what_the_name_of_a_file_does_not_say(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lobster.csv"
    file.write_text(LOBSTER_LINES, encoding="utf-8")
    given = ["--column", "date=2012-06-21", "--column", "symbol=AAPL"]
    code, out, err = called(capsys, "feed", "check", str(file), "--feed", "lobster", *given, "--json")
    assert (code, err) == (0, "")
    checked = json.loads(out)
    assert (checked["trades"], checked["filtered"]) == (5, 2)
    code, _, err = called(capsys, "feed", "check", str(file), "--feed", "lobster", "--column", "date=")
    assert (code, err.splitlines()[0]) == (2, "k2ctl: --column date has no value.")
