"""Every panel's question, asked of a real Prometheus that scrapes a consumer under pressure and the query service."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from k2ctl.api.settings import Settings
from k2ctl.dashboards.boards import DASHBOARDS
from k2ctl.endpoints import Endpoints
from k2ctl.home import shipped
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.producer import BatchProducer
from k2ctl.load.market import SyntheticMarket, new_run_id
from k2ctl.metrics import Exporter
from k2ctl.profiles.universe import Universe
from k2ctl.stack.local import free_port
from tests.made_trades import produce_values, quick_profile
from tests.support.api import Service, serving
from tests.support.consumers import all_stored, pressed, run_until, topic_of
from tests.support.prometheus_server import PrometheusServer

EMPTY_BY_NATURE = {
    'min(k2_retention_left_seconds{topic=~"$topic", instance=~"$instance"})',
    'max(k2_announcement_age_seconds{instance=~"$instance"})',
    *(query.expression for board in DASHBOARDS for panel in board.panels for query in panel.queries
      if panel.title.startswith("Lines: ")),
}  # fmt: skip
"""The embedded engine keeps records by size, not by time; a consumer that is alone announces nothing, and its topic is
no line."""

VARIABLES = {"$topic": ".*", "$instance": ".*", "$__rate_interval": "3s", "$__range": "60s"}
QUESTIONS = {
    (board.uid, panel.title, query.expression)
    for board in DASHBOARDS
    for panel in board.panels
    for query in panel.queries
    if query.expression not in EMPTY_BY_NATURE
}
PENDING = {"K2DegradationSevere", "K2GapsOpen", "K2DeadLetters"}


def asked(expression: str) -> str:
    """The expression with Grafana's variables filled in."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


@dataclass
class Observed:
    """What Prometheus has answered in the course of the run."""

    prometheus: PrometheusServer
    unanswered: set[tuple[str, str, str]]
    alerts: dict[str, set[str]]

    def look(self) -> None:
        """Ask all that has no answer yet; a value that is no number is none."""
        for question in sorted(self.unanswered):
            found = self.prometheus.query(asked(question[2]))
            if any(not math.isnan(float(series["value"][1])) for series in found):
                self.unanswered.discard(question)
        for series in self.prometheus.query("ALERTS"):
            labels = series["metric"]
            self.alerts.setdefault(labels["alertname"], set()).add(labels["alertstate"])

    def value(self, expression: str) -> float:
        """The only value of an expression."""
        (series,) = self.prometheus.query(expression)
        return float(series["value"][1])


def load_with_trouble(endpoints: Endpoints, market: SyntheticMarket, topic: str) -> Callable[[], None]:
    """60,500 trades, half with random ids, 300 that never come, a record that is none; returns what sends 500 again."""
    producer, now_us = BatchProducer(endpoints, topic, 1), time.time_ns() // 1000
    first, missing, last = (market.take(count, now_us - 1_000_000, now_us) for count in (30_000, 300, 30_000))
    again = market.take(500, now_us - 1_000_000, now_us)
    assert len(missing.trades) == 300
    last.trades["message_id"] = np.frombuffer(np.random.default_rng(1).bytes(16 * len(last.trades)), "V16")
    for batch in (first, last, again):
        producer.send_all(batch.trades, batch.per_partition)
    produce_values(endpoints, topic, [(0, b"not a trade")])
    return lambda: producer.send_all(again.trades, again.per_partition)


@pytest.fixture(scope="module")
def observed(embedded_stack: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """A consumer held to a budget goes through its levels and back, while the service is asked; Prometheus looks on."""
    folder = tmp_path_factory.mktemp("observed")
    (folder / "lake").mkdir()
    endpoints = replace(
        embedded_stack, catalog_uri=f"sqlite:///{folder}/lake/catalog.db", warehouse=f"file://{folder}/lake/warehouse"
    )
    profile = pressed(quick_profile(commit_interval_s=0.2), endpoints, "PROM1")
    topic = topic_of(profile)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, profile.topic.partitions)
    send_again = load_with_trouble(endpoints, SyntheticMarket(Universe(profile), new_run_id()), topic)
    exporter = Exporter(port := free_port())
    with serving(endpoints, topic, Settings(port=0)) as service:
        targets = {"k2-consumer": f"127.0.0.1:{port}", "k2-api": service.url.removeprefix("http://")}
        prometheus = PrometheusServer(folder, shipped("stack") / "prometheus" / "rules.yml", targets)
        found = Observed(prometheus, set(QUESTIONS), {})
        try:
            consume_and_look(endpoints, profile, exporter, service, found, send_again)
            yield found
        finally:
            prometheus.stop()
            exporter.close()


def consume_and_look(
    endpoints: Endpoints,
    profile: object,
    exporter: Exporter,
    service: Service,
    found: Observed,
    send_again: Callable[[], None],
) -> None:
    """Consume in the background; ask the service and Prometheus until everything is stored and backfilled."""
    consumer = threading.Thread(
        target=run_until,
        args=(endpoints, profile, lambda status: status.counts.duplicate == 500 and all_stored(status)),
        kwargs={"telemetry": _Into(exporter)},
    )
    consumer.start()
    symbols: list[dict[str, str]] = []
    is_sent_again = False
    while consumer.is_alive():
        if not is_sent_again and any(
            series["value"][1] == "60500" for series in found.prometheus.query('sum(k2_trades{term="stored"})')
        ):
            send_again()
            is_sent_again = True
        symbols = symbols or service.client.get("/v1/symbols").json()["rows"]
        if symbols:
            service.client.get("/v1/trades/recent", params={"symbol": symbols[0]["symbol"]})
        found.look()
    consumer.join()
    time.sleep(0.5)  # one more scrape
    found.look()


@dataclass
class _Into:
    """Gives to the exporter what a consumer says of itself."""

    exporter: Exporter

    def publish(self, status: object) -> None:
        self.exporter.update(status)  # type: ignore[arg-type]


def test_every_panel_has_data(observed: Observed) -> None:
    assert observed.unanswered == set()
    for expression in EMPTY_BY_NATURE:
        assert observed.prometheus.query(asked(expression)) == []


def test_the_figures_are_those_of_what_happened(observed: Observed) -> None:
    assert observed.value('sum(k2_trades{term="stored"})') == 60_500
    assert observed.value('sum(k2_trades{term="duplicate"})') == 500
    assert observed.value("sum(k2_undecodable_records)") == 1
    assert observed.value("sum(k2_missing_trades)") == 300
    assert observed.value("sum(k2_trades_outstanding)") == 0
    deferred = observed.value("sum(k2_messages_shed_total) + sum(k2_messages_spilled_total)")
    assert deferred > 1_000
    # Copies among what was deferred are found when it is stored, and are not stored twice.
    assert deferred - 500 <= observed.value("sum(k2_trades_backfilled_total)") <= deferred
    assert observed.value("max_over_time(k2_degradation_level[5m])") >= 3
    assert observed.value("k2_degradation_level") == 0
    assert observed.value("max(k2_lake_rows)") == 60_500
    assert observed.value("sum(k2_dedup_ids_tested_total)") > 1_000
    assert observed.value("sum(k2_dedup_copies_total)") == 500


def test_the_rules_load_and_the_alerts_of_what_happened_are_pending(observed: Observed) -> None:
    rules = [rule for group in observed.prometheus.get("/api/v1/rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 15
    assert {rule["health"] for rule in rules} == {"ok"}, [rule.get("lastError") for rule in rules]
    assert set(observed.alerts) >= PENDING
    assert "K2BalanceBroken" not in observed.alerts
