"""The benchmark of deduplication, made small."""

import pytest

from k2ctl.checks.bench import dedup as bench_dedup
from k2ctl.checks.bench.dedup import DedupBench


def test_it_fills_what_it_says_and_keeps_the_rate_of_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_dedup, "PROBES", 200_000)
    monkeypatch.setattr(bench_dedup, "OWN_IDS", 1_000)
    monkeypatch.setattr(bench_dedup, "SEQUENCED_IDS", 100_000)
    figures = {figure.metric: figure for figure in DedupBench(120_000, 50_000, 0.001, lambda _: None).run()}
    assert figures["memory of chunks"].value == 3 * 98_878
    assert figures["false positives, of the rate set"].met
    assert figures["look-ups saved"].value > 0.999
