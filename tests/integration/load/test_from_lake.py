"""`k2ctl load --from-lake`: what is stored goes out again as it came, in order of time, to a topic of its own."""

import json
import shlex
import threading
import time

import numpy as np
import pytest

from k2ctl.checks.verify.verification import verify
from k2ctl.cli import main
from k2ctl.domain.trade import decode
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.errors import ExitCode
from k2ctl.feeds.files.reading import WantedTrades
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.reader import read_between
from k2ctl.load.generator import LoadSummary, run_load
from k2ctl.load.plan import plan_load
from k2ctl.load.replay import ReplayPlan
from k2ctl.load.replayed import destination
from k2ctl.profiles import Profile
from tests.made_trades import make_varied, produce_trades
from tests.support.platforms import catch_up

SPACING_NS = 2_000_000


@pytest.fixture
def stored(endpoints: Endpoints, profile: Profile, topic: str, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """2,000 varied trades over four seconds in the order of their times; they are stored in another."""
    monkeypatch.setenv("K2CTL_HOME", str(endpoints.home.path))
    save_endpoints(endpoints)
    trades = make_varied(2000)
    now_ns = time.time_ns()
    trades["event_ns"] = now_ns - 3600 * 10**9 + np.arange(2000) * SPACING_NS + np.arange(2000) % 7
    trades["received_ns"] = trades["event_ns"] + 12_345
    produce_trades(endpoints, topic, trades[np.random.default_rng(3).permutation(2000)])
    catch_up(endpoints, profile)
    return trades


@pytest.fixture
def target(topic: str) -> str:
    return topic.replace("market", "backtest")


def received(endpoints: Endpoints, topic: str) -> np.ndarray:
    """All trades of a topic, by partition in order of offsets."""
    with BrokerAdmin(endpoints) as admin:
        marks = {partition: (mark.low, mark.high) for partition, mark in admin.watermarks(topic).items()}
    fetched, _, _ = read_between(endpoints, topic, marks, 30, 1 << 40)
    order = np.argsort(fetched.partition, kind="stable").tolist()
    return decode([fetched.values[at] for at in order]).trades


def sent_again(
    endpoints: Endpoints, profile: Profile, target: str, wanted: WantedTrades, speed: float = float("inf")
) -> LoadSummary:
    chosen = destination(endpoints, profile, target)
    plan = plan_load(chosen, replay=ReplayPlan(None, wanted=wanted, speed=speed, topic=target))
    return run_load(plan, endpoints, threading.Event())


def test_every_trade_goes_out_as_it_came_with_its_id_and_times_each_symbol_in_order_of_time(
    endpoints: Endpoints, profile: Profile, stored: np.ndarray, target: str
) -> None:
    summary = sent_again(endpoints, profile, target, WantedTrades())
    assert (summary.trades_acknowledged, summary.trades_failed) == (2000, 0)
    found = received(endpoints, target)
    assert found[np.argsort(found["event_ns"], kind="stable")].tobytes() == stored.tobytes()
    for symbol in np.unique(stored["symbol"]).tolist():
        times = found["event_ns"][found["symbol"] == symbol]
        assert (np.diff(times) > 0).all()
    results = {one.topic: one for one in verify(endpoints, lambda _: None)}
    assert results[target].holds, results[target]


def test_a_part_of_it_goes_out_at_a_multiple_of_its_pace(
    endpoints: Endpoints, profile: Profile, stored: np.ndarray, target: str
) -> None:
    since, until = int(stored["event_ns"][500]), int(stored["event_ns"][1500])
    wanted = WantedTrades(since, until, ("S03", "S07"))
    begun_s = time.monotonic()
    summary = sent_again(endpoints, profile, target, wanted, speed=2.0)
    expected = stored[500:1500]
    expected = expected[np.isin(expected["symbol"], [b"S03", b"S07"])]
    assert summary.trades_acknowledged == len(expected) == 100
    assert time.monotonic() - begun_s > 0.9, "two seconds of the venue's time"
    assert sorted(received(endpoints, target)["message_id"].tolist()) == sorted(expected["message_id"].tolist())


def test_the_command_refuses_what_would_be_dropped_or_is_not_there_and_says_what_to_type(
    endpoints: Endpoints, profile: Profile, topic: str, stored: np.ndarray, target: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip

    def said(line: str, code: ExitCode) -> str:
        capsys.readouterr()
        assert main(shlex.split(line)) == code
        got = capsys.readouterr()
        return got.out + got.err

    assert "--topic backtest" in said("load --from-lake", ExitCode.USAGE)
    assert "drop each trade as a copy" in said(f"load --from-lake --topic {topic}", ExitCode.USAGE)
    assert "--topic is for --from-lake" in said(f"load --topic {target}", ExitCode.USAGE)
    assert "is for files" in said(f"load --from-lake --topic {target} --now", ExitCode.USAGE)
    assert "exclude each other" in said(f"load --from-lake --replay x --topic {target}", ExitCode.USAGE)
    none = said(f"load --from-lake --topic {target} --since 2031-01-01T00:00:00Z", ExitCode.USAGE)
    assert "none of these trades. It holds 20" in none
    summary = json.loads(said(f"load --from-lake --topic {target} --symbols S01 --json", ExitCode.OK))
    assert summary["trades_acknowledged"] == 100
    assert set(received(endpoints, target)["symbol"].tolist()) == {b"S01"}


def test_what_was_interrupted_says_how_to_go_on(
    endpoints: Endpoints, profile: Profile, stored: np.ndarray, target: str
) -> None:
    chosen = destination(endpoints, profile, target)
    plan = plan_load(chosen, replay=ReplayPlan(None, speed=1.0, topic=target))
    stop = threading.Event()
    summary = run_load(plan, endpoints, stop, lambda snapshot: stop.set() if snapshot.sent > 300 else None)
    assert 300 < summary.trades_acknowledged < 1900
    assert summary.go_on.startswith(f"k2ctl load --from-lake --topic {target} --since 20")
    assert summary.go_on.endswith("--speed 1x")
    assert main(shlex.split(summary.go_on.replace("k2ctl ", "", 1).replace("--speed 1x", ""))) == ExitCode.OK
    assert set(received(endpoints, target)["message_id"].tolist()) == set(stored["message_id"].tolist())
