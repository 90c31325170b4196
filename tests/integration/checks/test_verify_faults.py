"""`verify` names what is neither in the table nor in the tail: deferred, refused, of a Kafka that is gone, cut off."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pytest

from k2ctl.checks.verify.verification import Verified, failed, verify
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed, ExitCode
from k2ctl.home import Home
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.snapshots import pin
from k2ctl.load.acknowledged_log import acknowledged_log_dir, read
from k2ctl.load.generator import run_load
from k2ctl.load.plan import plan_load
from k2ctl.load.replay import replay_plan
from k2ctl.profiles import Profile, load_profile
from k2ctl.stack import lifecycle
from tests.made_trades import quick_profile
from tests.support.consumers import pressed, run_until, spill_files, spilling, topic_of
from tests.support.feed_files import everything
from tests.support.polling import until
from tests.support.verified import consumed, loaded, only, rewrite


@pytest.fixture
def profile(endpoints: Endpoints, exchange: str) -> Profile:
    return pressed(quick_profile(commit_interval_s=0.2), endpoints, exchange)


@pytest.fixture
def own_stack(home: Path) -> Iterator[Endpoints]:
    """An embedded stack that a test may stop."""
    yield lifecycle.up("embedded", "laptop", lambda _: None, home=Home.of_user()).endpoints
    lifecycle.down(volumes=True, home=Home.of_user())


def numbers_of(result: Verified, fault: str) -> set[tuple[str, int]]:
    return {
        (found.symbol, number)
        for found in result.findings
        if found.fault == fault
        for number in range(found.first, found.last + 1)
    }


def stored_numbers(endpoints: Endpoints) -> set[tuple[str, int]]:
    with Lake.at(endpoints) as lake:
        return set(numbers_in(lake.table().scan(selected_fields=("symbol", "source_sequence")).to_arrow()))


def numbers_in(rows: pa.Table) -> list[tuple[str, int]]:
    return list(zip(rows["symbol"].to_pylist(), rows["source_sequence"].to_pylist(), strict=True))


def test_what_is_deferred_is_named_until_backfill_has_given_it_back(endpoints: Endpoints, profile: Profile) -> None:
    """Spilled to files on both engines; on real Kafka shed, too: then Kafka holds it before the offsets."""
    sheds, profile = endpoints.engine != "embedded", spilling(profile)
    plan = plan_load(profile, rate=90_000 if sheds else 45_000, duration_s=1.0)
    sent = run_load(plan, endpoints, threading.Event()).trades_acknowledged
    run_until(
        endpoints,
        profile,
        lambda s: s.outstanding_spilled > 500 and (s.outstanding > s.outstanding_spilled + 500) == sheds,
    )
    with Lake.at(endpoints) as lake:
        ledger = checkpoints_of(lake.table()).ledger
    assert {bool(entry.spill) for entry in ledger.entries} == {True, not sheds}
    result = only(endpoints)
    assert {fault for fault, count in result.faults.items() if count} == {"deferred"}
    deferred = numbers_of(result, "deferred")
    assert len(deferred) == result.faults["deferred"] == ledger.count
    assert not deferred & stored_numbers(endpoints)
    assert result.in_lake + result.in_tail + len(deferred) == sent
    error = failed([result])
    assert error is not None
    assert (error.exit_code, error.hint) == (ExitCode.UNHEALTHY, "Backfill them: k2ctl backfill")
    assert f"{len(deferred):,} trades are deferred" in str(error)
    Consumer(endpoints, ConsumerPlan(profile, backfill=True)).run(threading.Event())
    after = only(endpoints)
    assert after.holds
    assert after.in_lake + after.in_tail == sent
    assert deferred <= stored_numbers(endpoints)


@pytest.mark.parametrize("stack", ["local"], indirect=True)
def test_what_was_in_a_damaged_spill_file_is_found_in_kafka(endpoints: Endpoints, profile: Profile) -> None:
    sent = run_load(plan_load(profile, rate=90_000, duration_s=1.0), endpoints, threading.Event()).trades_acknowledged
    run_until(endpoints, profile, lambda s: s.outstanding_spilled > 500)
    flipped, *_ = spill_files(endpoints)
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 0xFF
    flipped.write_bytes(content)
    result = only(endpoints)
    assert {fault for fault, count in result.faults.items() if count} == {"deferred"}
    assert result.in_lake + result.in_tail + result.faults["deferred"] == sent


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_a_data_file_that_is_damaged_or_gone_is_named(endpoints: Endpoints, profile: Profile) -> None:
    loaded(endpoints, profile)
    consumed(endpoints, profile)
    with Lake.at(endpoints) as lake:
        pinned = pin(lake)
    assert pinned is not None
    path = Path(pinned.plan().paths[0].removeprefix("file://"))
    path.write_bytes(path.read_bytes()[:-50])
    assert [*only(endpoints).damaged] == [pinned.plan().paths[0]]
    path.unlink()
    assert [*only(endpoints).damaged] == [pinned.plan().paths[0]]


def test_what_was_refused_is_named_by_symbol_and_id(endpoints: Endpoints, profile: Profile, tmp_path: Path) -> None:
    """Trades of a year that the profile's topic does not take."""
    topic = profile.topic.model_copy(update={"earliest": date(2020, 1, 1)})
    profile = profile.model_copy(update={"topic": topic})
    lines = [f"03/10/{2014 if at in (3, 4, 8) else 2021},10:0{at}:00.000,1.25,100,,ASX,7" for at in range(1, 10)]
    (tmp_path / "BHP.csv").write_text("\n".join(lines) + "\n")
    trades = everything(tmp_path / "BHP.csv", "asx", exchange=profile.market.exchange).trades
    refused = {str(UUID(bytes=bytes(name))) for name in trades["message_id"][:3].tolist()}
    run_load(plan_load(profile, replay=replay_plan(str(tmp_path / "BHP.csv"))), endpoints, threading.Event())
    assert only(endpoints).holds, "nobody has looked at them yet"
    consumed(endpoints, profile)
    result = only(endpoints)
    assert {fault for fault, count in result.faults.items() if count} == {"dead-lettered"}
    assert {(found.symbol, found.message_id) for found in result.findings} == {("BHP", name) for name in refused}
    assert result.in_lake == 6
    error = failed([result])
    assert error is not None
    assert str(error).startswith("3 trades were refused")
    assert f"k2ctl dead-letters list --topic {topic_of(profile)}" in error.hint


def test_of_a_kafka_that_is_gone_the_stored_is_found_and_the_unread_is_missing(
    own_stack: Endpoints, exchange: str
) -> None:
    profile = pressed(quick_profile(), own_stack, exchange)
    stored = loaded(own_stack, profile)
    consumed(own_stack, profile)
    unread = loaded(own_stack, profile)
    assert only(own_stack).holds
    lifecycle.down(volumes=False, home=Home.of_user())
    endpoints = lifecycle.up("embedded", "laptop", lambda _: None, home=Home.of_user()).endpoints
    with pytest.raises(CheckFailed, match="2 were sent to an earlier one: k2ctl verify --all-epochs"):
        only(endpoints)
    again = loaded(endpoints, profile)
    consumed(endpoints, profile)
    now = only(endpoints)
    assert now.holds
    assert (now.acknowledged, now.in_lake) == (again, now.expected)
    assert (now.expected, now.foreign) == (again - now.copies, 0), "what was sent before the down is no stranger's"
    (whole,) = verify(endpoints, lambda _: None, every_epoch=True)
    assert whole.acknowledged == stored + unread + again
    assert {fault for fault, count in whole.faults.items() if count} == {"missing"}
    assert whole.in_lake == whole.expected - whole.faults["missing"]
    (gone,) = (log for log in map(read, sorted(acknowledged_log_dir(Home.of_user()).iterdir())[1:2]))
    assert whole.faults["missing"] == unread - int(gone.sessions["copies"].sum())


def test_a_load_that_is_killed_is_held_to_its_last_word(own_stack: Endpoints) -> None:
    """`kill -9` of the generator and its worker in the middle of a load, and then of trades in the table."""
    arguments = ["load", "--rate", "5k", "--duration", "60"]
    process = subprocess.Popen(
        [sys.executable, "-m", "k2ctl", *arguments], start_new_session=True, stdout=-3, stderr=-3
    )
    until_recorded(5_000)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    in_kafka = only(own_stack)
    assert in_kafka.holds
    assert (in_kafka.unfinished, in_kafka.expected) == (1, 0)
    assert 0 < in_kafka.acknowledged <= in_kafka.of_unfinished
    consumed(own_stack, load_profile("laptop"))
    stored = only(own_stack)
    assert stored.holds
    assert (stored.of_unfinished, stored.in_tail) == (in_kafka.of_unfinished, 0)
    lost = {("BHP", number) for number in range(100, 105)}
    rewrite(own_stack, lambda rows: rows.filter(pa.array([trade not in lost for trade in numbers_in(rows)])))
    holed = only(own_stack)
    assert numbers_of(holed, "missing") == lost
    assert holed.too_few == max(0, stored.acknowledged - (stored.of_unfinished - len(lost)))
    rewrite(own_stack, lambda rows: rows.filter(pa.array([number < 100 for _, number in numbers_in(rows)])))
    short = only(own_stack)
    kept = len(stored_numbers(own_stack))
    assert (short.faults["missing"], short.too_few) == (0, stored.acknowledged - kept), (
        "cut off at the end of each symbol"
    )
    assert failed([short]) is not None


def until_recorded(acknowledged: int) -> None:
    """Until the load that runs has written down that so many trades were acknowledged."""
    logs = acknowledged_log_dir(Home.of_user())
    until(lambda: any(read(path).run.acknowledged >= acknowledged for path in logs.glob("*.log")), 30)


def test_a_verify_while_a_load_runs_holds_at_every_moment(endpoints: Endpoints, profile: Profile) -> None:
    plan = plan_load(profile, rate=5_000, duration_s=4.0)
    load = threading.Thread(target=run_load, args=(plan, endpoints, threading.Event()))
    load.start()
    until_recorded(1_000)
    seen = []
    while load.is_alive():
        seen.append(only(endpoints))
    load.join()
    assert all(result.holds for result in seen), [result.findings for result in seen if not result.holds]
    assert any(result.unfinished for result in seen)
    assert only(endpoints).expected == 20_000
