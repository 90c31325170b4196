"""Statuses on Kafka: what cannot be sent or used is in the log, and harms nobody."""

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from k2ctl.domain.status import ConsumerStatus
from k2ctl.domain.topics import TELEMETRY
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.producer import publish
from k2ctl.kafka.reader import Fetched, Reader
from k2ctl.kafka.telemetry import TelemetryReader, TelemetryWriter
from tests.support.statuses import a_status


@pytest.fixture
def alive(endpoints: Endpoints) -> Iterator[ConsumerStatus]:
    """A status that counts now, and is taken back after the test: the stack is shared."""
    status = a_status("alive", at_us=time.time_ns() // 1000)
    yield status
    writer = TelemetryWriter(endpoints)
    writer.publish(replace(status, stopped=True))
    writer.close()


def texts(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """What this test's own clients log: the service of other tests follows the same topic, on threads of its own."""
    own = [one for one in caplog.records if (one.name, one.thread) == ("k2ctl.kafka", threading.get_ident())]
    return [(record.levelno, record.getMessage()) for record in own]


def test_a_status_comes_back_as_the_value_that_was_published(endpoints: Endpoints, alive: ConsumerStatus) -> None:
    writer, reader = TelemetryWriter(endpoints), TelemetryReader(endpoints)
    writer.publish(alive)
    writer.close()
    assert reader.poll(2.0).consumers["alive"] == alive
    reader.close()


def test_who_looks_once_sees_what_lay_in_kafka_although_that_comes_late(
    endpoints: Endpoints, alive: ConsumerStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that has no time: `verify --wait` and `backfill` would take a consumer at work for gone."""
    writer = TelemetryWriter(endpoints)
    writer.publish(alive)
    writer.close()
    reader, fetch = TelemetryReader(endpoints), Reader.fetch
    from_s = time.monotonic() + 1.2

    def late(*of: Any) -> Fetched:
        time.sleep(0.05)
        return fetch(*of) if time.monotonic() > from_s else Fetched.of([])

    monkeypatch.setattr(Reader, "fetch", late)
    assert "alive" in reader.look(0.5).consumers
    reader.close()


def test_a_status_that_cannot_be_sent_is_logged_once_and_so_is_the_next_that_is(
    endpoints: Endpoints, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "k2ctl")
    writer = TelemetryWriter(endpoints)
    too_large = replace(a_status("large"), level_reason="x" * 3_000_000)
    writer.publish(too_large)
    writer.publish(too_large)
    writer.publish(a_status("small"))
    writer.close()
    about = [(level, text) for level, text in texts(caplog) if TELEMETRY in text]
    assert [level for level, _ in about] == [logging.WARNING, logging.INFO]
    assert "cannot be sent" in about[0][1]
    assert "again" in about[1][1]


def test_a_status_that_cannot_be_used_is_logged_once_and_hides_no_other(
    endpoints: Endpoints, alive: ConsumerStatus, caplog: pytest.LogCaptureFixture
) -> None:
    reader = TelemetryReader(endpoints)
    stranger = b'{"kind": "consumer", "id": "stranger", "at_us": 1, "level": 7}'
    publish(endpoints, TELEMETRY, [("stranger", stranger), ("stranger", stranger), ("none", b"no json")])
    writer = TelemetryWriter(endpoints)
    writer.publish(alive)
    writer.close()
    reported = reader.poll(2.0)
    assert reported.consumers["alive"] == alive
    assert "stranger" not in reported.consumers
    reader.close()
    refused = [text for level, text in texts(caplog) if level == logging.WARNING]
    assert len([text for text in refused if "stranger" in text]) == 1
    assert len([text for text in refused if "nobody" in text]) == 1
