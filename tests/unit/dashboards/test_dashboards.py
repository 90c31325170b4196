"""Dashboards: generated, held to the metrics that there are, and committed as generated."""

import itertools
from typing import Any

import pytest
import yaml

from k2ctl.dashboards.boards import DASHBOARDS, FOLDER, documents
from k2ctl.dashboards.queries import DATASOURCE, check
from k2ctl.home import shipped
from k2ctl.metrics import API_METRICS, METRICS

PANELS = [(board, panel) for board in DASHBOARDS for panel in board.panels]


def test_what_is_committed_is_what_is_generated() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.json")) == sorted(documents())
    for name, text in documents().items():
        assert (FOLDER / name).read_text() == text, "write them again with: python -m k2ctl.dashboards.boards"


@pytest.mark.parametrize(
    ("expression", "legend", "why"),
    [
        ("sum(k2_degradation_levels)", "", "not a series of any metric"),
        ("k2_commit_seconds", "", "not a series of any metric"),
        ("k2_trades_bucket", "", "not a series of any metric"),
        ('k2_trades{priority="LOW"}', "", "k2_trades has no label priority"),
        ("sum by (exchange) (k2_trades)", "", "no metric here has the label exchange"),
        ("k2_memory_bytes", "{{topic}}", "no metric here has the label topic"),
    ],
)
def test_a_metric_or_label_that_is_not_declared_is_refused(expression: str, legend: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check(expression, legend)


def test_almost_every_metric_is_on_a_dashboard() -> None:
    shown = "\n".join(query.expression for _, panel in PANELS for query in panel.queries)
    left_out = {name for name in (*METRICS, *API_METRICS) if name not in shown}
    assert left_out == {
        "k2_degradation_transitions_total",  # the state timeline shows each change
        "k2_status_age_seconds",  # for an alert
        "k2_maintenance_failing",  # for an alert
        "k2_dedup_save_failing",  # for an alert
        "k2_untracked_trades_total",
        "k2_unverified_symbols",
        "k2_idle_symbols",
        "k2_state_behind_symbols",
        "k2_state_failures_total",
    }


def test_titles_say_different_things_and_every_panel_says_what_it_means() -> None:
    for board in DASHBOARDS:
        titles = [panel.title for panel in board.panels if panel.kind != "stat"]
        assert len(titles) == len(set(titles))
        assert all(panel.description.endswith(".") for panel in board.panels)


def test_panels_do_not_overlap_and_fill_the_width() -> None:
    for board in DASHBOARDS:
        taken: set[tuple[int, int]] = set()
        for place in (panel["gridPos"] for panel in board.document()["panels"]):
            cells = set(itertools.product(range(place["x"], place["x"] + place["w"]), [place["y"]]))
            assert not cells & taken
            assert place["x"] + place["w"] <= 24
            taken |= cells
        rows = {y: sum(1 for _, row in taken if row == y) for _, y in taken}
        assert set(rows.values()) == {24}


def test_provisioning_names_the_source_and_the_folder_that_dashboards_need() -> None:
    provisioning = shipped("stack") / "grafana" / "provisioning"
    source: dict[str, Any] = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())
    assert (source["datasources"][0]["uid"], source["datasources"][0]["type"]) == (DATASOURCE["uid"], "prometheus")
    provider = yaml.safe_load((provisioning / "dashboards" / "k2.yml").read_text())["providers"][0]
    mounts = yaml.safe_load((shipped("stack") / "compose.yaml").read_text())["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in mounts
    assert "./grafana/provisioning:/etc/grafana/provisioning:ro" in mounts
