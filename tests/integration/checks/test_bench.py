"""Benchmarks, made small, on a stack of their own."""

from contextlib import closing
from pathlib import Path

import pytest

from k2ctl.checks.baselines.loops import read_csv_s
from k2ctl.checks.bench import processes
from k2ctl.checks.bench.consume import bench_consume, bench_naive, send_backlog
from k2ctl.checks.bench.drain import through_k2ctl
from k2ctl.checks.bench.growth import bench_growth
from k2ctl.checks.bench.load import write_archive
from k2ctl.checks.bench.suite import Bench, Sizes, bench_stack
from k2ctl.errors import CheckFailed
from k2ctl.kafka.telemetry import TelemetryReader
from k2ctl.profiles import load_profile
from tests.support.feed_files import everything


@pytest.mark.slow
def test_the_naive_consumer_and_ours_take_the_same_backlog() -> None:
    sizes = Sizes(naive=4_000, repeat=1, warm_ups=0)
    figures = bench_naive(Bench(load_profile("laptop"), "embedded", lambda _: None, sizes))
    assert len(figures) == 8
    assert all(figure.value > 0 for figure in figures)
    assert {figure.unit for figure in figures} == {"trades/s", "trades/CPU s"}
    held = [figure for figure in figures if figure.ratio is not None]
    assert [figure.metric for figure in held] == ["k2ctl, against naive JSON", "k2ctl, against naive SBE"] * 2


@pytest.mark.slow
def test_a_commit_and_a_plan_take_no_more_in_an_old_table_and_a_trade_no_more_at_a_high_rate() -> None:
    sizes = Sizes(growth_hours=(1, 200), growth_rates=(5_000, 20_000), growth_s=4.0)
    figures = bench_growth(Bench(load_profile("laptop"), "embedded", lambda _: None, sizes))
    costs = [figure.value for figure in figures if figure.metric == "consumer, a trade"]
    assert costs[1] < costs[0]
    cores = {figure.case: figure for figure in figures if figure.metric == "consumer, cores"}
    assert (cores["no trades"].goal, cores["5,000/s"].goal) == (0.01, 0.1)
    assert 0 < cores["no trades"].value < cores["20,000/s"].value
    by_age = {figure.metric: figure.ratio for figure in figures if figure.case == "200 h"}
    assert set(by_age) == {"commit, p95", "a window planned", "metadata"}
    assert all(ratio is not None and ratio < 3 for ratio in by_age.values())  # the goal is 1.5, on a quiet machine


def test_no_trade_of_a_backlog_is_deferred_by_a_ladder_within_reach() -> None:
    laptop = load_profile("laptop")
    levels = tuple(level.model_copy(update={"lag": level.lag // 10_000}) for level in laptop.degradation.levels)
    degradation = laptop.degradation.model_copy(update={"levels": levels, "embedded_divisor": 1})
    slow = laptop.consumer.model_copy(update={"fetch_batch": 1})
    profile = laptop.model_copy(update={"degradation": degradation, "consumer": slow})
    bench = Bench(profile, "embedded", lambda _: None)
    with bench_stack(bench.engine, bench.even) as endpoints:
        unused = bench.unused_profile()
        send_backlog(endpoints, unused, 60_000)
        assert through_k2ctl(endpoints, unused).trades == 60_000


def test_a_drain_is_held_against_reading_and_writing_alone() -> None:
    sizes = Sizes(drain=4_000, drain_framed=4_000, repeat=1, warm_ups=0)
    figures = bench_consume(Bench(load_profile("laptop"), "embedded", lambda _: None, sizes))
    assert all(figure.value > 0 for figure in figures)
    for case in ("frame 1", "frame 100"):
        ours, reading, writing = [figure for figure in figures if figure.case == case][:3]
        assert ours.baseline is not None
        assert 1 / ours.baseline - (1 / reading.value + 1 / writing.value) < 1e-12
        assert ours.ratio == ours.value / ours.baseline


def test_the_archive_that_is_replayed_is_one_of_binance(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades-2025-01-01.csv"
    write_archive(path, 1_000)
    found = everything(path, "binance-trades")
    assert (len(found.trades), found.reasons) == (1_000, [])
    assert read_csv_s(path) > 0


def test_without_a_load_that_reports_nothing_is_said_to_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "BEGIN_S", 0.0)
    with (
        bench_stack("embedded", load_profile("laptop")) as endpoints,
        closing(TelemetryReader(endpoints)) as telemetry,
        pytest.raises(CheckFailed, match="The load did not begin"),
    ):
        processes.sent_by_load(telemetry)
