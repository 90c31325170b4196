"""A figure is declared in one place, on its field; all else that shows it is derived from there."""

from dataclasses import dataclass

import pytest

from k2ctl.dashboards.grafana import Panel
from k2ctl.dashboards.queries import DECLARED, series
from k2ctl.domain.figure import TOPIC, combined, figure, gauge, largest_known, series_of
from k2ctl.metrics import declared_metrics


@dataclass(frozen=True)
class Weather:
    """A holder of one figure, as a status is."""

    storm: float | None = figure(
        "Time since the last storm.", gauge("k2_storm_age_seconds", TOPIC), combine=largest_known
    )


METRICS = declared_metrics(Weather)


def test_a_field_is_a_metric_with_its_meaning_and_labels() -> None:
    metric = METRICS["k2_storm_age_seconds"]
    assert (metric.kind, metric.labels, metric.meaning) == ("gauge", ("topic",), "Time since the last storm.")


def test_a_field_is_sampled() -> None:
    assert [(metric.name, number) for metric, _, number in series_of(Weather(2.5))] == [("k2_storm_age_seconds", 2.5)]


def test_several_holders_of_a_field_are_one_as_it_declares() -> None:
    assert combined(Weather, [Weather(2.0), Weather(None), Weather(7.0)]) == {"storm": 7.0}


def test_a_panel_has_expression_unit_and_description_of_the_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DECLARED, "k2_storm_age_seconds", METRICS["k2_storm_age_seconds"])
    panel = Panel("Storm", [series("k2_storm_age_seconds")]).document(1, 0, 0)
    assert panel["targets"][0]["expr"] == 'max(k2_storm_age_seconds{topic=~"$topic", instance=~"$instance"})'
    assert panel["fieldConfig"]["defaults"]["unit"] == "s"
    assert panel["description"] == "Time since the last storm."
