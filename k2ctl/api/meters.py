"""The service's own figures for Prometheus; names and meanings are in `k2ctl.metrics`."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from k2ctl.metrics import API_METRICS

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Meters:
    """Counts requests and keeps gauges. Thread-safe."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        info = API_METRICS["k2_api_requests_total"]
        self._requests = Counter("k2_api_requests", info.meaning, info.labels, registry=self._registry)
        info = API_METRICS["k2_api_request_seconds"]
        self._seconds = Histogram(
            "k2_api_request_seconds", info.meaning, info.labels, buckets=_BUCKETS, registry=self._registry
        )
        info = API_METRICS["k2_api_answers_total"]
        self._answers = Counter("k2_api_answers", info.meaning, info.labels, registry=self._registry)
        self._gauges = {
            name: Gauge(name, info.meaning, registry=self._registry)
            for name, info in API_METRICS.items()
            if info.kind == "gauge"
        }

    def count(self, route: str, status: int, seconds: float, complete: str = "") -> None:
        """One request; `status` 0 when the client went away before the answer began, `complete` as its header says."""
        if complete:
            self._answers.labels(route, complete).inc()
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def set(self, name: str, value: float) -> None:
        """The value of a gauge of `API_METRICS`."""
        self._gauges[name].set(value)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)
