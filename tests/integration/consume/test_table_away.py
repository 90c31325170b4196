"""Catalog or store are gone for longer than a commit is tried: who runs on waits, and leaves its group meanwhile."""

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from k2ctl.domain.topics import reference_topic
from k2ctl.domain.trade import REFERENCE
from k2ctl.endpoints import Endpoints
from k2ctl.errors import LakeError
from k2ctl.kafka.producer import publish
from tests.made_trades import make_trades, produce_trades
from tests.support.consumers import RunningConsumer
from tests.support.independent_reader import Sources, assert_stored_once
from tests.support.object_store import ObjectStore
from tests.support.platforms import empty_market, with_lake
from tests.support.polling import until
from tests.support.postgres_server import PostgresServer


@pytest.fixture
def stored_there(
    embedded_stack: Endpoints, fragile_store: ObjectStore, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Endpoints:
    """A platform with its files in the store, and a second in place of each minute of patience."""
    for patience in ("k2ctl.lake.writer.GIVE_UP_AFTER_S", "k2ctl.consume.assignment_manager.OPEN_WITHIN_S"):
        monkeypatch.setattr(patience, 1.0)
    monkeypatch.setattr("k2ctl.consume.assignment_manager.LEAVE_AFTER_S", 2.0)
    monkeypatch.setattr("k2ctl.consume.assignment_manager.LOOK_EVERY_S", 0.2)
    return replace(with_lake(embedded_stack, home), warehouse=fragile_store.folder(), storage=fragile_store.storage)


def test_a_consumer_of_a_group_leaves_it_and_comes_back(
    stored_there: Endpoints, fragile_store: ObjectStore, exchange: str
) -> None:
    profile, topic = empty_market(stored_there, exchange, commit_interval_s=0.2)
    running = RunningConsumer(stored_there, profile, group=True)
    try:
        produce_trades(stored_there, topic, make_trades(50))
        until(lambda: running.stored(50), 30, lambda: running.said[-1:])
        fragile_store.stop()
        since_s = time.monotonic()
        produce_trades(stored_there, topic, make_trades(50, 50))
        until(lambda: "takes no files" in running.said[-1].waiting, 30, lambda: running.said[-1])
        until(running.has_left, 30, lambda: (running.error, running.said[-1]))
        away_s = time.monotonic() - since_s
        fragile_store.start()
        until(lambda: running.stored(100), 40, lambda: running.said[-1])
        assert running.typical_commit_s() < away_s / 2, "else the next commit would be put off by twice as long"
        produce_trades(stored_there, topic, make_trades(50, 100))
        until(lambda: running.stored(150), 40, lambda: running.said[-1])
    finally:
        running.stop()
    assert assert_stored_once(Sources.of(stored_there), topic) == 0


def test_a_consumer_that_waits_ends_when_it_is_to_stop(
    stored_there: Endpoints, fragile_store: ObjectStore, exchange: str
) -> None:
    profile, topic = empty_market(stored_there, exchange, commit_interval_s=0.2)
    running = RunningConsumer(stored_there, profile)
    fragile_store.stop()
    produce_trades(stored_there, topic, make_trades(50))
    until(lambda: bool(running.said and running.said[-1].waiting), 30, lambda: running.said[-1:])
    until(lambda: running.said[-1].at_us - running.said[0].at_us > 4_000_000, 30)
    assert running.error is None
    with pytest.raises(AssertionError):
        running.stop()
    assert isinstance(running.error, LakeError)


def test_a_catalog_that_hangs_holds_up_no_consumer_that_follows_reference_data(
    embedded_stack: Endpoints,
    fragile_postgres: PostgresServer,
    home: Path,
    exchange: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("k2ctl.consume.reference_feed.EVERY_S", 0.2)
    endpoints = replace(with_lake(embedded_stack, home), catalog_uri=fragile_postgres.database())
    profile, topic = empty_market(endpoints, exchange, commit_interval_s=0.2)
    running = RunningConsumer(endpoints, profile)
    try:
        produce_trades(endpoints, topic, make_trades(50))
        until(lambda: running.stored(50), 30, lambda: running.said[-1:])
        fragile_postgres.pause()
        entry = REFERENCE.empty(1)
        entry["symbol"] = b"BHP"
        market = profile.market
        publish(endpoints, reference_topic(market.asset_class, market.exchange), [("BHP", entry.tobytes())])
        hung_us = running.said[-1].at_us
        until(lambda: running.said[-1].at_us - hung_us > 4_000_000, 30)
        times = [status.at_us for status in running.said if status.at_us >= hung_us]
    finally:
        fragile_postgres.resume()
        running.stop()
    assert max(later - earlier for earlier, later in pairwise(times)) < 2_000_000
