"""Benchmarks, made small, on a stack of their own."""

import pytest

from k2ctl.checks.bench.consume import bench_consume, bench_naive
from k2ctl.checks.bench.suite import Bench, Sizes
from k2ctl.profiles import load_profile


@pytest.mark.slow
def test_the_naive_consumer_and_ours_take_the_same_backlog() -> None:
    sizes = Sizes(naive=4_000, repeat=1, warm_ups=0)
    figures = bench_naive(Bench(load_profile("laptop"), "embedded", lambda _: None, sizes))
    assert len(figures) == 8
    assert all(figure.value > 0 for figure in figures)
    assert {figure.unit for figure in figures} == {"trades/s", "trades/CPU s"}
    held = [figure for figure in figures if figure.ratio is not None]
    assert [figure.metric for figure in held] == ["k2ctl, against naive JSON", "k2ctl, against naive SBE"] * 2


def test_a_drain_is_held_against_reading_and_writing_alone() -> None:
    sizes = Sizes(drain=4_000, drain_framed=4_000, repeat=1, warm_ups=0)
    figures = bench_consume(Bench(load_profile("laptop"), "embedded", lambda _: None, sizes))
    assert all(figure.value > 0 for figure in figures)
    for case in ("frame 1", "frame 100"):
        ours, reading, writing = [figure for figure in figures if figure.case == case][:3]
        assert ours.baseline is not None
        assert 1 / ours.baseline - (1 / reading.value + 1 / writing.value) < 1e-12
        assert ours.ratio == ours.value / ours.baseline
