"""Metrics: what is declared is what is served, in Prometheus' text."""

import re
import urllib.request
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from k2ctl.domain.checkpoint import Counts
from k2ctl.domain.dedup_status import DedupStatus, TierStatus
from k2ctl.domain.figure import Durations
from k2ctl.domain.line_status import LineCounts
from k2ctl.domain.status_parts import MaintenanceTotals, PartitionStatus, StateSyncStatus
from k2ctl.errors import UsageError
from k2ctl.metrics import METRICS, Exporter, samples
from tests.support.statuses import a_status

STATUS = a_status(
    level="SOFT", level_number=1, lag_trades=None, lag_seconds=1.5, drain_s=2.0, retention_left_s=9.0,
    counts=Counts(seen=10, stored=6, duplicate=1, shed=1, spilled=1, dead_lettered=1, undecodable=2, filtered=5),
    state=StateSyncStatus("redis", "REDUCED", "away", behind_symbols=3, failures=1),
    partitions=[PartitionStatus(0, 5, 3, 9)], transitions_total={"NORMAL>SOFT": 2},
    commit_times=Durations().plus(0.05).plus(0.3).plus(60), maintenance=MaintenanceTotals(compactions=2),
    maintenance_error="OSError: full", dedup=DedupStatus(tier=TierStatus(lines={"A": LineCounts(3, 1, 1)})),
)  # fmt: skip


def test_every_sample_is_declared_with_its_labels() -> None:
    found = list(samples(STATUS))
    assert {name for name, _, _ in found} == set(METRICS)
    assert ("k2_state_reduced", ("t", "redis"), 1.0) in found
    assert ("k2_maintenance_failing", (), 1.0) in found
    assert ("k2_dedup_save_failing", ("t",), 0.0) in found
    for name, labels, _ in found:
        assert len(labels) == len(METRICS[name].labels), name


def test_a_consumer_that_tells_nothing_of_an_action_has_done_none_of_it() -> None:
    found = list(samples(replace(STATUS, by_priority={"LOW": {"process": 3}})))
    assert ("k2_messages_processed_total", ("LOW",), 3.0) in found
    assert ("k2_messages_shed_total", ("LOW", "degradation"), 0.0) in found


def test_names_follow_prometheus_conventions() -> None:
    for name, info in METRICS.items():
        assert re.fullmatch(r"k2_[a-z_]+", name)
        assert name.endswith("_total") == (info.kind == "counter"), name
        assert info.meaning.endswith(".")


def test_the_exporter_serves_what_it_was_given_and_leaves_out_what_is_unknown() -> None:
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
    assert families["k2_filtered_records"].samples[0].value == 5
    assert families["k2_degradation_threshold_trades"].samples[0].labels["topic"] == "t"
    assert families["k2_degradation_transitions"].samples[0].labels == {"from_level": "NORMAL", "to_level": "SOFT"}
