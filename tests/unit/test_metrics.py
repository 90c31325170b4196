"""Metrics: what is declared is what is served, in Prometheus' text."""

import re
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from k2ctl.domain.status import ConsumerStatus, Durations, PartitionStatus
from k2ctl.errors import UsageError
from k2ctl.lake.maintenance.maintainer import MaintenanceTotals
from k2ctl.metrics import METRICS, Exporter, samples

COUNTS = {
    "seen": 10,
    "stored": 6,
    "duplicate": 1,
    "shed": 1,
    "spilled": 1,
    "lost": 0,
    "dead_lettered": 1,
    "undecodable": 2,
}
STATUS = ConsumerStatus(
    id="c", pid=1, at_us=2_000_000, topic="t", epoch="e", level="SOFT", level_number=1, level_reason="",
    lag_trades=None, cooldown_left_s=0.0, lag_records=5, lag_committed_trades=5, lag_seconds=1.5,
    trades_per_record=1.0, rate_in=1.0,
    rate_committed=1.0, pending=3, counts=COUNTS, memory_bytes=1, memory_share=0.1, commits=7, commit_ms=50.0,
    last_commit_at_us=1_000_000, snapshot_id=1, critical_lag_seconds=0.5, lag_slope=0.0, drain_s=None,
    retention_left_s=None, intake="open", budget=None, outstanding=2, outstanding_spilled=1, backfilled=4,
    by_priority={"LOW": {"process": 1, "spill": 2, "shed": 3}},
    ladder=[{"name": "NORMAL", "lag": 0}, {"name": "SOFT", "lag": 2_000}],
    sequence={"open_gaps": 1, "missing_trades": 2, "explained": 3}, dedup={},
    state={"store": "redis", "guarantee": "REDUCED", "behind_symbols": 3, "failures": 1},
    partitions=[PartitionStatus(0, 5, 3, 9)], transitions_total={"NORMAL>SOFT": 2},
    commit_times=Durations().plus(0.05).plus(0.3).plus(60), maintenance=MaintenanceTotals(compactions=2).counts(),
)  # fmt: skip


def test_every_sample_is_declared_with_its_labels() -> None:
    found = list(samples(STATUS))
    assert {name for name, _, _ in found} == set(METRICS)
    assert ("k2_state_reduced", ("t", "redis"), 1.0) in found
    for name, labels, _ in found:
        assert len(labels) == len(METRICS[name].labels), name


def test_names_follow_prometheus_conventions() -> None:
    for name, info in METRICS.items():
        assert re.fullmatch(r"k2_[a-z_]+", name)
        assert name.endswith("_total") == (info.kind == "counter"), name
        assert info.meaning.endswith(".")


def test_the_exporter_serves_what_it_was_told_and_leaves_out_what_is_unknown() -> None:
    exporter = Exporter(port := 19464)
    try:
        exporter.update(STATUS)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        with pytest.raises(UsageError, match="cannot be used") as busy:
            Exporter(port)
        assert "--metrics-port 19465" in busy.value.hint
        with pytest.raises(UsageError, match=r"192\.0\.2\.1:19465 cannot be used"):
            Exporter(19465, "192.0.2.1")
    finally:
        exporter.close()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["k2_consumer_lag_seconds"].samples[0].value == 1.5
    assert families["k2_consumer_lag_messages"].samples[0].value == 6
    assert families["k2_consumer_lag_trades"].samples == []
    terms = {sample.labels["term"]: sample.value for sample in families["k2_trades"].samples}
    assert terms.pop("seen") == sum(terms.values()) - terms["pending"]
    commits = {s.labels.get("le"): s.value for s in families["k2_commit_seconds"].samples if "bucket" in s.name}
    assert (commits["0.025"], commits["0.05"], commits["0.5"], commits["10.0"], commits["+Inf"]) == (0, 1, 2, 2, 3)
    assert families["k2_degradation_threshold_trades"].samples[0].labels == {"topic": "t", "level": "SOFT"}
    assert families["k2_degradation_transitions"].samples[0].labels == {"from_level": "NORMAL", "to_level": "SOFT"}
