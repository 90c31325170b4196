"""A member that opens its partitions still takes part in its group: nobody waits for it, and it is not left out."""

import threading
from typing import Any

import pytest

from k2ctl.consume.assignment import Assignment
from k2ctl.endpoints import Endpoints
from tests.made_trades import PARTITIONS, make_trades, produce_trades
from tests.support.consumers import RunningConsumer
from tests.support.independent_reader import Sources, assert_stored_once
from tests.support.platforms import empty_market
from tests.support.polling import until

OPEN = Assignment.open


class SlowToOpen:
    """The first of several consumers opens partitions only once it is let, as on a machine that has no time for it."""

    def __init__(self) -> None:
        self.opens = threading.Event()
        self.may = threading.Event()

    def open(self, platform: Any, partitions: Any) -> Assignment:
        if partitions and not self.opens.is_set():
            self.opens.set()
            assert self.may.wait(60)
        return OPEN(platform, partitions)


def test_who_joins_gets_its_share_while_another_member_opens(
    endpoints: Endpoints, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, topic = empty_market(endpoints, exchange)
    produce_trades(endpoints, topic, make_trades(400))
    slow = SlowToOpen()
    monkeypatch.setattr(Assignment, "open", slow.open)
    first = RunningConsumer(endpoints, profile, group=True)
    until(slow.opens.is_set)
    second = RunningConsumer(endpoints, profile, group=True)
    shares = list[int]()
    try:
        until(lambda: second.totals.stored > 0, 60)
        shares.append(len(second.assigned))
        slow.may.set()
        until(lambda: first.totals.stored + second.totals.stored == 400, 60)
        shares.append(len(first.assigned))
    finally:
        slow.may.set()
        first.stop()
        second.stop()
    assert shares == [PARTITIONS // 2, PARTITIONS // 2]
    assert_stored_once(Sources.of(endpoints), topic)
