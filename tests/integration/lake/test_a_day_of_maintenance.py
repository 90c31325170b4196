"""A day of commits with their maintenance, in a consumer's process, in two minutes."""

import pytest

from k2ctl.checks.bench.day import METRICS, SHOWN, bench_day
from k2ctl.checks.bench.suite import Bench, Sizes
from k2ctl.profiles import load_profile


@pytest.mark.slow
def test_after_a_day_nothing_has_grown_but_the_hours() -> None:
    figures = bench_day(Bench(load_profile("laptop"), "embedded", lambda _: None, Sizes(day_hour_s=3.0)))
    by_case = {(figure.metric, figure.case): figure.value for figure in figures}
    assert len(by_case) == len(METRICS) * (len(SHOWN) + 1) + 1

    def adds(metric: str) -> float:
        """By which share of it an hour of the second half adds to it."""
        return by_case[metric, "an hour adds"]

    assert adds("consumer, memory") <= 0.015
    assert adds("consumer, handles") <= 0.01
    assert adds("consumer, threads") <= 0.01
    a_snapshot = [by_case["metadata file", hour] / by_case["snapshots", hour] for hour in ("hour 12", "hour 24")]
    assert a_snapshot[1] <= 1.1 * a_snapshot[0]
    assert adds("files on disk") <= 0.08  # of each hour stay its merged file and one snapshot, with its own files
    # A hundred snapshots, those of the last hour, and one of each other hour.
    assert by_case["snapshots", "hour 24"] <= 100 + 60 + 24
    assert by_case["manifests", "hour 24"] < 100
    assert by_case["files of the newest hour", "hour 24"] < 40
    assert by_case["orphans left", "hour 24"] < 40
    assert by_case["rewritten, of a byte stored", "24 hours"] <= 3
