"""The metrics that a consumer and the service serve; dashboards are checked against them.

Those of a consumer are declared on the fields of its status. Names follow Prometheus' conventions; no label has
unbounded values.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, is_dataclass, replace
from itertools import accumulate
from typing import Any, Final, get_args, get_type_hints

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as MetricFamily
from prometheus_client.registry import Collector

from k2ctl.domain.figure import TOPIC, Durations, Metric, Number, figures_of, series_of
from k2ctl.domain.status import ConsumerStatus
from k2ctl.errors import UsageError

STATUS_AGE: Final = "k2_status_age_seconds"


@dataclass(frozen=True)
class MetricInfo:
    """A metric: what it means, and its labels."""

    # `gauge`, `counter` or `histogram`.
    kind: str
    meaning: str
    labels: tuple[str, ...] = ()


def _declared(holder: type) -> Iterator[Metric]:
    """The metrics of a dataclass of figures and of the dataclasses that its fields hold."""
    held = get_type_hints(holder)
    for name, figure in figures_of(holder):
        yield from (replace(metric, meaning=metric.meaning or figure.meaning) for metric in figure.metrics)
        for kind in (held[name], *get_args(held[name])):
            if is_dataclass(kind) and isinstance(kind, type):
                yield from _declared(kind)


METRICS: Final[dict[str, MetricInfo]] = {
    STATUS_AGE: MetricInfo("gauge", "Age of these figures: high when the consumer's loop stands still.")
}
"""What a consumer serves: the age of its status, and what the fields of the status declare."""
for _metric in _declared(ConsumerStatus):
    METRICS.setdefault(_metric.name, MetricInfo(_metric.kind, _metric.meaning, _metric.labels))

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

Sample = tuple[str, tuple[str, ...], Number]


def samples(status: ConsumerStatus, age_s: float = 0.0) -> Iterator[Sample]:
    """(metric, label values, value) of a status of this age; a value of None is unknown and is left out."""
    yield STATUS_AGE, (), age_s
    for metric, labels, number in series_of(status):
        yield metric.name, ((status.topic, *labels) if TOPIC in metric.labels else labels), number


def families(found: Iterable[Sample]) -> Iterator[MetricFamily]:
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

    def collect(self) -> Iterable[MetricFamily]:
        """Called by the server for every scrape."""
        return families(samples(self._status, time.monotonic() - self._updated_s)) if self._status else []

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
