"""Files of the US tape: cancelled prints do not stand, and odd lots set no price of a bar, whatever the market is."""

import threading
from pathlib import Path

import pytest

from k2ctl.domain.days import BarLength
from k2ctl.endpoints import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.load.generator import run_load
from k2ctl.load.plan import plan_load
from k2ctl.load.replay import replay_plan
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Universe
from k2ctl.query.session import Session
from k2ctl.query.sql import sql
from k2ctl.query.stream import KafkaStream
from tests.made_trades import quick_profile
from tests.support.verified import consumed, only

TAQ = (
    "Time|Exchange|Symbol|Sale Condition|Trade Volume|Trade Price|Trade Stop Stock Indicator|"
    "Trade Correction Indicator|Sequence Number|Trade Id|Source of Trade|Trade Reporting Facility|"
    "Participant Timestamp|Trade Reporting Facility TRF Timestamp|Trade Through Exempt Indicator\n"
    "093001000000000|N|A|@   |300|68.00|N|00|2001|11|C||093001000000000||0\n"
    "093002000000000|N|A|@   |100|68.01|N|01|2002|12|C||093002000000000||0\n"
    "093003000000000|N|A|@   |100|6.81|N|12|2002|12|C||093003000000000||0\n"
    "093004000000000|N|A|@   |40|68.02|N|08|2101|13|C||093004000000000||0\n"
    "093005000000000|N|A|@   |40|68.02|N|00|2102|14|C||093005000000000||0\n"
    "094500000000000|N|A|@   |40|68.02|N|10|2101|13|C||093005500000000||0\n"
)
MASSIVE = (
    "ticker,conditions,correction,exchange,id,participant_timestamp,price,sequence_number,sip_timestamp,size,tape,"
    "trf_id,trf_timestamp\n"
    "XYZ,,0,12,6,1704207600000000001,10.51,43,1704207600000200000,100,1,0,0\n"
    "XYZ,,8,12,7,1704207601000000001,10.52,44,1704207601000200000,70,1,0,0\n"
    "XYZ,,10,12,7,1704207661000000001,10.52,45,1704207661000200000,70,1,0,0\n"
)


@pytest.fixture
def profile(exchange: str) -> Profile:
    quick = quick_profile()
    return quick.model_copy(update={"market": quick.market.model_copy(update={"exchange": exchange})})


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
@pytest.mark.parametrize(
    ("feed", "name", "content", "printed", "stand"),
    [
        ("nyse-taq", "EQY_US_ALL_TRADE_20240102", TAQ, 5, [(300, "68.00"), (100, "68.01"), (40, "68.02")]),
        ("massive-flatfiles", "2024-01-02.csv", MASSIVE, 3, [(100, "10.51")]),
    ],
)
def test_a_cancelled_print_is_in_what_was_printed_and_not_in_what_stands(
    endpoints: Endpoints,
    profile: Profile,
    tmp_path: Path,
    feed: str,
    name: str,
    content: str,
    printed: int,
    stand: list[tuple[int, str]],
) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    run_load(plan_load(profile, replay=replay_plan(str(file), feed)), endpoints, threading.Event())
    consumed(endpoints, profile)
    with Session(Lake.at(endpoints), KafkaStream(endpoints, profile.trades_topic)) as session:
        with sql(session, "SELECT quantity, price FROM trades ORDER BY timestamp") as answer:
            rows = answer.rows.read_all().to_pylist()
        with sql(session, "SELECT count(*) AS printed FROM trades_raw") as answer:
            counts = answer.rows.read_all().to_pylist()
    assert [(int(row["quantity"]), f"{row['price']:.2f}") for row in rows] == stand
    assert counts == [{"printed": printed}]
    result = only(endpoints)
    assert result.holds, result.findings


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
@pytest.mark.parametrize("also_ours", [False, True])
def test_an_odd_lot_sets_no_price_of_a_bar_in_the_topic_of_another_market(
    endpoints: Endpoints, profile: Profile, tmp_path: Path, *, also_ours: bool
) -> None:
    file = tmp_path / "EQY_US_ALL_TRADE_20240102"
    odd_lot = "093003500000000|P|A|@  I|1|99.00|N|00|2009|15|C||093003500000000||0\n"
    file.write_text(TAQ + odd_lot, encoding="utf-8")
    plans = [replay_plan(str(file), "nyse-taq")]
    if also_ours:
        ours = tmp_path / "A.csv"  # of an exchange without a table, so that every print counts
        ours.write_text("01/03/2024,01:30:10.000,70.00,10,I,,\n01/03/2024,01:30:11.000,68.50,10,,,\n")
        plans.append(replay_plan(str(ours)))
    for plan in plans:
        run_load(plan_load(profile, replay=plan), endpoints, threading.Event())
    consumed(endpoints, profile)
    stream = KafkaStream(endpoints, profile.trades_topic)
    with Session(Lake.at(endpoints), stream, universe=Universe(profile)) as session:
        (bar,) = session.bars("A", BarLength(days=1)).table.to_pylist()
        (every,) = session.bars("A", BarLength(days=1), all_prints=True).table.to_pylist()
    assert (f"{bar['high']:.2f}", f"{every['high']:.2f}") == ("70.00" if also_ours else "68.02", "99.00")
    assert bar["volume"] == every["volume"] == (461 if also_ours else 441)
