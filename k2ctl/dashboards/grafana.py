"""Grafana's dashboard model, as far as we need it: the classic JSON, schema 42, which Grafana 12 and 13 read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, get_args

from k2ctl.dashboards.queries import DATASOURCE, Query, check
from k2ctl.profiles.model import Level

SCHEMA_VERSION: Final = 42
WIDTH: Final = 24
LEVEL_COLOURS: Final = dict(
    zip(
        get_args(Level.model_fields["name"].annotation), ("green", "light-blue", "yellow", "orange", "red"), strict=True
    )
)


@dataclass(frozen=True)
class Panel:
    """One panel."""

    title: str
    queries: Sequence[Query]
    # Empty: that of the first query's metric.
    meaning: str = ""
    # Grafana's panel type.
    kind: str = "timeseries"
    # Of 24, and in grid rows.
    width: int = 12
    height: int = 8
    # Empty: that of the first query.
    unit: str = ""
    # (from, colour) of thresholds, drawn as lines in a time series.
    steps: Sequence[tuple[float | None, str]] = ((None, "green"),)
    # Value → (text, colour).
    states: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    # Series by name → further properties.
    styles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # Of the panel type.
    custom: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """What it shows."""
        return self.meaning or self.queries[0].meaning

    def document(self, number: int, x: int, y: int) -> dict[str, Any]:
        """As Grafana has it, at a place of the grid."""
        states = [
            {
                "type": "value",
                "options": {
                    value: {"text": text, "color": colour, "index": index}
                    for index, (value, (text, colour)) in enumerate(self.states.items())
                },
            }
        ]
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [query.target(number) for number, query in enumerate(self.queries)],
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit or self.queries[0].unit,
                    "color": {"mode": "thresholds" if self.kind in {"stat", "state-timeline"} else "palette-classic"},
                    "mappings": states if self.states else [],
                    "thresholds": {
                        "mode": "absolute",
                        "steps": [{"value": value, "color": colour} for value, colour in self.steps],
                    },
                    "custom": {**_CUSTOM.get(self.kind, {}), **self._lines(), **self.custom},
                },
                "overrides": [_override(name, style) for name, style in self.styles.items()],
            },
            "options": {**_OPTIONS.get(self.kind, {}), **self.options},
        }

    def _lines(self) -> dict[str, Any]:
        """Thresholds of a time series are dashed lines."""
        drawn = self.kind == "timeseries" and len(self.steps) > 1
        return {"thresholdsStyle": {"mode": "dashed"}} if drawn else {}


_CUSTOM: Final[dict[str, dict[str, Any]]] = {
    "timeseries": {"lineWidth": 2, "fillOpacity": 10, "showPoints": "never", "spanNulls": 15_000},
    "state-timeline": {"lineWidth": 0, "fillOpacity": 80},
}
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "state-timeline": {
        "mergeValues": True,
        "showValue": "auto",
        "alignValue": "left",
        "rowHeight": 0.9,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "tooltip": {"mode": "single", "sort": "none"},
    },
    "stat": {
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
        "colorMode": "value",
        "graphMode": "area",
        "textMode": "auto",
        "justifyMode": "auto",
        "orientation": "auto",
    },
    "heatmap": {
        "calculate": False,
        "yAxis": {"unit": "s", "axisPlacement": "left"},
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange"},
        "cellGap": 1,
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": False},
    },
}


def stat(
    title: str,
    query: Query,
    steps: Sequence[tuple[float | None, str]] = ((None, "green"),),
    states: Mapping[str, tuple[str, str]] = MappingProxyType({}),
    *,
    meaning: str = "",
) -> Panel:
    """One number, with its course unless it is a state."""
    options = {"graphMode": "none"} if states else {}
    return Panel(title, [query], meaning, "stat", 4, 4, steps=steps, states=states, options=options)


def timeline(
    title: str,
    query: Query,
    states: Mapping[str, tuple[str, str]],
    *,
    meaning: str,
    width: int = 8,
    steps: Sequence[tuple[float | None, str]] = ((None, "green"),),
) -> Panel:
    """States over time."""
    return Panel(title, [query], meaning, "state-timeline", width, 5, steps=steps, states=states)


def dashed(colour: str) -> dict[str, Any]:
    """The style of a threshold that is itself measured: a thin dashed line."""
    return {
        "color": {"mode": "fixed", "fixedColor": colour},
        "custom.lineStyle": {"fill": "dash", "dash": [8, 8]},
        "custom.lineWidth": 1,
        "custom.fillOpacity": 0,
    }


def on_the_right(colour: str, unit: str = "short") -> dict[str, Any]:
    """The style of a series of another size or unit: dashed, with an axis of its own."""
    return {**dashed(colour), "unit": unit, "custom.axisPlacement": "right"}


def coloured(colour: str) -> dict[str, Any]:
    """The style of a series that has a colour of its own."""
    return {"color": {"mode": "fixed", "fixedColor": colour}}


NONE_IS_GOOD: Final = ((None, "green"), (1.0, "red"))
FEW_ARE_GOOD: Final = ((None, "green"), (1.0, "yellow"))
QUANTILES: Final = {0.5: "green", 0.95: "yellow", 0.99: "orange"}
QUANTILE_STYLES: Final = {f"p{part * 100:.0f}": coloured(colour) for part, colour in QUANTILES.items()}
STACKED: Final = {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 40, "lineWidth": 1}
LOG: Final = {"scaleDistribution": {"type": "log", "log": 10}}


def _override(name: str, style: Mapping[str, Any]) -> dict[str, Any]:
    matcher = {"id": "byName", "options": name}
    return {"matcher": matcher, "properties": [{"id": key, "value": value} for key, value in style.items()]}


@dataclass(frozen=True)
class Variable:
    """A choice at the top: the values of a label of a metric, one, several or all."""

    label: str
    metric: str

    def document(self) -> dict[str, Any]:
        """As Grafana has it."""
        check(f"{self.metric}{{{self.label}=~''}}")
        query = f"label_values({self.metric}, {self.label})"
        return {
            "name": self.label,
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"query": query, "refId": "A"},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
            "options": [],
        }


@dataclass(frozen=True)
class Dashboard:
    """A page of panels, which flow from left to right in the order given."""

    uid: str
    title: str
    meaning: str
    panels: Sequence[Panel]
    variables: Sequence[Variable] = ()

    def document(self) -> dict[str, Any]:
        """The JSON that Grafana's provisioning reads."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.meaning,
            "tags": ["k2"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "time": {"from": "now-30m", "to": "now"},
            "refresh": "5s",
            "timezone": "browser",
            "templating": {"list": [variable.document() for variable in self.variables]},
            "annotations": {"list": []},
            "links": [{"type": "dashboards", "title": "K2", "tags": ["k2"], "asDropdown": False, "keepTime": True}],
            "panels": self._placed(),
        }

    def _placed(self) -> list[dict[str, Any]]:
        """The panels on the grid of 24 columns; one that does not fit beside the last begins a row."""
        placed, x, y, height = [], 0, 0, 0
        for number, panel in enumerate(self.panels, 1):
            if x + panel.width > WIDTH:
                x, y, height = 0, y + height, 0
            placed.append(panel.document(number, x, y))
            x, height = x + panel.width, max(height, panel.height)
        return placed
