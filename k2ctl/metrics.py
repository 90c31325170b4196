"""Every metric, declared once: name, kind, meaning and labels. Dashboards are checked against this list.

Names follow Prometheus' conventions; no label has unbounded values.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from k2ctl.domain.status import ConsumerStatus, Durations
from k2ctl.errors import UsageError


@dataclass(frozen=True)
class MetricInfo:
    """A metric: its kind (`gauge`, `counter` or `histogram`), what it means, and its labels."""

    kind: str
    meaning: str
    labels: tuple[str, ...] = ()


METRICS: Final[dict[str, MetricInfo]] = {
    "k2_status_age_seconds": MetricInfo("gauge", "Age of these figures: high when the consumer's loop stands still."),
    "k2_degradation_level": MetricInfo("gauge", "Level of degradation: 0 NORMAL to 4 CIRCUIT_BREAK.", ("topic",)),
    "k2_degradation_threshold_trades": MetricInfo(
        "gauge", "Lag at which a level is entered, by the policy and the engine.", ("topic", "level")
    ),
    "k2_degradation_transitions_total": MetricInfo(
        "counter", "Changes of the level since the start.", ("from_level", "to_level")
    ),
    "k2_intake_open": MetricInfo("gauge", "1 while producers may send, 0 at CIRCUIT_BREAK.", ("topic",)),
    "k2_messages_processed_total": MetricInfo("counter", "Trades that were processed at once.", ("priority",)),
    "k2_messages_shed_total": MetricInfo("counter", "Trades left in Kafka for later.", ("priority", "reason")),
    "k2_messages_spilled_total": MetricInfo("counter", "Trades deferred on disk.", ("priority", "reason")),
    "k2_trades_outstanding": MetricInfo("gauge", "Trades deferred and not backfilled yet.", ("topic",)),
    "k2_trades_backfilled_total": MetricInfo("counter", "Trades that were deferred and are in the table now."),
    "k2_trades": MetricInfo(
        "gauge", "The accounting identity: seen is the sum of the other terms, in trades.", ("topic", "term")
    ),
    "k2_undecodable_records": MetricInfo(
        "gauge", "Records that could not be decoded; they are dead letters.", ("topic",)
    ),
    "k2_consumer_lag_messages": MetricInfo(
        "gauge", "Records between the table's offset and the high watermark.", ("topic", "partition")
    ),
    "k2_consumer_lag_trades": MetricInfo("gauge", "Trades not yet admitted; this lag controls the level.", ("topic",)),
    "k2_consumer_lag_seconds": MetricInfo("gauge", "Age of the oldest record that is not in the table.", ("topic",)),
    "k2_consumer_critical_lag_seconds": MetricInfo("gauge", "The same, of CRITICAL symbols' partitions.", ("topic",)),
    "k2_consumer_drain_seconds": MetricInfo("gauge", "Time until the lag is gone, while it shrinks.", ("topic",)),
    "k2_retention_left_seconds": MetricInfo(
        "gauge", "Time until Kafka's retention deletes what is still needed.", ("topic",)
    ),
    "k2_consumer_rate_in": MetricInfo("gauge", "Trades read per second, over five seconds.", ("topic",)),
    "k2_consumer_rate_committed": MetricInfo("gauge", "Trades committed per second, over five seconds.", ("topic",)),
    "k2_commits_total": MetricInfo("counter", "Commits to the table."),
    "k2_commit_seconds": MetricInfo("histogram", "How long a commit took, spill files and dead letters included."),
    "k2_snapshot_age_seconds": MetricInfo("gauge", "Time since the last commit of this consumer."),
    "k2_compactions_total": MetricInfo("counter", "Merges of small files by this consumer."),
    "k2_files_merged_total": MetricInfo("counter", "Small files that became larger ones."),
    "k2_snapshots_expired_total": MetricInfo("counter", "Old snapshots that were dropped."),
    "k2_orphans_removed_total": MetricInfo("counter", "Unreachable files that were deleted."),
    "k2_maintenance_failing": MetricInfo("gauge", "1 while the last step of maintenance failed, 0 otherwise."),
    "k2_dedup_save_failing": MetricInfo(
        "gauge", "1 while the last save of deduplication state failed, 0 otherwise.", ("topic",)
    ),
    "k2_memory_bytes": MetricInfo("gauge", "Resident memory of the consumer."),
    "k2_memory_share": MetricInfo("gauge", "Resident memory by its limit, planned state left out."),
    "k2_open_gaps": MetricInfo("gauge", "Gaps in sequence numbers that are open now.", ("topic",)),
    "k2_missing_trades": MetricInfo("gauge", "Sequence numbers in the open gaps.", ("topic",)),
    "k2_explained_trades": MetricInfo("gauge", "Missing sequence numbers that were deferred.", ("topic",)),
    "k2_lost_gap_trades": MetricInfo("gauge", "Sequence numbers in gaps open past the deadline.", ("topic",)),
    "k2_out_of_order_trades_total": MetricInfo("counter", "Trades whose sequence number came late.", ("topic",)),
    "k2_sequence_resets_total": MetricInfo("counter", "Restarts of a symbol's sequence numbers.", ("topic",)),
    "k2_untracked_trades_total": MetricInfo("counter", "Trades of venues that give no sequence numbers.", ("topic",)),
    "k2_unverified_symbols": MetricInfo(
        "gauge", "Symbols followed from the middle: what came before is not known.", ("topic",)
    ),
    "k2_idle_symbols": MetricInfo("gauge", "Symbols without a trade for five minutes.", ("topic",)),
    "k2_state_reduced": MetricInfo(
        "gauge", "1 while the state store lacks what is committed, 0 otherwise.", ("topic", "store")
    ),
    "k2_state_behind_symbols": MetricInfo("gauge", "Symbols committed and not in the state store.", ("topic",)),
    "k2_state_failures_total": MetricInfo("counter", "Calls of the state store that failed.", ("topic",)),
}

API_METRICS: Final[dict[str, MetricInfo]] = {
    "k2_api_requests_total": MetricInfo("counter", "Requests answered.", ("route", "status")),
    "k2_api_request_seconds": MetricInfo("histogram", "Time until the answer began.", ("route",)),
    "k2_api_answers_total": MetricInfo(
        "counter", "Answers with rows, by whether they were whole.", ("route", "complete")
    ),
    "k2_api_queries_running": MetricInfo("gauge", "Queries that hold a session."),
    "k2_api_streams_open": MetricInfo("gauge", "Clients that follow the live events."),
    "k2_api_tail_trades": MetricInfo("gauge", "Trades of the stream kept in memory."),
    "k2_api_ready": MetricInfo("gauge", "1 while the catalog answers and the stream is followed."),
    "k2_lake_rows": MetricInfo("gauge", "Rows of the table's current snapshot."),
    "k2_lake_files": MetricInfo("gauge", "Data files of the current snapshot."),
    "k2_lake_bytes": MetricInfo("gauge", "Bytes of these files."),
    "k2_lake_snapshots": MetricInfo("gauge", "Snapshots that the table keeps."),
    "k2_lake_snapshot_age_seconds": MetricInfo("gauge", "Time since the table's last commit, whoever made it."),
}
"""What `k2ctl api` serves of itself and of the table. A route is its template, never a path that a client made up."""

_TERMS: Final = ("seen", "stored", "duplicate", "shed", "spilled", "lost", "dead_lettered")

Sample = tuple[str, tuple[str, ...], float | Durations | None]


def samples(status: ConsumerStatus, age_s: float = 0.0) -> Iterator[Sample]:
    """(metric, label values, value) of a status of this age; a value of None is unknown and is left out."""
    topic = (status.topic,)
    yield "k2_status_age_seconds", (), age_s
    yield "k2_degradation_level", topic, status.level_number
    yield "k2_intake_open", topic, float(status.intake == "open")
    for level in status.ladder[1:]:
        yield "k2_degradation_threshold_trades", (status.topic, str(level["name"])), float(str(level["lag"]))
    for name, value in status.transitions_total.items():
        before, _, after = name.partition(">")
        yield "k2_degradation_transitions_total", (before, after), value
    for priority, actions in status.by_priority.items():
        yield "k2_messages_processed_total", (priority,), actions["process"]
        yield "k2_messages_shed_total", (priority, "degradation"), actions["shed"]
        yield "k2_messages_spilled_total", (priority, "degradation"), actions["spill"]
    yield "k2_trades_outstanding", topic, status.outstanding
    yield "k2_trades_backfilled_total", (), status.backfilled
    for term in _TERMS:
        yield "k2_trades", (status.topic, term), status.counts[term]
    yield "k2_trades", (status.topic, "pending"), status.pending
    yield "k2_undecodable_records", topic, status.counts["undecodable"]
    for part in status.partitions:
        behind = max(0, part.high_watermark - part.committed)
        yield "k2_consumer_lag_messages", (status.topic, str(part.partition)), behind
    yield "k2_consumer_lag_trades", topic, status.lag_trades
    yield "k2_consumer_lag_seconds", topic, status.lag_seconds
    yield "k2_consumer_critical_lag_seconds", topic, status.critical_lag_seconds
    yield "k2_consumer_drain_seconds", topic, status.drain_s
    yield "k2_retention_left_seconds", topic, status.retention_left_s
    yield "k2_consumer_rate_in", topic, status.rate_in
    yield "k2_consumer_rate_committed", topic, status.rate_committed
    yield "k2_commits_total", (), status.commits
    yield "k2_commit_seconds", (), status.commit_times
    last_us = status.last_commit_at_us
    yield "k2_snapshot_age_seconds", (), (status.at_us - last_us) / 1e6 if last_us else None
    yield from ((f"k2_{name}_total", (), count) for name, count in status.maintenance.items())
    yield "k2_maintenance_failing", (), float(bool(status.maintenance_error))
    yield "k2_dedup_save_failing", topic, float(bool(status.dedup_save_error))
    yield "k2_memory_bytes", (), status.memory_bytes
    yield "k2_memory_share", (), status.memory_share
    yield "k2_open_gaps", topic, status.sequence["open_gaps"]
    yield "k2_missing_trades", topic, status.sequence["missing_trades"]
    yield "k2_explained_trades", topic, status.sequence["explained"]
    yield from _sequence_samples(status)


def _sequence_samples(status: ConsumerStatus) -> Iterator[Sample]:
    """What the sequence numbers tell, and what holds of the state store."""
    topic, sequence, state = (status.topic,), status.sequence, status.state
    yield "k2_lost_gap_trades", topic, sequence.get("lost_trades")
    yield "k2_out_of_order_trades_total", topic, sequence.get("out_of_order")
    yield "k2_sequence_resets_total", topic, sequence.get("resets")
    yield "k2_untracked_trades_total", topic, sequence.get("untracked")
    yield "k2_unverified_symbols", topic, sequence.get("unverified")
    yield "k2_idle_symbols", topic, sequence.get("idle_symbols")
    if state:
        reduced = float(state["guarantee"] == "REDUCED")
        yield "k2_state_reduced", (status.topic, str(state["store"])), reduced
        yield "k2_state_behind_symbols", topic, float(str(state["behind_symbols"]))
        yield "k2_state_failures_total", topic, float(str(state["failures"]))


def families(found: Iterable[Sample]) -> Iterator[Metric]:
    """Samples as Prometheus' metric families, in the order of the list above."""
    grouped: dict[str, list[tuple[tuple[str, ...], float | Durations]]] = {}
    for name, labels, value in found:
        if value is not None:
            grouped.setdefault(name, []).append((labels, value))
    for name, info in METRICS.items():
        family: Any = _FAMILIES[info.kind](name, info.meaning, labels=info.labels)
        for labels, value in grouped.get(name, []):
            if isinstance(value, Durations):
                family.add_metric(labels, _cumulative(value), value.total_s)
            else:
                family.add_metric(labels, value)
        yield family


_FAMILIES: Final[dict[str, Any]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _cumulative(durations: Durations) -> list[tuple[str, float]]:
    """As Prometheus wants a histogram: per bound how many were not longer."""
    bounds = [*map(str, durations.bounds_s), "+Inf"]
    return list(zip(bounds, accumulate(durations.counts), strict=True))


class Exporter(Collector):
    """Serves the newest status as Prometheus text; on an address that others reach, to whoever asks."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._status: ConsumerStatus | None = None
        self._updated_s = 0.0
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(port, addr=address, registry=registry)
        except OSError as error:
            raise UsageError(
                f"{address}:{port} cannot be used for metrics: {error.strerror}.",
                f"Choose another: --metrics-port {port % 65535 + 1}, or --metrics-address 127.0.0.1",
            ) from error

    def update(self, status: ConsumerStatus) -> None:
        """Serve this from now on."""
        self._status, self._updated_s = status, time.monotonic()

    def collect(self) -> Iterable[Metric]:
        """Called by the server for every scrape."""
        return families(samples(self._status, time.monotonic() - self._updated_s)) if self._status else []

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
