"""A member that its group forgets to answer: it says what it waits for, and joins again."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from k2ctl.consume import assignment_manager as assignments
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.clients import session_timeout_s
from k2ctl.kafka.group import GroupMember
from k2ctl.kafka.patience import Patience
from tests.made_trades import PARTITIONS, make_trades, produce_trades
from tests.support.independent_reader import Sources, assert_stored_once
from tests.support.platforms import empty_market, with_lake


@pytest.mark.parametrize("named", [True, False])
def test_a_member_without_an_answer_joins_again_and_reads_on(
    embedded_stack: Endpoints, home: Path, exchange: str, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    endpoints = with_lake(embedded_stack, home)
    profile, topic = empty_market(endpoints, exchange)
    joined = list[GroupMember]()

    class Forgotten(GroupMember):
        """The first one never hears of its partitions."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            joined.append(self)

        def poll(self) -> None:
            if self is not joined[0]:
                super().poll()

    monkeypatch.setattr(assignments, "GroupMember", Forgotten)
    monkeypatch.setattr(Patience, "join_within_s", property(lambda _: 0.5 if len(joined) == 1 else 60.0))
    produce_trades(endpoints, topic, make_trades(200))
    consumer = Consumer(endpoints, ConsumerPlan(profile, group=True, named=named, consumer_id="one"))
    assert "its group has assigned it no partitions" in consumer.waiting
    stop, waiting = threading.Event(), list[str]()

    def stop_when_stored() -> None:
        if consumer.totals.stored == 200:
            waiting.append(consumer.waiting)
            stop.set()

    consumer.run(stop, stop_when_stored)
    assert len(joined) == 2
    assert waiting == [""]
    assert_stored_once(Sources.of(endpoints), topic)


def test_a_member_that_was_taken_for_gone_comes_back_with_a_longer_session(
    embedded_stack: Endpoints, exchange: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoints = with_lake(embedded_stack, home)
    profile, topic = empty_market(endpoints, exchange)
    sessions_s = list[float]()

    class Lost(GroupMember):
        """Twice its session runs out at once, as on a machine that has no time for it."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            sessions_s.append(arguments[-1].session_s)
            self._runs_out = len(sessions_s) <= 2

        def poll(self) -> None:
            super().poll()
            if self._runs_out and self.settled:
                self._lost(self._consumer, [])

    monkeypatch.setattr(assignments, "GroupMember", Lost)
    produce_trades(endpoints, topic, make_trades(200))
    consumer, stop = Consumer(endpoints, ConsumerPlan(profile, group=True, consumer_id="one")), threading.Event()
    threading.Timer(60, stop.set).start()
    consumer.run(stop, lambda: stop.set() if consumer.totals.stored == 200 else None)
    first_s = session_timeout_s(endpoints)
    assert sessions_s == [first_s, 2 * first_s, 4 * first_s]
    assert_stored_once(Sources.of(endpoints), topic)


def test_a_member_leaves_whenever_its_assignment_arrives(embedded_stack: Endpoints, exchange: str) -> None:
    """Served while the client closes, an assignment waits for ever: a consumer that was stopped then hung."""
    topic = f"market.equities.trades.{exchange.lower()}"
    with BrokerAdmin(embedded_stack) as admin:
        admin.create_topic(topic, PARTITIONS)
    for step in range(24):
        member = GroupMember(embedded_stack, topic, f"group.{exchange}.{step}", "", lambda: None)
        time.sleep(step * 0.04)  # the client joins on a thread of its own, and nobody polls
        leaving = threading.Thread(target=member.close, daemon=True)
        leaving.start()
        leaving.join(20)
        assert not leaving.is_alive(), f"after {step * 0.04:.2f} s"
