"""PromQL of the metrics that are declared: an expression that names another metric or label is refused."""

import re
from dataclasses import dataclass, replace
from typing import Any, Final

from k2ctl.domain.figure import TOPIC, Metric
from k2ctl.metrics import API_METRICS, METRICS

DATASOURCE: Final = {"type": "prometheus", "uid": "k2-prometheus"}
"""As `stack/grafana/provisioning` names it."""

INSTANCE: Final = 'instance=~"$instance"'
TOPICS: Final = 'topic=~"$topic"'
UNITS: Final = {"_seconds": "s", "_bytes": "bytes", "_share": "percentunit", "_ratio": "percentunit"}
"""The end of a metric's name → Grafana's name of its unit."""

DECLARED: Final = {**METRICS, **API_METRICS}
_ADDED_BY_PROMETHEUS: Final = {"job", "instance"}
_SELECTOR: Final = re.compile(r"\b(k2_\w+)(?:\{([^}]*)\})?")
_LABEL: Final = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_LEGEND: Final = re.compile(r"\{\{(\w+)\}\}")


def check(expression: str, legend: str = "") -> None:
    """Whether an expression and its legend name only metrics and labels that are declared in `k2ctl.metrics`.

    Raises:
        ValueError: a metric is not declared, is used as another kind, or has no such label.
    """
    known: set[str] = set(_ADDED_BY_PROMETHEUS)
    for name, selector in _SELECTOR.findall(expression):
        info, is_bucket = _declared(name)
        labels = {*info.labels, *_ADDED_BY_PROMETHEUS, *({"le"} if is_bucket else ())}
        _among(set(_LABEL.findall(selector)), labels, f"{name} has no label", expression)
        known |= labels
    grouped = {label.strip() for inner in _GROUPING.findall(expression) for label in inner.split(",")} - {""}
    known_alerts = {"alertname", "alertstate"} if "ALERTS" in expression else set()
    _among(grouped | set(_LEGEND.findall(legend)), known | known_alerts, "no metric here has the label", expression)


def _declared(name: str) -> tuple[Metric, bool]:
    """A metric by the name of one of its series, and whether the series are a histogram's buckets."""
    if name in DECLARED and DECLARED[name].kind != "histogram":
        return DECLARED[name], False
    base, _, part = name.rpartition("_")
    if part in {"bucket", "sum", "count"} and base in DECLARED and DECLARED[base].kind == "histogram":
        return DECLARED[base], part == "bucket"
    raise ValueError(f"{name} is not a series of any metric in k2ctl.metrics")


def _among(found: set[str], known: set[str], problem: str, expression: str) -> None:
    if found - known:
        raise ValueError(f"{problem} {', '.join(sorted(found - known))}: {expression}")


@dataclass(frozen=True)
class Query:
    """One PromQL expression and the name of its series; both are checked against the metrics that there are."""

    expression: str
    legend: str = ""
    # Grafana's name of it.
    unit: str = "short"
    # What the metric means.
    meaning: str = ""
    heatmap: bool = False

    def __post_init__(self) -> None:
        check(self.expression, self.legend)

    def __add__(self, other: "Query") -> "Query":
        """The sum of both, under the name of the first."""
        return replace(self, expression=f"{self.expression} + {other.expression}")

    def target(self, number: int) -> dict[str, Any]:
        """As Grafana has it."""
        return {
            "refId": chr(ord("A") + number),
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expression,
            "legendFormat": self.legend or "__auto",
            "format": "heatmap" if self.heatmap else "time_series",
            "instant": False,
            "range": True,
        }


def series(metric: str, legend: str = "", *, where: str = "", per_s: bool = True, everywhere: bool = False) -> Query:
    """A metric as it is declared: how its instances make one, its unit and its meaning.

    legend: each value of a label that it names is a series; where it names the instance, each by itself. where: labels.
    per_s: a counter as a rate. everywhere: of all instances, whichever are chosen.
    """
    info = DECLARED[metric]
    found = f"{metric}{_selector(info, where, everywhere)}"
    is_rate = info.kind == "counter" and per_s
    if is_rate:
        found = f"rate({found}[$__rate_interval])"
    by = sorted(_LEGEND.findall(legend))
    if "instance" not in by:
        found = f"{info.across} by ({', '.join(by)}) ({found})" if by else f"{info.across}({found})"
    unit = next((unit for end, unit in UNITS.items() if metric.endswith(end)), "cps" if is_rate else "short")
    return Query(found, legend, unit, info.meaning)


def quantile(
    histogram: str,
    part: float,
    legend: str = "",
    *,
    where: str = "",
    span: str = "$__rate_interval",
    everywhere: bool = False,
) -> Query:
    """A quantile of a histogram of seconds; the rest as `series`."""
    info, labels = DECLARED[histogram], ", ".join(["le", *_LEGEND.findall(legend)])
    rate = f"rate({histogram}_bucket{_selector(info, where, everywhere)}[{span}])"
    expression = f"histogram_quantile({part}, sum by ({labels}) ({rate}))"
    return Query(expression, legend or f"p{part * 100:.0f}", "s", info.meaning)


def events(histogram: str, legend: str) -> Query:
    """How many durations a histogram counted, a second."""
    info = DECLARED[histogram]
    rate = f"rate({histogram}_count{_selector(info, '', everywhere=False)}[$__rate_interval])"
    return Query(f"sum({rate})", legend, "cps", info.meaning)


def _selector(info: Metric, where: str, everywhere: bool) -> str:
    chosen = [] if everywhere else [TOPICS, INSTANCE] if TOPIC in info.labels else [INSTANCE]
    labels = [*chosen, *([where] if where else [])]
    return f"{{{', '.join(labels)}}}" if labels else ""
