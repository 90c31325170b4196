"""The naive baseline against real Kafka and a real table: an honest "before" is right while nothing goes wrong."""

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from k2ctl.checks.baselines.naive_consumer import NAIVE_TABLE, NaiveConsumer, naive_table, parse_json, parse_sbe
from k2ctl.domain.json_trade import encode_json
from k2ctl.domain.topics import TABLE, WireFormat
from k2ctl.domain.trade import frames
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.home import Home
from k2ctl.kafka.telemetry import TelemetryReader
from k2ctl.lake.catalog import Lake
from k2ctl.load.generator import run_load
from k2ctl.load.market import Faults
from k2ctl.load.plan import plan_load
from k2ctl.profiles import Profile, load_profile, save_profile
from tests.made_trades import make_trades


def profile_of(exchange: str, wire_format: WireFormat) -> Profile:
    laptop = load_profile("laptop")
    return laptop.model_copy(
        update={
            "market": laptop.market.model_copy(update={"exchange": exchange}),
            "topic": laptop.topic.model_copy(update={"format": wire_format}),
        }
    )


@pytest.mark.parametrize("wire_format", ["sbe", "json"])
def test_the_naive_consumer_stores_what_was_sent_and_drops_copies(
    embedded_stack: Endpoints, home: Path, exchange: str, wire_format: WireFormat
) -> None:
    endpoints = in_home(embedded_stack, home)
    profile = profile_of(exchange, wire_format)
    plan = plan_load(profile, rate=3000, duration_s=1.0, faults=Faults(duplicates=0.1))
    sent = run_load(plan, endpoints, threading.Event()).trades_acknowledged
    status = NaiveConsumer(endpoints, profile).run(threading.Event(), until_caught_up=True)
    assert (status.trades, status.stored, status.duplicates) == (sent, 3000, sent - 3000)
    assert (status.lag_records, status.critical_lag_records, status.gaps) == (0, 0, 0)
    with Lake.at(endpoints) as lake:
        assert naive_table(lake).scan().count() == 3000
        assert lake.find_table(TABLE) is None, "the platform's own table is left alone"
        assert lake.find_table(NAIVE_TABLE) is not None


def test_it_runs_as_a_process_and_publishes_its_real_lag(
    embedded_stack: Endpoints, home: Path, exchange: str, tmp_path: Path
) -> None:
    endpoints = in_home(embedded_stack, home)
    save_endpoints(replace(endpoints, home=Home.of_user()))
    profile = profile_of(exchange, "sbe")
    path = save_profile(profile, tmp_path)
    run_load(plan_load(profile, rate=2000, duration_s=1.0), endpoints, threading.Event())
    command = [
        sys.executable,
        "-m",
        "k2ctl.checks.baselines.naive_consumer",
        "--until-caught-up",
        "--profile",
        str(path),
    ]
    telemetry, received = TelemetryReader(endpoints), []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            received += [status for status in telemetry.poll(0.2).others.values() if status["kind"] == "naive"]
        last = json.loads(process.communicate(timeout=10)[0])
    telemetry.close()
    assert (last["stored"], last["lag_records"]) == (2000, 0)
    assert received[-1]["lag_records"] == 0
    assert all(status["critical_lag_records"] <= status["lag_records"] for status in received if status["lag_records"])


def test_both_formats_give_the_same_rows() -> None:
    trades = make_trades(50)
    names = ("trade_id", "symbol", "exchange", "timestamp", "price", "quantity", "side", "source_sequence")
    rows = [
        [{name: row[name] for name in names} for value in values for row in parse(value)]
        for parse, values in ((parse_sbe, frames(trades, 7)), (parse_json, encode_json(trades, 7)))
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 50


def in_home(stack: Endpoints, home: Path) -> Endpoints:
    """The running Kafka with an empty lake of the test's own."""
    lake = home / "lake"
    lake.mkdir()
    return replace(
        stack, catalog_uri=f"sqlite:///{lake}/catalog.db", warehouse=f"file://{lake}/warehouse", home=Home.of_user()
    )
