"""Files into Kafka and the table: whole, in order, interrupted and gone on with, from a disk and an object store."""

import gzip
import json
import shlex
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from k2ctl.checks.verify.verification import verify
from k2ctl.domain.trade import nanos_of
from k2ctl.endpoints import Endpoints
from k2ctl.errors import UsageError
from k2ctl.feeds.files.reading import WantedTrades
from k2ctl.load import acknowledged_log, acknowledged_log_writer
from k2ctl.load.generator import LoadSummary, run_load
from k2ctl.load.plan import plan_load
from k2ctl.load.replay import ReplayPlan, replay_plan
from k2ctl.load.workers import LoadSnapshot
from k2ctl.profiles import Profile
from tests.made_trades import quick_profile
from tests.support.feed_files import everything
from tests.support.object_store import BUCKET, ObjectStore
from tests.support.verified import consumed, only

pytestmark = pytest.mark.parametrize("stack", ["embedded"], indirect=True)

START_US = 1_735_689_600_000_000
CASES = Path(__file__).parent.parent.parent.parent.parent / "shared" / "cases" / "17-foreign-files" / "input"


@pytest.fixture
def profile(exchange: str) -> Profile:
    quick = quick_profile()
    market = {"asset_class": "crypto", "currency": "USDT", "exchange": exchange}
    return quick.model_copy(update={"market": quick.market.model_copy(update=market)})


def rows_of(first: int, count: int, step_us: int = 1_000) -> str:
    """Lines of an archive of Binance, the trades numbered from `first` on."""
    return "".join(
        f"{at},{100 + at % 7}.25,0.5,50.1,{START_US + at * step_us},{'true' if at % 2 else 'false'},true\n"
        for at in range(first, first + count)
    )


def archives(folder: Path) -> None:
    """Four days of two symbols: plain, gzip, zip and with a header."""
    folder.mkdir()
    (folder / "BTCUSDT-trades-2025-01-01.csv").write_text(rows_of(0, 500))
    (folder / "BTCUSDT-trades-2025-01-02.csv.gz").write_bytes(gzip.compress(rows_of(500, 500).encode()))
    with zipfile.ZipFile(folder / "ETHUSDT-trades-2025-01-01.zip", "w") as archive:
        archive.writestr("ETHUSDT-trades-2025-01-01.csv", rows_of(100, 300))
    header = "id,price,qty,quote_qty,time,is_buyer_maker,is_best_match\n"
    (folder / "ETHUSDT-trades-2025-01-02.csv").write_text(header + rows_of(400, 100) + "broken,line\n")


def replayed(endpoints: Endpoints, profile: Profile, plan: ReplayPlan) -> LoadSummary:
    return run_load(plan_load(profile, replay=plan), endpoints, threading.Event())


def test_archives_of_two_symbols_are_stored_whole_and_verified(
    endpoints: Endpoints, profile: Profile, tmp_path: Path
) -> None:
    archives(tmp_path / "data")
    summary = replayed(endpoints, profile, replay_plan(str(tmp_path / "data"), "binance-trades"))
    assert (summary.trades_acknowledged, summary.files, summary.late, summary.go_on) == (1400, 4, 0, "")
    assert (summary.broken_lines, [line["line"] for line in summary.first_broken]) == (1, [102])
    assert summary.first_broken[0]["file"] == "ETHUSDT-trades-2025-01-02.csv"
    consumed(endpoints, profile)
    result = only(endpoints)
    assert result.holds, result.findings
    assert result.in_lake == result.expected == 1400
    assert result.symbols == 2


def test_a_replay_that_was_interrupted_ends_with_the_command_that_goes_on(
    endpoints: Endpoints, profile: Profile, tmp_path: Path
) -> None:
    """Trades of four seconds at their own speed."""
    path = tmp_path / "BTCUSDT-trades-2025-01-01.csv"
    path.write_text(rows_of(0, 400, step_us=10_000))
    stop = threading.Event()

    def on_snapshot(snapshot: LoadSnapshot) -> None:
        if snapshot.sent > 100:
            stop.set()

    plan = replay_plan(str(path), "binance-trades", speed=1.0)
    summary = run_load(plan_load(profile, replay=plan), endpoints, stop, on_snapshot)
    assert summary.interrupted
    assert 100 < summary.trades_acknowledged < 400
    command = shlex.split(summary.go_on)
    assert command[:6] == ["k2ctl", "load", "--replay", str(path), "--feed", "binance-trades"]
    since = command[command.index("--since") + 1]
    assert since.startswith("2025-01-01T00:00:0")
    rest = replay_plan(str(path), "binance-trades", WantedTrades(since_ns=nanos_of(since)))
    again = replayed(endpoints, profile, rest)
    assert again.trades_acknowledged == 401 - summary.trades_acknowledged, "the last one is sent twice"
    consumed(endpoints, profile)
    result = only(endpoints)
    assert result.holds, result.findings
    assert result.in_lake == 400


def test_files_of_an_object_store_are_read_by_their_prefix(
    endpoints: Endpoints, profile: Profile, object_store: ObjectStore, tmp_path: Path
) -> None:
    archives(tmp_path / "data")
    client = object_store.client()
    for file in (tmp_path / "data").iterdir():
        with client.open_output_stream(f"{BUCKET}/trades/2025/{file.name}", compression=None) as stream:
            stream.write(file.read_bytes())
    stored = replace(endpoints, storage=object_store.storage)
    for prefix, count in (
        ("trades/", 1400),
        ("trades/2025/BTC", 1000),
        ("trades/2025/BTCUSDT-trades-2025-01-01.csv", 500),
    ):
        plan = replay_plan(f"s3://{BUCKET}/{prefix}", "binance-trades")
        assert replayed(stored, profile, plan).trades_acknowledged == count
    with pytest.raises(UsageError, match="There are no csv files"):
        replayed(stored, profile, replay_plan(f"s3://{BUCKET}/nothing/", "binance-trades"))


def test_of_many_digests_a_load_writes_down_some_and_says_how_many_not(
    endpoints: Endpoints, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ABC.csv").write_text("".join(f"03/10/2014,10:00:{at:02d}.000,1,1,0,,\n" for at in range(30)))
    trades = everything(tmp_path / "ABC.csv", "asx").trades
    monkeypatch.setattr(acknowledged_log_writer, "MOST_DIGESTS", 10)
    run = acknowledged_log.Run("run", 0, profile.trades_topic, "", "sbe", 1, 0, 0, finished=False)
    writer = acknowledged_log_writer.AcknowledgedLogWriter(run, {}, endpoints.home)
    for part in np.split(trades, [4, 20]):
        writer.add_foreign(part)
    writer.finish(30, 30)
    (log,) = acknowledged_log.recorded(endpoints.home)
    assert (log.run.unrecorded, len(log.sessions), len(log.intervals)) == (20, 10, 10)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the cases beside the project")
@pytest.mark.parametrize(
    ("name", "feed", "count"),
    [
        ("BTCUSDT-trades-2025-01-01.csv", "binance-trades", 1),
        ("BTCUSDT-aggTrades-2025-01-01.csv", "binance-aggtrades", 1),
        ("dbn.csv", "databento-csv", 1),
        ("massive.csv.gz", "massive-flatfiles", 1),
        ("tardis.csv", "tardis", 1),
        ("ABC.csv.gz", None, 1),
        ("ABC.csv.zst", None, 1),
        ("ABC.zip", None, 1),
    ],
)
def test_the_case_of_foreign_files(
    endpoints: Endpoints, profile: Profile, name: str, feed: str | None, count: int
) -> None:
    summary = replayed(endpoints, profile, replay_plan(str(CASES / name), feed))
    assert (summary.trades_acknowledged, summary.broken_lines) == (count, 0), json.dumps(summary.first_broken)
    consumed(endpoints, profile)
    (result,) = verify(endpoints, lambda _: None)
    assert result.holds
    assert result.in_lake == count
