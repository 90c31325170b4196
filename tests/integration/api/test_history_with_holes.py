"""What the service does not see is a hole in its history: Kafka that is away, and a service that was not there."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from k2ctl.api.alerts import NOT_READY
from k2ctl.api.settings import Settings
from k2ctl.home import Home
from k2ctl.stack import lifecycle
from tests.support.api import Service, serving
from tests.support.polling import until
from tests.support.reporting import reporting

LAG = 4_321


def history(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.client.get("/v1/history").json()
    return found


def lags(service: Service) -> list[int | None]:
    found: list[int | None] = history(service)["series"]["lag_trades"]
    return found


@pytest.mark.slow
def test_kafka_that_is_away_and_a_service_that_was_not_there_are_holes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2ctl.kafka.admin.ANSWER_TIMEOUT_S", 1.0)
    endpoints = lifecycle.up("embedded", "laptop", lambda _: None, home=Home.of_user()).endpoints
    kafka = endpoints.processes["kafka"].pid
    try:
        with reporting(endpoints, "reports", lag_trades=LAG):
            with serving(endpoints, None, Settings(port=0)) as service:
                platform = service.engine.platform
                until(lambda: lags(service)[-3:] == [LAG] * 3, 30)
                os.kill(kafka, signal.SIGSTOP)
                until(lambda: platform.overview is None and platform.problem != "", 60)
                until(lambda: [one.alert for one in platform.alerts.found] == [NOT_READY], 60)
                until(lambda: lags(service)[-2:] == [None, None], 30)
                os.kill(kafka, signal.SIGCONT)
                until(lambda: lags(service)[-2:] == [LAG] * 2, 60)
                before = lags(service)
                ended_us = history(service)["at_us"][-1]
            with serving(endpoints, None, Settings(port=0)) as again:
                until(lambda: LAG in lags(again), 30)
                after = lags(again)
                assert history(again)["at_us"][0] > ended_us - 4_000_000
    finally:
        os.kill(kafka, signal.SIGCONT)
        lifecycle.down(volumes=True, home=Home.of_user())
    seen = "".join("x" if lag else "." for lag in before)
    assert set(before) == {None, LAG}
    assert seen.strip(".").count("x.") == 1, seen
    assert after[0] is None
