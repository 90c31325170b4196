"""The history of a running service: of what it saw itself, from its start on."""

import time
from typing import Any

import orjson

from k2ctl.kafka.telemetry import TelemetryWriter
from tests.support.api import Service
from tests.support.polling import until
from tests.support.statuses import a_status

KEY = {"Authorization": "Bearer " + "k" * 20}


def history(service: Service, **asked: int) -> dict[str, Any]:
    answer = service.client.get("/v1/history", params=asked, headers=KEY)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_what_a_consumer_reports_is_in_the_history_and_nothing_before_or_after_it(fresh: Service) -> None:
    began_us = time.time_ns() // 1000
    writer = TelemetryWriter(fresh.endpoints)

    def seen() -> list[int]:
        writer.publish(a_status("of-history", at_us=time.time_ns() // 1000, lag_trades=4_321, level_number=2))
        return [lag for lag in history(fresh)["series"]["lag_trades"] if lag is not None]

    until(lambda: len(seen()) >= 2, 15)
    writer.publish(a_status("of-history", at_us=time.time_ns() // 1000, stopped=True))
    writer.close()
    until(lambda: history(fresh)["series"]["lag_trades"][-1] is None, 15)
    document = history(fresh)
    lags = document["series"]["lag_trades"]
    assert lags[0] is None
    assert {lag for lag in lags if lag is not None} == {4_321}
    assert document["at_us"] == sorted(set(document["at_us"]))
    assert document["at_us"][0] > began_us - 60_000_000
    assert len(history(fresh, minutes=1)["at_us"]) <= 30


def test_what_a_consumer_reports_as_wrong_leads_to_its_runbook(fresh: Service) -> None:
    writer = TelemetryWriter(fresh.endpoints)

    def wrong() -> list[dict[str, Any]]:
        writer.publish(a_status("of-wrong", at_us=time.time_ns() // 1000, maintenance_error="no room"))
        with fresh.client.stream("GET", "/v1/events", headers=KEY) as events:
            found: list[dict[str, Any]] = orjson.loads(next(events.iter_lines()).removeprefix("data: "))["runbook"]
        return [one for one in found if one["runbook"] == "runbook#k2maintenancefailing"]

    until(lambda: bool(wrong()), 15)
    (found,) = wrong()
    assert found["what"] == "Maintenance of the table fails on of-wrong"
    assert found["since_us"] is None or found["since_us"] <= time.time_ns() // 1000
    writer.close()
