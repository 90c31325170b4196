"""A topic that is declared to be filled by k2ctl's partitioner: a query of symbols reads their partitions alone."""

from pathlib import Path

import numpy as np
import pytest

from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Placement, Universe
from k2ctl.query.session import Session
from k2ctl.query.stream import KafkaStreams
from tests.made_trades import quick_profile
from tests.support.consumers import backlog, topic_of
from tests.support.platforms import catch_up, with_lake

TRADES = 3_000


def platform(stack: Endpoints, home: Path, exchange: str) -> tuple[Endpoints, Profile, np.ndarray]:
    """A platform with as many trades in the lake as in the stream."""
    endpoints, profile = with_lake(stack, home), quick_profile()
    profile = profile.model_copy(
        update={
            "market": profile.market.model_copy(update={"exchange": exchange}),
            "topic": profile.topic.model_copy(update={"placed_by_symbol": True}),
        }
    )
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic_of(profile), profile.topic.partitions)
    stored = backlog(endpoints, profile, TRADES)
    catch_up(endpoints, profile)
    return endpoints, profile, np.concatenate([stored, backlog(endpoints, profile, TRADES)])


def session(endpoints: Endpoints, profile: Profile) -> Session:
    return Session(Lake.at(endpoints), KafkaStreams(endpoints, profile), universe=Universe(profile))


@pytest.mark.parametrize("critical", [0, 1, 200])
def test_whichever_symbols_are_critical_an_answer_is_whole_and_read_from_few_partitions(
    embedded_stack: Endpoints, home: Path, exchange: str, critical: int
) -> None:
    endpoints, profile, trades = platform(embedded_stack, home, exchange)
    tiers = profile.market.tiers.model_copy(update={"critical": critical})
    edited = profile.model_copy(update={"market": profile.market.model_copy(update={"tiers": tiers})})
    symbols, counts = np.unique(trades["symbol"], return_counts=True)
    with session(endpoints, edited) as asking:
        for number in (0, len(symbols) // 2, int(counts.argmax())):
            answer = asking.recent(symbols[number].decode())
            assert answer.evidence.complete
            assert len(answer.table) == counts[number]
            assert 0 < answer.evidence.tail_records < TRADES
        assert asking.recent(None).evidence.tail_records == TRADES


def test_nobody_knows_where_others_put_a_symbol_in_a_topic_of_their_own() -> None:
    topic = quick_profile().topic.model_copy(update={"placed_by_symbol": True})
    assert Placement.of(topic) is not None
    assert Placement.of(topic.model_copy(update={"name": "trades-of-others"})) is None


def test_a_topic_of_another_number_of_partitions_is_read_whole(
    embedded_stack: Endpoints, home: Path, exchange: str
) -> None:
    endpoints, profile, trades = platform(embedded_stack, home, exchange)
    fewer = profile.topic.model_copy(update={"partitions": profile.topic.partitions - 3})
    symbol = trades["symbol"][0]
    with session(endpoints, profile.model_copy(update={"topic": fewer})) as asking:
        answer = asking.recent(symbol.decode())
    assert answer.evidence.tail_records == TRADES
    assert len(answer.table) == (trades["symbol"] == symbol).sum()
