"""Trades as they arrive: of the symbols and the condition that are asked for, in each kind of Kafka."""

from collections.abc import Iterator

import numpy as np
import pytest

from k2ctl.clock import SystemClock
from k2ctl.domain.decimals import DECIMAL_ONE, of_int
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.profiles import load_profile
from k2ctl.query.follow import Arrived, Follower
from k2ctl.query.refusals import SqlError
from tests.made_trades import PARTITIONS, frames, make_trades, produce_trades, produce_values
from tests.support.platforms import market_of_its_own
from tests.support.polling import until


@pytest.fixture
def topic(endpoints: Endpoints, exchange: str) -> str:
    save_endpoints(endpoints)
    _, name = market_of_its_own(load_profile("laptop"), exchange)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(name, PARTITIONS)
    return name


@pytest.fixture
def follower(endpoints: Endpoints, topic: str, exchange: str) -> Iterator[Follower]:
    produce_trades(endpoints, topic, make_trades(40))
    profile, _ = market_of_its_own(load_profile("laptop"), exchange)
    condition = "quantity >= 1 AND symbol <> 'S03'"
    with Follower(endpoints, profile, SystemClock(), ["S01", "s02", "S03"], condition) as found:
        yield found


def arrived(follower: Follower, count: int) -> list[Arrived]:
    found: list[Arrived] = []

    def has_come() -> bool:
        found.append(follower.fetch(0.05))
        return sum(len(one.trades) for one in found) >= count

    until(has_come, 30)
    return found


def test_what_comes_from_now_on_is_given_and_nothing_else(endpoints: Endpoints, topic: str, follower: Follower) -> None:
    made = make_trades(80)[40:]
    made["quantity"][made["trade_id"] == 41] = of_int(DECIMAL_ONE // 2)
    produce_values(endpoints, topic, [(1, b"no trade")])
    produce_trades(endpoints, topic, made)
    wanted = made[np.isin(made["symbol"], [b"S01", b"S02"]) & (made["trade_id"] != 41)]
    found = arrived(follower, len(wanted))
    assert sorted(row["trade_id"] for one in found for row in one.trades.to_pylist()) == wanted["trade_id"].tolist()
    assert sum(one.left_out for one in found) == 1


def test_new_partitions_are_followed_from_their_beginning(endpoints: Endpoints, topic: str, follower: Follower) -> None:
    if endpoints.control_socket:
        pytest.skip("the embedded engine's topics keep their partitions")
    with BrokerAdmin(endpoints) as admin:
        admin.add_partitions(topic, PARTITIONS + 1)
    made = make_trades(80)[40:]
    produce_values(endpoints, topic, ((PARTITIONS, value) for value in frames(made, 1)))
    wanted = made[np.isin(made["symbol"], [b"S01", b"S02"])]
    assert sum(len(one.trades) for one in arrived(follower, len(wanted))) == len(wanted)


@pytest.mark.parametrize(
    "condition", ["nothing > 1", "price > (SELECT 1 FROM read_csv('/etc/passwd'))", "count(*) > 1", "1) OR (2", ""]
)
def test_a_condition_reaches_nothing_but_the_trade(
    endpoints: Endpoints, topic: str, exchange: str, condition: str
) -> None:
    profile, _ = market_of_its_own(load_profile("laptop"), exchange)
    if not condition:
        with Follower(endpoints, profile, SystemClock()) as follower:
            assert follower.topics == (topic,)
        return
    with pytest.raises(SqlError):
        Follower(endpoints, profile, SystemClock(), (), condition)
