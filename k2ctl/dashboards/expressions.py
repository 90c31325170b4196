"""PromQL held to what is really measured: every metric, label and legend must be declared in `k2ctl.metrics`."""

import re
from typing import Final

from k2ctl.metrics import API_METRICS, METRICS, MetricInfo

DECLARED: Final = {**METRICS, **API_METRICS}
_ADDED_BY_PROMETHEUS: Final = {"job", "instance"}
_ADDED_BY_HISTOGRAMS: Final = {"le"}
_SELECTOR: Final = re.compile(r"\b(k2_\w+)(?:\{([^}]*)\})?")
_LABEL: Final = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_LEGEND: Final = re.compile(r"\{\{(\w+)\}\}")


def check(expression: str, legend: str = "") -> None:
    """Whether an expression and its legend name only what there is.

    Raises:
        ValueError: a metric is not declared, is used as another kind, or has no such label.
    """
    known: set[str] = set(_ADDED_BY_PROMETHEUS)
    for name, selector in _SELECTOR.findall(expression):
        info, histogram = _declared(name)
        labels = {*info.labels, *_ADDED_BY_PROMETHEUS, *(_ADDED_BY_HISTOGRAMS if histogram else ())}
        _among(set(_LABEL.findall(selector)), labels, f"{name} has no label", expression)
        known |= labels
    grouped = {label.strip() for inner in _GROUPING.findall(expression) for label in inner.split(",")} - {""}
    known_alerts = {"alertname", "alertstate"} if "ALERTS" in expression else set()
    _among(grouped | set(_LEGEND.findall(legend)), known | known_alerts, "no metric here has the label", expression)


def _declared(name: str) -> tuple[MetricInfo, bool]:
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
