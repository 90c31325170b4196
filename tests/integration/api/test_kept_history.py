"""The history of a running service: of what it saw itself, from its start on."""

import time
from typing import Any

import orjson

from tests.support.api import Service
from tests.support.polling import until
from tests.support.reporting import reporting

KEY = {"Authorization": "Bearer " + "k" * 20}


def history(service: Service, **asked: int) -> dict[str, Any]:
    answer = service.client.get("/v1/history", params=asked, headers=KEY)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def lags(service: Service) -> list[int | None]:
    found: list[int | None] = history(service)["series"]["lag_trades"]
    return found


def test_what_a_consumer_reports_is_in_the_history_and_nothing_before_or_after_it(fresh: Service) -> None:
    began_us = time.time_ns() // 1000
    with reporting(fresh.endpoints, "of-history", lag_trades=4_321):
        until(lambda: lags(fresh)[-2:] == [4_321, 4_321], 15)
    until(lambda: lags(fresh)[-1] is None, 15)
    document, found = history(fresh), lags(fresh)
    assert found[0] is None
    assert {lag for lag in found if lag is not None} == {4_321}
    assert document["at_us"] == sorted(set(document["at_us"]))
    assert document["at_us"][0] > began_us - 60_000_000
    assert len(history(fresh, minutes=1)["at_us"]) <= 30


def test_what_a_consumer_reports_as_wrong_leads_to_its_runbook(fresh: Service) -> None:
    def wrong() -> list[dict[str, Any]]:
        with fresh.client.stream("GET", "/v1/events", headers=KEY) as events:
            found: list[dict[str, Any]] = orjson.loads(next(events.iter_lines()).removeprefix("data: "))["runbook"]
        return [one for one in found if one["runbook"] == "runbook#k2maintenancefailing"]

    with reporting(fresh.endpoints, "of-wrong", maintenance_error="no room"):
        until(lambda: bool(wrong()), 15, every_s=0.2)
        (found,) = wrong()
    assert found["what"] == "Maintenance of the table fails on of-wrong"
    assert found["since_us"] is None or found["since_us"] <= time.time_ns() // 1000
