"""What librdkafka reports reaches the log: once, and at its level."""

import logging

import pytest
from confluent_kafka.admin import AdminClient

from k2ctl.clock import ManualClock
from k2ctl.kafka.clients import CLIENT_LOG, REPEATED_AFTER_S, ClientLog

NOBODY = "127.0.0.1:9"


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage()) for record in caplog.records if record.name == "k2ctl.kafka"]


def test_a_warning_of_the_client_is_one_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    ClientLog(ManualClock()).log(logging.WARNING, "%s [%s] %s", "MAXPOLL", "k2ctl#consumer-1", "poll interval exceeded")
    assert logged(caplog) == [(logging.WARNING, "librdkafka: MAXPOLL [k2ctl#consumer-1] poll interval exceeded")]


def test_a_lost_connection_is_information_and_comes_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "k2ctl")
    clock = ManualClock()
    log = ClientLog(clock)
    for tries in range(3):
        log.log(logging.ERROR, "%s [%s] %s", "FAIL", "k2ctl#producer-7", f"refused (after {tries}ms in state CONNECT)")
    assert len(logged(caplog)) == 1
    assert logged(caplog)[0][0] == logging.INFO
    clock.advance(REPEATED_AFTER_S)
    log.log(logging.ERROR, "%s [%s] %s", "FAIL", "k2ctl#producer-7", "refused (after 9ms in state CONNECT)")
    assert len(logged(caplog)) == 2


def test_a_real_client_without_a_broker_says_so_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "k2ctl")
    CLIENT_LOG._due.clear()
    client = AdminClient({"bootstrap.servers": NOBODY, "logger": CLIENT_LOG})
    for _ in range(200):
        client.poll(0.05)
        if logged(caplog):
            break
    assert any("Connect to ipv4#127.0.0.1:9 failed" in text for _, text in logged(caplog))
