"""Probes of a real consumer: ready once it reads, waiting while a service is away, stuck when its loop stands."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.health import ConsumerHealth
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.consume.report import StatusReporter
from k2ctl.consume.start import opened_within
from k2ctl.endpoints import Endpoints
from k2ctl.metrics import Exporter
from k2ctl.stack.local import free_port
from tests.support.platforms import empty_market, with_lake
from tests.support.polling import until
from tests.support.postgres_server import PostgresServer


class Probed:
    """A consumer in a group on a thread, with its probes at a port; its loop can be held."""

    def __init__(self, endpoints: Endpoints, plan: ConsumerPlan, patience_s: float = 0.0) -> None:
        self.health, self.port = ConsumerHealth(stuck_after_s=6.0, fresh_s=3.0), free_port()
        self.exporter = Exporter(self.port, probes=self.health.probes())
        self._endpoints, self._plan, self._patience_s = endpoints, plan, patience_s
        self._stop, self.goes = threading.Event(), threading.Event()
        self.goes.set()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        consumer = opened_within(lambda: Consumer(self._endpoints, self._plan), self._patience_s, self.health.waits)
        self.health.begins(consumer)
        reporter = StatusReporter(consumer)

        def on_tick() -> None:
            self.goes.wait()
            self.health.update(reporter.status())

        consumer.run(self._stop, on_tick)

    def asked(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=5) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode().strip()

    def become(self, live: int, ready: int, reason: str) -> None:
        """Wait until both probes answer so."""

        def met() -> bool:
            said = self.asked("readyz")
            return self.asked("livez")[0] == live and said[0] == ready and reason in said[1]

        until(met, 30, lambda: (self.asked("livez"), self.asked("readyz")))

    def close(self) -> None:
        self.goes.set()
        self._stop.set()
        self._thread.join(60)
        self.exporter.close()


@pytest.fixture
def probed(endpoints: Endpoints, exchange: str) -> Iterator[Probed]:
    profile, _ = empty_market(endpoints, exchange)
    running = Probed(endpoints, ConsumerPlan(profile, group=True))
    yield running
    running.close()


def test_a_consumer_whose_loop_stands_is_stuck_and_one_that_reads_is_ready(probed: Probed) -> None:
    probed.become(200, 200, "ready")
    probed.goes.clear()
    probed.become(200, 503, "its loop has stood for")
    probed.become(503, 503, "its loop has stood for")
    probed.goes.set()
    probed.become(200, 200, "ready")
    assert probed.asked("metrics")[0] == 200


def test_a_consumer_that_finds_no_catalog_at_its_start_waits_and_is_not_stuck(
    embedded_stack: Endpoints, home: Path, exchange: str, fragile_postgres: PostgresServer
) -> None:
    endpoints = with_lake(embedded_stack, home)
    profile, _ = empty_market(endpoints, exchange)
    away = replace(endpoints, catalog_uri=fragile_postgres.database())
    fragile_postgres.stop()
    running = Probed(away, ConsumerPlan(profile, group=True), patience_s=60)
    try:
        running.become(200, 503, "waiting: The catalog")
        fragile_postgres.start()
        running.become(200, 200, "ready")
    finally:
        running.close()
