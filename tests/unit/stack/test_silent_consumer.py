"""What is shown of a consumer in the background that says nothing."""

import time
from pathlib import Path

import pytest

from k2ctl.endpoints import Endpoints
from k2ctl.home import Home
from k2ctl.stack.fleet import STARTS_WITHIN_S, Member, _reporting, look, reports_of
from k2ctl.stack.processes import log_path
from k2ctl.stack.replicas import registered
from tests.support.statuses import a_status


def started(seconds_ago: float) -> Member:
    return Member("consumer-7", "running", 4711, started_at_us=round((time.time() - seconds_ago) * 1e6))


def test_one_that_has_just_been_started_is_starting() -> None:
    assert _reporting(started(1), [], Home.of_user()).state == "starting"


def test_one_that_should_speak_by_now_is_silent_and_shows_the_end_of_its_log(home: Path) -> None:
    log_path("consumer-7", home=Home.of_user()).parent.mkdir(parents=True, exist_ok=True)
    log_path("consumer-7", home=Home.of_user()).write_text("first\nit waits for its disk\n")
    found = _reporting(started(STARTS_WITHIN_S + 1), [], Home(home))
    assert (found.state, found.why) == ("silent", "it waits for its disk")


@pytest.mark.parametrize("waiting", ["", "its group has assigned it no partitions for 90 s"])
def test_a_consumer_that_reports_says_what_it_waits_for(waiting: str) -> None:
    assert _reporting(started(100), [a_status(waiting=waiting)], Home.of_user()).why == waiting


def test_a_consumer_of_several_topics_reports_once_for_each_and_none_of_another_name() -> None:
    reported = {
        name: a_status(id=name, topic=topic, rate_in=2.0)
        for name, topic in (("consumer-1.a", "a"), ("consumer-1.b", "b"), ("consumer-10.a", "a"), ("consumer-2", "a"))
    }
    found = reports_of("consumer-1", reported)
    assert [one.id for one in found] == ["consumer-1.a", "consumer-1.b"]
    assert _reporting(started(100), found, Home.of_user()).rate_in == 4.0
    assert [one.id for one in reports_of("consumer-2", reported)] == ["consumer-2"]


def test_where_kafka_does_not_answer_the_log_says_what_a_consumer_waits_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2ctl.kafka.admin.ANSWER_TIMEOUT_S", 0.2)
    endpoints = Endpoints("external", "127.0.0.1:1", "sqlite://", "file:///nowhere", home=Home(home))
    with registered("consumer-7", endpoints.home):
        path = log_path("consumer-7", home=endpoints.home)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("waiting: Kafka has not answered for 58 s\n")
        (found,) = look(endpoints)
    assert (found.state, found.why) == ("starting", "waiting: Kafka has not answered for 58 s")
