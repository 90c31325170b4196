"""Following the reference topic: what goes wrong with it costs enrichment, and never the consumer."""

from collections.abc import Iterator

import pytest

from k2ctl.clock import ManualClock
from k2ctl.consume.reference_feed import EVERY_S, ReferenceFeed
from k2ctl.domain.topics import REFERENCE_TABLE
from k2ctl.domain.trade import REFERENCE
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.references import reference_symbols
from tests.made_trades import produce_values
from tests.support.polling import until


def entry(symbol: bytes) -> tuple[int, bytes]:
    made = REFERENCE.empty(1)
    made["symbol"], made["timestamp_ns"] = symbol, 1_000_000_000
    return 0, made.tobytes()


@pytest.fixture
def feed(endpoints: Endpoints, exchange: str) -> Iterator[tuple[ReferenceFeed, ManualClock, str]]:
    topic, clock = f"reference.{exchange.lower()}", ManualClock()
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, 1)
    with Lake.at(endpoints) as lake:
        yield ReferenceFeed(endpoints, topic, lake, clock), clock, topic


def test_a_kafka_that_refuses_is_asked_again_later(
    feed: tuple[ReferenceFeed, ManualClock, str], endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    following, clock, topic = feed
    produce_values(endpoints, topic, [entry(b"BHP")])

    def refused(*_: object) -> None:
        raise BrokerError("refused")

    with monkeypatch.context() as patched:
        patched.setattr("k2ctl.consume.reference_feed.read_between", refused)
        following.refresh()
    assert len(following.table) == 0
    clock.advance(EVERY_S)
    following.refresh()
    assert len(following.table) == 1


def test_a_topic_that_was_made_again_is_read_from_its_start(
    feed: tuple[ReferenceFeed, ManualClock, str], endpoints: Endpoints
) -> None:
    following, clock, topic = feed
    produce_values(endpoints, topic, [entry(name) for name in (b"BHP", b"CBA", b"CSL")])
    following.refresh()
    with BrokerAdmin(endpoints) as admin:
        admin.delete_topic(topic)
        until(lambda: topic not in admin.topics(), 10)
        admin.create_topic(topic, 1)
    produce_values(endpoints, topic, [entry(b"RIO")])
    clock.advance(EVERY_S)
    following.refresh()
    assert sorted(following.table.entries["symbol"].tolist()) == [b"BHP", b"CBA", b"CSL", b"RIO"]


def test_the_reference_table_keeps_ten_snapshots(
    feed: tuple[ReferenceFeed, ManualClock, str], endpoints: Endpoints
) -> None:
    following, clock, topic = feed
    clock.advance(10**9)  # after the snapshots that are made here and now
    for number in range(15):
        produce_values(endpoints, topic, [entry(b"S%d" % number)])
        clock.advance(EVERY_S)
        following.refresh()
    with Lake.at(endpoints) as lake:
        table = lake.find_table(REFERENCE_TABLE)
        assert table is not None
        assert len(table.metadata.snapshots) == 10
        assert len(table.scan().to_arrow()) == 15


def test_entries_that_are_stored_are_not_written_again_by_the_next_consumer_and_others_are(
    feed: tuple[ReferenceFeed, ManualClock, str], endpoints: Endpoints
) -> None:
    following, clock, topic = feed
    produce_values(endpoints, topic, [entry(b"BHP"), entry(b"ANZ")])
    following.refresh()
    with Lake.at(endpoints) as lake:

        def snapshots() -> int:
            table = lake.find_table(REFERENCE_TABLE)
            return 0 if table is None else len(table.metadata.snapshots)

        assert snapshots() == 1
        ReferenceFeed(endpoints, topic, lake, ManualClock()).refresh()
        assert snapshots() == 1
        produce_values(endpoints, topic, [entry(b"CBA")])
        clock.advance(EVERY_S)
        following.refresh()
        assert snapshots() == 2
        assert reference_symbols(lake) == {"ANZ", "BHP", "CBA"}
