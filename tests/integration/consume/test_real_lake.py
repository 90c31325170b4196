"""The whole way with the lake where it is in earnest: the catalog on PostgreSQL, the warehouse in an S3 store."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from k2ctl.clock import SystemClock
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.endpoints import Endpoints
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.maintenance.orphans import orphans
from k2ctl.lake.side_folder import SPILL
from k2ctl.profiles import Profile
from k2ctl.query.session import Session
from k2ctl.query.stream import KafkaStream
from tests.made_trades import ids_of, make_trades, produce_trades, produce_values, quick_profile, stored_ids
from tests.support.consumers import CONTEXT, RunningConsumer, all_stored, backlog, pressed, run_until, topic_of
from tests.support.independent_reader import Sources, assert_stored_once
from tests.support.object_store import ObjectStore
from tests.support.platforms import empty_market
from tests.support.polling import until
from tests.support.postgres_server import PostgresServer


def placed(stack: Endpoints, postgres: PostgresServer, store: ObjectStore) -> Endpoints:
    return replace(
        stack, catalog_uri=postgres.database(), warehouse=store.folder(), storage=store.storage, home=Home.of_user()
    )


def consume(endpoints: Endpoints, profile: Profile, home: str) -> None:
    """A consumer's process, held to a budget so that it is still at work when it is killed."""
    os.environ["K2CTL_HOME"] = home
    Consumer(endpoints, ConsumerPlan(profile, budget=6_000.0)).run(threading.Event())


def assert_all_stored_once(endpoints: Endpoints, topic: str, trades: np.ndarray) -> None:
    """Every trade is in the table once, the counts balance, and nothing is outstanding."""
    assert_stored_once(Sources.of(endpoints), topic)
    assert stored_ids(endpoints) == ids_of(trades)
    with Lake.at(endpoints) as lake:
        checkpoints = checkpoints_of(lake.table())
    assert checkpoints.total().balanced
    assert (checkpoints.total().stored, checkpoints.total().lost) == (len(trades), 0)
    assert checkpoints.ledger.entries == ()


def test_trades_deferred_sent_twice_and_read_by_a_consumer_that_is_killed_are_stored_once(
    embedded_stack: Endpoints, postgres_server: PostgresServer, object_store: ObjectStore, exchange: str, home: Path
) -> None:
    endpoints = placed(embedded_stack, postgres_server, object_store)
    profile = pressed(quick_profile(commit_interval_s=0.2), endpoints, exchange)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic_of(profile), profile.topic.partitions)
    trades = backlog(endpoints, profile, 45_000)
    process = CONTEXT.Process(target=consume, args=(endpoints, profile, str(home)))
    process.start()
    try:
        until(lambda: _spilled(endpoints) > 0, 40)
    finally:
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    with Session(Lake.at(endpoints), KafkaStream(endpoints, topic_of(profile))) as session:
        whole = session.recent(None, deferred=True)
    assert whole.evidence.complete
    assert len(whole.table) == len(trades)

    symbol = trades["symbol"][0]
    again = trades[trades["symbol"] == symbol][:200]
    said, _ = run_until(endpoints, profile, all_stored)
    assert any(status.outstanding_spilled for status in said)
    produce_values(endpoints, topic_of(profile), ((0, trade.tobytes()) for trade in again))
    run_until(endpoints, profile, lambda status: all_stored(status) and status.counts.duplicate == len(again))
    assert_all_stored_once(endpoints, topic_of(profile), trades)
    with Lake.at(endpoints) as lake:
        assert not any(f"/{SPILL}/" in orphan.name and orphan.age_s > 60 for orphan in orphans(lake, SystemClock()))


def _spilled(endpoints: Endpoints) -> int:
    with Lake.at(endpoints) as lake:
        table = lake.find_table()
        return 0 if table is None else len(checkpoints_of(table).ledger.spill_files)


@contextmanager
def consuming(endpoints: Endpoints, exchange: str) -> Iterator[tuple[RunningConsumer, str]]:
    profile, topic = empty_market(endpoints, exchange)
    running = RunningConsumer(endpoints, profile)
    try:
        yield running, topic
    finally:
        running.stop()


def test_a_restart_of_postgresql_in_the_middle_of_commits_neither_loses_nor_doubles(
    embedded_stack: Endpoints, fragile_postgres: PostgresServer, object_store: ObjectStore, exchange: str
) -> None:
    endpoints = placed(embedded_stack, fragile_postgres, object_store)
    trades = make_trades(6_000)
    with consuming(endpoints, exchange) as (consumer, topic):
        for number in range(6):
            produce_trades(endpoints, topic, trades[number * 1000 : (number + 1) * 1000])
            if number % 2:
                fragile_postgres.restart(lambda: time.sleep(0.7))
        until(lambda: consumer.stored(len(trades)), 60)
    assert_all_stored_once(endpoints, topic, trades)


@pytest.mark.parametrize("gone_s", [5, pytest.param(30, marks=[pytest.mark.slow, pytest.mark.by_hand])])
def test_a_store_that_is_gone_is_waited_for_said_and_loses_nothing(
    embedded_stack: Endpoints, postgres_server: PostgresServer, fragile_store: ObjectStore, exchange: str, gone_s: int
) -> None:
    endpoints = placed(embedded_stack, postgres_server, fragile_store)
    trades = make_trades(3_000)
    with consuming(endpoints, exchange) as (consumer, topic):
        produce_trades(endpoints, topic, trades[:1000])
        until(lambda: consumer.stored(1000), 30)
        fragile_store.stop()
        produce_trades(endpoints, topic, trades[1000:2000])
        until(lambda: bool(consumer.said[-1].waiting), 20)
        time.sleep(gone_s)
        assert not consumer.stored(1001)
        assert consumer.said[-1].lag_committed_trades == 1000
        fragile_store.start()
        produce_trades(endpoints, topic, trades[2000:])
        until(lambda: consumer.stored(len(trades)), 60)
        until(lambda: not consumer.said[-1].waiting, 5)
    assert_all_stored_once(endpoints, topic, trades)
