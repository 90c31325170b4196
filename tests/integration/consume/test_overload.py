"""A consumer under real pressure: levels up and down, CRITICAL flowing, everything deferred backfilled, once.

Consumers are held to a budget, so that the tests take seconds; the lag, the levels and the trades are real.
"""

import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from k2ctl.clock import SystemClock
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.deferred import backfill as recovery
from k2ctl.domain.status import ConsumerStatus
from k2ctl.domain.topics import trades_topic
from k2ctl.endpoints import Endpoints
from k2ctl.errors import LakeError
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.producer import BatchProducer
from k2ctl.kafka.telemetry import TelemetryWriter
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.maintenance.orphans import remove_orphans
from k2ctl.load.generator import run_load
from k2ctl.load.market import Faults, SyntheticMarket, new_run_id
from k2ctl.load.plan import plan_load
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Universe
from k2ctl.query.session import Session
from k2ctl.query.stream import KafkaStream
from tests.made_trades import ids_of, quick_profile, stored_ids
from tests.support.consumers import (
    BUDGET,
    CONTEXT,
    NAMES,
    all_stored,
    backlog,
    die_at,
    one_platform,
    pressed,
    run_until,
    spill_files,
    topic_of,
)
from tests.support.independent_reader import Sources, assert_stored_once
from tests.support.platforms import catch_up

SLOW = BUDGET / 4
"""A backlog lasts until the level that it is read for, also where a busy machine lets the consumer look seldom."""


@pytest.fixture
def profile(endpoints: Endpoints, exchange: str) -> Profile:
    chosen = pressed(quick_profile(commit_interval_s=0.2), endpoints, exchange)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic_of(chosen), chosen.topic.partitions)
    return chosen


def assert_all_stored_once(endpoints: Endpoints, profile: Profile, trades: np.ndarray) -> None:
    assert assert_stored_once(Sources.of(endpoints), topic_of(profile)) == 0
    assert stored_ids(endpoints) == ids_of(trades)
    with Lake.at(endpoints) as lake:
        total, ledger = checkpoints_of(lake.table()).total(), checkpoints_of(lake.table()).ledger
        remove_orphans(lake, 0.0, SystemClock())  # what a killed consumer has written and not committed
        spill_folder = Path(lake.table().location().removeprefix("file://") + "-k2") / "spill"
    assert total.balanced
    assert (total.stored, total.duplicate, total.shed, total.spilled, total.lost) == (len(trades), 0, 0, 0, 0)
    assert ledger.entries == ()
    assert not spill_folder.exists() or list(spill_folder.iterdir()) == []


def test_all_five_levels_up_and_down_under_load_and_every_trade_is_stored_once(
    endpoints: Endpoints, profile: Profile
) -> None:
    """Load at three times what the consumer may process, with the intake open and closed by it."""
    loaded = threading.Event()
    telemetry = TelemetryWriter(endpoints)
    plan = plan_load(profile, rate=36_000, duration_s=5, faults=Faults(corrections=0.01, cancels=0.01))
    summaries = []

    def load() -> None:
        summaries.append(run_load(plan, endpoints, threading.Event()))
        loaded.set()

    thread = threading.Thread(target=load)
    thread.start()
    said, _ = run_until(endpoints, profile, lambda s: loaded.is_set() and all_stored(s), telemetry=telemetry)
    thread.join()
    assert {status.level for status in said} == set(NAMES)
    moves = [(move.from_level, move.to_level) for move in said[-1].transitions]
    for upper, lower in zip(NAMES[1:], NAMES, strict=False):
        assert (upper, lower) in moves, "left one level at a time"
    assert max(status.outstanding for status in said) > 0
    assert max(status.critical_lag_seconds or 0.0 for status in said) < 10.0
    summary = summaries[0]
    assert (summary.paused_s > 0) == any(status.intake == "closed" for status in said)
    with Lake.at(endpoints) as lake:
        rows = lake.table().scan().count()
        total = checkpoints_of(lake.table()).total()
    assert assert_stored_once(Sources.of(endpoints), topic_of(profile)) == 0
    assert summary.trades_acknowledged == rows == total.stored
    assert total.balanced
    assert said[-1].sequence.open_gaps == said[-1].sequence.explained == 0


@pytest.mark.parametrize("interval_s", [15.0, 200.0])
@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_an_overload_is_seen_within_ten_seconds_however_seldom_commits_are_due(
    endpoints: Endpoints, profile: Profile, interval_s: float
) -> None:
    seldom = profile.model_copy(
        update={"consumer": profile.consumer.model_copy(update={"commit_interval_s": interval_s})}
    )
    backlog(endpoints, seldom, 60_000)
    started_s = time.monotonic()

    def seen_or_late(status: ConsumerStatus) -> bool:
        return status.level == NAMES[-1] or time.monotonic() - started_s > 11

    said, _ = run_until(endpoints, seldom, seen_or_late, budget=1_000.0)
    assert said[-1].level == NAMES[-1], f"{said[-1].lag_committed_trades:,} trades are not stored"


def open_gaps(status: ConsumerStatus) -> int:
    """Gaps that nothing explains."""
    return status.sequence.open_gaps + status.sequence.lost_gaps


def reported_gaps(endpoints: Endpoints, profile: Profile) -> dict[str, int]:
    """State → missing trades, as `k2ctl gaps` and the other ways of asking report."""
    with Session(Lake.at(endpoints), KafkaStream(endpoints, topic_of(profile)), universe=Universe(profile)) as session:
        report, _ = session.gaps(None)
    found: dict[str, int] = {}
    for gap in report.gaps:
        found[gap.state] = found.get(gap.state, 0) + gap.missing
    return found


def test_what_a_consumer_has_deferred_is_no_gap_to_the_next_one(endpoints: Endpoints, profile: Profile) -> None:
    """The next one knows the table and the ledger alone; the trades after a range show it, whenever they come."""
    market, producer = SyntheticMarket(Universe(profile), new_run_id()), BatchProducer(endpoints, topic_of(profile), 1)
    deferral = profile.degradation.deferral.model_copy(update={"backfill_per_s": 1})
    keeping = profile.model_copy(update={"degradation": profile.degradation.model_copy(update={"deferral": deferral})})

    def read_on(count: int, budget: float | None, done: Callable[[ConsumerStatus], bool]) -> list[ConsumerStatus]:
        """More trades of the same feed, read by a consumer of its own, which gives nothing back."""
        now_us = time.time_ns() // 1000
        batch = market.take(count, now_us - 10_000, now_us)
        producer.send_all(batch.trades, batch.per_partition)
        return run_until(endpoints, keeping, done, budget=budget)[0]

    said = read_on(2_000, None, lambda status: status.lag_committed_trades == 0)
    said += read_on(60_000, BUDGET, lambda status: status.outstanding > 100)
    said += (latest := read_on(100, None, lambda status: status.lag_committed_trades == 0))
    if endpoints.state_url.startswith("memory"):  # from Redis the next one knows of the deferred trades as read
        assert max(status.sequence.explained for status in latest) > 0
    assert reported_gaps(endpoints, profile).keys() == {"EXPLAINED"}

    after, _ = run_until(endpoints, profile, all_stored, budget=None)
    assert {open_gaps(status) for status in (*said, *after)} == {0}
    assert reported_gaps(endpoints, profile) == {}


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_what_is_deferred_is_explained_and_no_gap(endpoints: Endpoints, profile: Profile) -> None:
    trades = backlog(endpoints, profile, 60_000)
    said, _ = run_until(endpoints, profile, lambda s: s.outstanding > 3_000)
    assert said[-1].sequence.open_gaps == 0
    assert said[-1].sequence.explained > 0
    for part in said:
        assert part.by_priority["CRITICAL"]["shed"] == part.by_priority["CRITICAL"]["spill"] == 0
    again, _ = run_until(endpoints, profile, all_stored, budget=None)
    assert again[0].sequence.open_gaps == 0, "a consumer that starts again knows what is outstanding"
    assert_all_stored_once(endpoints, profile, trades)


@pytest.mark.parametrize("stack", ["local"], indirect=True)
def test_it_stops_within_two_seconds_at_every_level_and_loses_nothing(endpoints: Endpoints, profile: Profile) -> None:
    fed = []
    for level in NAMES[1:]:
        fed.append(backlog(endpoints, profile, 50_000))
        _, seconds = run_until(
            endpoints, profile, lambda s, wanted=level: NAMES.index(s.level) >= NAMES.index(wanted)
        )  # fmt: skip
        assert seconds < 2.0, f"{level}: {seconds:.1f} s"
    run_until(endpoints, profile, all_stored, budget=None)
    assert_all_stored_once(endpoints, profile, np.concatenate(fed))


@pytest.mark.parametrize("stack", ["local"], indirect=True)
def test_backfill_gives_everything_back_and_a_second_one_nothing(endpoints: Endpoints, profile: Profile) -> None:
    trades = backlog(endpoints, profile, 60_000)
    run_until(endpoints, profile, lambda s: s.outstanding > 5_000)
    first = Consumer(endpoints, ConsumerPlan(profile, backfill=True))
    outstanding = first.ledger.count
    assert first.run(threading.Event()).backfilled == outstanding > 0
    second = Consumer(endpoints, ConsumerPlan(profile, backfill=True))
    assert second.run(threading.Event()).backfilled == 0
    run_until(endpoints, profile, all_stored, budget=None)
    assert_all_stored_once(endpoints, profile, trades)


@pytest.mark.parametrize("stack", ["local"], indirect=True)
def test_an_edited_policy_gives_back_the_same_trades(endpoints: Endpoints, profile: Profile) -> None:
    """Edited, and edited back in the middle of backfill; no term of the balance is wrong on the way."""
    trades = backlog(endpoints, profile, 60_000)
    run_until(endpoints, profile, lambda s: s.outstanding > 5_000 and s.outstanding_spilled > 0)
    tiers = profile.market.tiers.model_copy(update={"critical": 5, "low": 1})
    deferral = profile.degradation.deferral.model_copy(update={"backfill_per_s": 5_000})
    degradation = profile.degradation.model_copy(update={"deferral": deferral})
    market = profile.market.model_copy(update={"tiers": tiers})
    edited = profile.model_copy(update={"market": market, "degradation": degradation})
    for commits in (1, 4):
        consumer, stop = Consumer(endpoints, ConsumerPlan(edited, backfill=True)), threading.Event()
        consumer.run(stop, lambda c=consumer, n=commits, e=stop: e.set() if c.totals.commits >= n else None)
        counts = consumer.counts()
        assert counts.balanced
        assert counts.duplicate == counts.lost == 0
        assert min(counts.shed, counts.spilled) >= 0
        assert counts.shed + counts.spilled == consumer.ledger.count
    run_until(endpoints, profile, all_stored, budget=None)
    assert_all_stored_once(endpoints, profile, trades)


@pytest.mark.parametrize("stack", ["local"], indirect=True)
def test_an_edited_policy_waits_for_a_store_that_is_away(
    endpoints: Endpoints, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    trades = backlog(endpoints, profile, 60_000)
    run_until(endpoints, profile, lambda s: s.outstanding > 5_000 and s.outstanding_spilled > 0)
    tiers = profile.market.tiers.model_copy(update={"critical": 5, "low": 1})
    edited = profile.model_copy(update={"market": profile.market.model_copy(update={"tiers": tiers})})
    asked, to_fail = recovery.stored_identities, iter([True] * 3)

    def away_at_first(*of: Any) -> dict[int, np.ndarray]:
        if next(to_fail, False):
            raise OSError("the store is away")
        return asked(*of)

    monkeypatch.setattr(recovery, "stored_identities", away_at_first)
    consumer = Consumer(endpoints, ConsumerPlan(edited, backfill=True))
    assert consumer.run(threading.Event()).backfilled > 0
    assert not next(to_fail, False), "it was asked again"
    run_until(endpoints, profile, all_stored, budget=None)
    assert_all_stored_once(endpoints, profile, trades)


@pytest.mark.parametrize("stack", ["local"], indirect=True)
def test_a_damaged_spill_file_is_quarantined_and_its_trades_come_from_kafka(
    endpoints: Endpoints, profile: Profile
) -> None:
    trades = backlog(endpoints, profile, 150_000)
    run_until(endpoints, profile, lambda _: len(spill_files(endpoints)) >= 2)
    flipped, gone, *_ = spill_files(endpoints)
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 0xFF
    flipped.write_bytes(content)
    gone.unlink()
    Consumer(endpoints, ConsumerPlan(profile, backfill=True)).run(threading.Event())
    run_until(endpoints, profile, all_stored, budget=None)
    assert_all_stored_once(endpoints, profile, trades)
    assert [kept.name for kept in (flipped.parent.parent / "quarantine").iterdir()] == [flipped.name]
    assert not flipped.exists()


def test_a_full_disk_is_a_level_and_nothing_is_lost(
    endpoints: Endpoints, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit for spill files stands for the disk: both are an error of the same write."""
    deferral = profile.degradation.deferral.model_copy(update={"spill_limit_mb": 1})
    full = profile.model_copy(update={"degradation": profile.degradation.model_copy(update={"deferral": deferral})})
    monkeypatch.setattr("k2ctl.lake.side_folder.SideFolder.used_bytes", lambda _: 10**9)
    trades = backlog(endpoints, profile, 60_000)
    said: list[ConsumerStatus] = []
    # Where Kafka does not hold what cannot be spilled, the consumer waits, and says so when it is asked to stop.
    ending = pytest.raises(LakeError, match="deferred") if endpoints.engine == "embedded" else nullcontext()
    with ending:
        run_until(endpoints, full, lambda s: said.append(s) or "spill failed" in s.level_reason)  # type: ignore[func-returns-value]
    assert (said[-1].level, said[-1].intake) == ("CIRCUIT_BREAK", "closed")
    monkeypatch.undo()
    run_until(endpoints, profile, all_stored, budget=None)
    assert_all_stored_once(endpoints, profile, trades)


def test_ranges_that_retention_has_deleted_are_lost_and_said(local_stack: Endpoints, home: Path, exchange: str) -> None:
    endpoints, profile = one_platform(local_stack, home, exchange)
    backlog(endpoints, profile, 60_000)
    said, _ = run_until(endpoints, profile, lambda s: s.outstanding > s.outstanding_spilled, budget=SLOW)
    shed = said[-1].outstanding - said[-1].outstanding_spilled
    with BrokerAdmin(endpoints) as admin:
        marks = admin.watermarks(topic_of(profile))
        admin.delete_records(topic_of(profile), {partition: mark.high for partition, mark in marks.items()})
    Consumer(endpoints, ConsumerPlan(profile, backfill=True)).run(threading.Event())
    catch_up(endpoints, profile)
    with Lake.at(endpoints) as opened:
        total = checkpoints_of(opened.table()).total()
    assert total.balanced
    assert 0 < shed <= total.lost
    assert total.stored + total.lost == 60_000


def test_a_topic_of_others_that_keeps_less_than_an_hour_is_no_place_to_leave_trades_in(
    local_stack: Endpoints, home: Path, exchange: str
) -> None:
    """What the topic says counts, not what the profile would have made it with."""
    with BrokerAdmin(local_stack) as admin:
        topic = trades_topic("equities", exchange)
        admin.create_topic(topic, quick_profile().topic.partitions, {"retention.ms": str(30 * 60_000)})
        assert admin.retention_s(topic) == 1800
    endpoints, profile = one_platform(local_stack, home, exchange)
    assert profile.topic.retention_hours >= 1
    trades = backlog(endpoints, profile, 60_000)
    said, _ = run_until(endpoints, profile, lambda s: s.by_priority["LOW"]["spill"] > 0, budget=SLOW)
    assert said[-1].by_priority["LOW"]["shed"] == 0
    run_until(endpoints, profile, all_stored, budget=None)
    assert_all_stored_once(endpoints, profile, trades)


KILLED_AT = {
    "entering a level": ("k2ctl.consume.degradation", "Controller._change", "after"),
    "before a spill file": ("k2ctl.lake.side_folder", "SideFolder.write", "before"),
    "after a spill file": ("k2ctl.lake.side_folder", "SideFolder.write", "after"),
    "before a commit": ("k2ctl.lake.writer", "TableWriter.commit", "before"),
    "after a commit": ("k2ctl.lake.writer", "TableWriter.commit", "after"),
    "having read a part of the ledger": ("k2ctl.deferred.backfill", "Backfill._next_part", "after"),
    "after the spill files are struck": ("k2ctl.deferred.spill_files", "Spiller.delete", "before"),
}


def consume_and_die(endpoints: Endpoints, profile: Profile, point: str, call: int, budget: float) -> None:
    """A consumer's process, which kills itself at a point; the parent kills it if it does not come by."""
    die_at(point, call, KILLED_AT)
    Consumer(endpoints, ConsumerPlan(profile, budget=budget)).run(threading.Event())


def kill_at_points(
    endpoints: Endpoints, profile: Profile, kills: list[tuple[str, int, float]], patience_s: float = 20.0
) -> None:
    """Consumers that die at (point, passage, budget), one after the other, each with some more to do.

    At least half of them have to come by their point.
    """
    missed, fed = [], [backlog(endpoints, profile, 40_000)]
    for point, call, budget in kills:
        fed.append(backlog(endpoints, profile, 6_000))
        arguments = (endpoints, profile, point, call, budget)
        process = CONTEXT.Process(target=consume_and_die, args=arguments)
        process.start()
        process.join(patience_s)
        if process.is_alive():
            missed.append(point)
            process.kill()
            process.join()
        assert process.exitcode == -signal.SIGKILL, f"{point}: exit {process.exitcode}"
    assert 2 * len(missed) <= len(kills), f"not met: {missed}"
    run_until(endpoints, profile, all_stored, budget=None)
    assert_all_stored_once(endpoints, profile, np.concatenate(fed))


def test_killed_while_deferring_and_backfilling(embedded_stack: Endpoints, home: Path, exchange: str) -> None:
    endpoints, profile = one_platform(embedded_stack, home, exchange)
    points = ["after a spill file", "before a commit", "having read a part of the ledger"]
    kill_at_points(endpoints, profile, [(point, 1, 8_000.0) for point in points])


@pytest.mark.by_hand
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_every_point_of_every_level(endpoints: Endpoints, profile: Profile) -> None:
    rng = random.Random(4)
    budgets = [8_000.0, 30_000.0, 1e9]
    kills = [(point, rng.randint(1, 6), rng.choice(budgets)) for point in KILLED_AT for _ in range(6)]
    rng.shuffle(kills)
    kill_at_points(endpoints, profile, kills)
