"""A consumer that has nothing to do: it takes next to no time of the processor, and is there at once."""

import threading
import time
from pathlib import Path

import pytest

from k2ctl.consume.consumer import IDLE_AFTER_S, REST_S, Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.endpoints import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.lake.maintenance.maintainer import Maintainer
from tests.made_trades import make_trades, produce_trades
from tests.support.leases import of_this_machine
from tests.support.platforms import catch_up, empty_market, with_lake


@pytest.fixture
def endpoints(embedded_stack: Endpoints, home: Path) -> Endpoints:
    return with_lake(embedded_stack, home)


@pytest.mark.parametrize("in_group", [False, True])
def test_an_idle_consumer_makes_a_pass_a_second_and_reads_the_first_trade_at_once(
    endpoints: Endpoints, exchange: str, in_group: bool
) -> None:
    profile, topic = empty_market(endpoints, exchange)
    consumer = Consumer(endpoints, ConsumerPlan(profile, group=in_group))
    stop, passes, sent_s, late_s = threading.Event(), list[float](), list[float](), list[float]()

    def note() -> None:
        now_s = time.monotonic()
        if consumer.is_idle and not sent_s:
            passes.append(now_s)
            if passes[-1] - passes[0] > 2 * REST_S:
                sent_s.append(time.monotonic())
                threading.Thread(target=produce_trades, args=(endpoints, topic, make_trades(1))).start()
        if consumer.totals.trades and not late_s:
            late_s.append(now_s - sent_s[0])
            stop.set()

    threading.Timer(20 * IDLE_AFTER_S, stop.set).start()
    consumer.run(stop, note)
    assert len(passes) <= 5
    assert late_s[0] < 1.0  # a producer is opened meanwhile
    assert consumer.totals.stored == 1


def test_a_table_in_which_nothing_is_due_is_not_loaded_again(
    endpoints: Endpoints, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, topic = empty_market(endpoints, exchange)
    produce_trades(endpoints, topic, make_trades(50))
    consumer = catch_up(endpoints, profile)
    with Lake.at(endpoints) as lake:
        maintainer = Maintainer(lake, profile.lake, consumer.clock, of_this_machine)
        loaded = list[str]()
        found = lake.find_table
        monkeypatch.setattr(lake, "find_table", lambda *names: loaded.append("once") or found(*names))
        for _ in range(3):
            assert maintainer.step() is None
        assert loaded == ["once"]
        produce_trades(endpoints, topic, make_trades(50, 50))
        catch_up(endpoints, profile)
        assert maintainer.step() is None
        assert loaded == ["once", "once"]
