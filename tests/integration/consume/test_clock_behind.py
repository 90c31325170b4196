"""A machine whose clock is behind: trades are judged by Kafka's time, and the clock is reported."""

import re
import threading
import time

import numpy as np
import pytest
from confluent_kafka import Producer

from k2ctl.checks.doctor.stack import clock
from k2ctl.clock import SystemClock
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.consume.report import StatusReporter
from k2ctl.domain.status import ConsumerStatus
from k2ctl.domain.topics import trades_topic
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.clients import producer_config
from k2ctl.kafka.dead_letters import read_dead_letters
from k2ctl.lake.catalog import Lake
from k2ctl.profiles import Profile
from k2ctl.query.session import Session
from k2ctl.query.stream import KafkaStream
from k2ctl.stack.preflight import Verdict
from k2ctl.views.consume import status_text
from tests.made_trades import PARTITIONS, ids_of, make_trades, stored_ids

HOUR_US = 3_600_000_000


class HourBack(SystemClock):
    """The clock of a machine that is an hour behind."""

    def now_us(self) -> int:
        return super().now_us() - HOUR_US


def produce(endpoints: Endpoints, topic: str, trades: np.ndarray, ahead_us: int = 0) -> None:
    """Each trade as a record of its own time, by a producer whose clock is ahead by so much."""
    producer = Producer(producer_config(endpoints))
    for number, trade in enumerate(trades):
        at_ms = (int(trade["event_ns"]) // 1000 + ahead_us) // 1000
        producer.produce(topic, trade.tobytes(), partition=number % PARTITIONS, timestamp=at_ms)
    assert producer.flush(30) == 0


def of_the_last_two_hours(count: int) -> np.ndarray:
    trades, now_us = make_trades(count), time.time_ns() // 1000
    trades["event_ns"] = np.linspace(now_us - 2 * HOUR_US, now_us, count).astype(np.int64) * 1000
    trades["received_ns"] = trades["event_ns"]
    return trades


def consume(endpoints: Endpoints, profile: Profile, clock: SystemClock) -> tuple[Consumer, ConsumerStatus]:
    """A consumer that has caught up, and the last that it said."""
    consumer = Consumer(endpoints, ConsumerPlan(profile, until_caught_up=True), clock)
    reporter = StatusReporter(consumer)
    consumer.run(threading.Event(), lambda: reporter.status() and None)
    return consumer, reporter.final_status()


def reasons(endpoints: Endpoints, topic: str) -> list[str]:
    return [dead_letter.reason for dead_letter in read_dead_letters(endpoints, topic).found]


def test_no_good_trade_is_refused_because_this_clock_is_behind_and_one_that_is_ahead_of_both_is(
    endpoints: Endpoints, profile: Profile, topic: str
) -> None:
    good, ahead = of_the_last_two_hours(2000), make_trades(1, start=5000)
    produce(endpoints, topic, good)
    ahead["event_ns"] = (time.time_ns() // 1000 + HOUR_US) * 1000
    produce(endpoints, topic, ahead, ahead_us=-HOUR_US)
    consumer, status = consume(endpoints, profile, HourBack())
    assert stored_ids(endpoints) == ids_of(good)
    (reason,) = reasons(endpoints, topic)
    assert re.fullmatch(r"timestamp is [0-9T:.-]+Z, more than 5 minutes ahead of the clock", reason)
    assert status.clock_behind_s == pytest.approx(3600, abs=30)
    assert "behind Kafka's" in status_text(status).plain
    assert consumer.counts().balanced


def test_a_query_on_a_machine_whose_clock_is_behind_leaves_no_trade_of_the_tail_out(
    endpoints: Endpoints, profile: Profile, topic: str
) -> None:
    good = of_the_last_two_hours(500)
    produce(endpoints, topic, good)
    with Session(Lake.at(endpoints), KafkaStream(endpoints, topic), HourBack()) as session:
        answer = session.recent(None)
    assert (answer.evidence.tail_rows, answer.evidence.invalid) == (len(good), 0)


@pytest.mark.kafka
def test_records_that_carry_old_times_do_not_hide_that_this_clock_is_behind(
    endpoints: Endpoints, profile: Profile, topic: str
) -> None:
    if endpoints.engine == "embedded":
        pytest.skip("the embedded Kafka has no time of its own")
    trades = of_the_last_two_hours(50)
    trades["received_ns"] = time.time_ns()
    produce(endpoints, topic, trades, ahead_us=-24 * HOUR_US)
    consumer, status = consume(endpoints, profile, HourBack())
    assert consumer.totals.stored == len(trades)
    assert reasons(endpoints, topic) == []
    assert status.clock_behind_s == pytest.approx(3600, abs=30)


def test_where_the_clocks_agree_nothing_is_reported(endpoints: Endpoints, profile: Profile, topic: str) -> None:
    produce(endpoints, topic, of_the_last_two_hours(100))
    _, status = consume(endpoints, profile, SystemClock())
    assert status.clock_behind_s == 0


@pytest.mark.kafka
def test_a_producer_whose_clock_is_ahead_is_not_believed_against_the_brokers(
    endpoints: Endpoints, profile: Profile, topic: str
) -> None:
    if endpoints.engine == "embedded":
        pytest.skip("the embedded Kafka has no time of its own")
    trades = make_trades(50)
    # Its producer's clock, by which Kafka's records are stamped too; Kafka takes none that is an hour ahead.
    trades["event_ns"] = (time.time_ns() // 1000 + HOUR_US // 2) * 1000
    produce(endpoints, topic, trades)
    consumer, status = consume(endpoints, profile, SystemClock())
    assert consumer.totals.stored == 0
    assert len(reasons(endpoints, topic)) == len(trades)
    assert status.clock_behind_s == 0


def test_doctor_reports_records_that_are_later_than_this_clock(embedded_stack: Endpoints, exchange: str) -> None:
    trades = make_trades(1)
    trades["event_ns"] = (time.time_ns() // 1000 + 600_000_000) * 1000
    topic = trades_topic("equities", exchange)
    with BrokerAdmin(embedded_stack) as admin:
        admin.create_topic(topic, PARTITIONS)
    produce(embedded_stack, topic, trades)
    (check,) = clock(embedded_stack)
    assert check.verdict is Verdict.WRONG
    assert "later than this machine's" in check.found
    with BrokerAdmin(embedded_stack) as admin:
        admin.delete_topic(topic)
