"""The metrics that a consumer and the service serve; dashboards are checked against them.

Those of a consumer are declared on the fields of its status. Names follow Prometheus' conventions; no label has
unbounded values.
"""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from itertools import accumulate
from typing import Any, Final, Protocol, get_args, get_type_hints
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as MetricFamily
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from k2ctl.clock import Clock, SystemClock
from k2ctl.domain.figure import TOPIC, Durations, Metric, Number, counter, figures_of, gauge, histogram, series_of
from k2ctl.domain.status import ConsumerStatus
from k2ctl.errors import UsageError

STATUS_AGE: Final = "k2_status_age_seconds"


def declared_metrics(holder: type) -> dict[str, Metric]:
    """By name the metrics of a dataclass of figures and of the dataclasses that its fields hold."""
    held, found = get_type_hints(holder), dict[str, Metric]()
    for name, figure in figures_of(holder):
        for metric in figure.metrics:
            found.setdefault(metric.name, metric)
        for kind in (held[name], *get_args(held[name])):
            if is_dataclass(kind) and isinstance(kind, type):
                found = declared_metrics(kind) | found
    return found


def _by_name(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


METRICS: Final = {
    **_by_name(gauge(STATUS_AGE, meaning="Age of these figures: high when the consumer's loop stands still.")),
    **declared_metrics(ConsumerStatus),
}
"""What a consumer serves: the age of its status, and what the fields of the status declare."""

API_METRICS: Final = _by_name(
    counter("k2_api_requests_total", "route", "status", meaning="Requests answered."),
    histogram("k2_api_request_seconds", "route", meaning="Time until the answer began."),
    counter("k2_api_answers_total", "route", "complete", meaning="Answers with rows, by whether they were whole."),
    gauge("k2_api_queries_running", meaning="Queries that hold a session.", across="sum"),
    gauge("k2_api_streams_open", meaning="Clients that follow the live events.", across="sum"),
    gauge("k2_api_tail_trades", meaning="Trades of the stream kept in memory.", across="max"),
    gauge("k2_api_ready", meaning="1 while the catalog answers and the stream is followed.", across="min"),
    gauge("k2_lake_rows", meaning="Rows of the table's current snapshot.", across="max"),
    gauge("k2_lake_files", meaning="Data files of the current snapshot.", across="max"),
    gauge("k2_lake_bytes", meaning="Bytes of the data files of the current snapshot.", across="max"),
    gauge("k2_lake_snapshots", meaning="Snapshots that the table keeps.", across="max"),
    gauge("k2_lake_snapshot_age_seconds", meaning="Time since the table's last commit, whoever made it.", across="min"),
)
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


class ProbeAnswer(Protocol):
    """How a probe is answered."""

    @property
    def well(self) -> bool:
        """Yes or no."""
        ...

    @property
    def reason(self) -> str:
        """Why, in a line."""
        ...


Probes = Mapping[str, Callable[[], ProbeAnswer]]
"""Path → what a supervisor that asks there gets: 200 for yes, 503 for no."""


class _ServerOfV6(ThreadingWSGIServer):
    """Listens on an IPv6 address."""

    address_family = socket.AF_INET6


class _Silent(WSGIRequestHandler):
    """Logs no requests: scrapes and probes come every few seconds."""

    def log_message(self, format: str, *args: object) -> None:
        """See the class."""


class Exporter(Collector):
    """Serves the newest status as Prometheus text, and probes; on an address that others reach, to whoever asks."""

    def __init__(
        self, port: int, address: str = "127.0.0.1", probes: Probes | None = None, clock: Clock | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self._status: ConsumerStatus | None = None
        self._updated_s = 0.0
        registry = CollectorRegistry()
        registry.register(self)
        try:
            kind = _ServerOfV6 if ":" in address else ThreadingWSGIServer
            self._server = make_server(address, port, _application(registry, probes or {}), kind, _Silent)
        except OSError as error:
            raise UsageError(
                f"{address}:{port} cannot be used for metrics: {error.strerror}.",
                f"Choose another: --metrics-port {port % 65535 + 1}, or --metrics-address 127.0.0.1",
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def update(self, status: ConsumerStatus) -> None:
        """Serve this from now on."""
        self._status, self._updated_s = status, self._clock.monotonic_s()

    def collect(self) -> Iterable[MetricFamily]:
        """Called by the server for every scrape."""
        return families(samples(self._status, self._clock.monotonic_s() - self._updated_s)) if self._status else []

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _application(registry: CollectorRegistry, probes: Probes) -> Any:
    """Probes at their paths, metrics at every other one."""
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        probe = probes.get(environ.get("PATH_INFO", ""))
        if probe is None:
            return metrics(environ, start)  # type: ignore[no-any-return]
        verdict = probe()
        start("200 OK" if verdict.well else "503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{verdict.reason}\n".encode()]

    return answer
