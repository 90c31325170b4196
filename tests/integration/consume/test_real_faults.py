"""Faults of the real services under load: afterwards what Kafka acknowledged is stored once, and the counts balance."""

import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from k2ctl.checks.verify.verification import verify
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import Checkpoints, checkpoints_of
from k2ctl.load.generator import LoadSummary, run_load
from k2ctl.load.market import Faults
from k2ctl.load.plan import plan_load
from k2ctl.sequence.state_sync import REDUCED, SHARED
from k2ctl.stack import lifecycle
from k2ctl.stack.engine import Wanted
from tests.made_trades import PARTITIONS, quick_profile
from tests.support import docker_engine
from tests.support.consumers import RunningConsumer
from tests.support.independent_reader import Sources, assert_stored_once
from tests.support.platforms import catch_up, empty_market, market_of_its_own
from tests.support.polling import until

pytestmark = pytest.mark.slow

RATE = 1500
CAUGHT_UP_WITHIN_S = 90.0


def lake_of_its_own(stack: Endpoints) -> Endpoints:
    """The stack with an empty catalog database and an empty folder of the object store."""
    name = f"lake{secrets.token_hex(4)}"
    uri = stack.catalog_uri.replace("+psycopg", "")
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return replace(
        stack,
        catalog_uri=stack.catalog_uri.rpartition("/")[0] + f"/{name}",
        warehouse=f"{stack.warehouse}/{name}",
        home=Home.of_user(),
    )


def checkpoints_at(endpoints: Endpoints) -> Checkpoints:
    with Lake.at(endpoints) as lake:
        return checkpoints_of(lake.table())


class UnderLoad:
    """A topic and a lake of the test's own, a consumer, and a real load with copies until it is stopped."""

    def __init__(self, endpoints: Endpoints, exchange: str) -> None:
        self.endpoints = endpoints
        self.profile, self.topic = market_of_its_own(quick_profile(commit_interval_s=0.2), exchange)
        with BrokerAdmin(endpoints) as admin:
            admin.create_topic(self.topic, PARTITIONS)
        self.consumer = RunningConsumer(endpoints, self.profile)
        self._stop = threading.Event()
        self._summary: list[LoadSummary] = []
        self._load = threading.Thread(target=self._run)
        self._load.start()

    def _run(self) -> None:
        faults = Faults(duplicates=0.02, corrections=0.01, cancels=0.01)
        plan = plan_load(self.profile, rate=RATE, duration_s=300, workers=1, faults=faults)
        self._summary.append(run_load(plan, self.endpoints, self._stop))

    @property
    def stored(self) -> int:
        return self.consumer.said[-1].counts.stored if self.consumer.said else 0

    @property
    def guarantee(self) -> object:
        return self.consumer.said[-1].state.guarantee

    def goes_on(self, within_s: float = CAUGHT_UP_WITHIN_S) -> None:
        """Wait until a second of trades more is stored."""
        before = self.stored
        until(lambda: self.consumer.stored(before + RATE), within_s, lambda: self.consumer.said[-1:])

    def finish(self) -> None:
        """End the load, wait until all is stored, and hold the table to what Kafka acknowledged."""
        self._stop.set()
        self._load.join(120)
        (summary,) = self._summary
        with BrokerAdmin(self.endpoints) as admin:
            ends = sum(mark.high for mark in admin.watermarks(self.topic).values())
        until(lambda: self.consumer.said[-1].counts.seen >= ends, CAUGHT_UP_WITHIN_S, lambda: self.consumer.said[-1])
        self.consumer.stop()
        total = checkpoints_at(self.endpoints).total()
        (verified,) = verify(self.endpoints, lambda _: None)
        assert verified.holds, verified
        assert (verified.in_tail, verified.acknowledged) == (0, summary.trades_acknowledged)
        assert total.balanced
        assert (total.lost, total.seen) == (0, ends)
        assert total.stored >= verified.expected > 0
        assert total.duplicate > 0
        copies = assert_stored_once(Sources.of(self.endpoints), self.topic)
        assert total.duplicate == copies
        if not summary.trades_failed:  # `copies` are those that were sent; what Kafka did not take cannot be one
            assert total.duplicate >= verified.copies

    def close(self) -> None:
        self._stop.set()
        self._load.join(120)
        self.consumer.stop()


@pytest.fixture
def load(docker_stack: Endpoints, exchange: str) -> Iterator[UnderLoad]:
    """Trades that arrive and are stored on the real stack."""
    under = UnderLoad(lake_of_its_own(docker_stack), exchange)
    try:
        under.goes_on()
        yield under
    finally:
        for name in ("kafka", "redis", "postgres", "object-store"):
            mend(service(name))
        under.close()


def mend(container: Any) -> None:
    """Running again, for the tests that follow one that failed."""
    if container.status == "paused":
        container.unpause()
    elif container.status != "running":
        container.start()


def service(name: str) -> Any:
    """The container of a service of the session's stack."""
    return docker_engine.of_project(docker_engine.connect(), os.environ["K2_PROJECT"], name)


def test_kafka_restarted_under_load(load: UnderLoad) -> None:
    service("kafka").restart(timeout=30)
    load.goes_on()
    load.finish()


@pytest.mark.parametrize("paused_s", [8, pytest.param(60, marks=pytest.mark.by_hand)])
def test_kafka_that_does_not_answer_for_a_while(load: UnderLoad, paused_s: int) -> None:
    kafka = service("kafka")
    kafka.pause()
    time.sleep(paused_s)
    kafka.unpause()
    load.goes_on()
    load.finish()


def test_redis_killed_is_reported_and_made_good(load: UnderLoad) -> None:
    until(lambda: load.guarantee == SHARED)
    server = service("redis")
    server.kill()
    until(lambda: load.guarantee == REDUCED, 30, lambda: load.consumer.said[-1].state)
    load.goes_on()
    server.start()
    until(lambda: load.guarantee == SHARED, 60, lambda: load.consumer.said[-1].state)
    load.finish()


def test_redis_that_does_not_answer_holds_nobody_up(load: UnderLoad) -> None:
    server = service("redis")
    server.pause()
    until(lambda: load.guarantee == REDUCED, 30, lambda: load.consumer.said[-1].state)
    load.goes_on(30)
    server.unpause()
    until(lambda: load.guarantee == SHARED, 60, lambda: load.consumer.said[-1].state)
    load.finish()


def test_redis_emptied_is_filled_again(load: UnderLoad) -> None:
    until(lambda: load.guarantee == SHARED)
    before = load.consumer.said[-1].state.rebuilt_partitions
    with redis.Redis.from_url(load.endpoints.state_url) as server:
        server.flushall()
        load.goes_on()
        until(lambda: server.dbsize() > 0, 30)
    until(lambda: load.guarantee == SHARED, 60, lambda: load.consumer.said[-1].state)
    assert load.consumer.said[-1].state.rebuilt_partitions > before
    load.finish()


def test_postgresql_restarted_in_the_middle_of_commits(load: UnderLoad) -> None:
    service("postgres").restart(timeout=20)
    load.goes_on()
    load.finish()


@pytest.mark.parametrize("gone_s", [5, pytest.param(30, marks=pytest.mark.by_hand)])
def test_an_object_store_that_is_gone_is_waited_for(load: UnderLoad, gone_s: int) -> None:
    store = service("object-store")
    store.stop(timeout=10)
    until(lambda: bool(load.consumer.said[-1].waiting), 30)
    time.sleep(gone_s)
    store.start()
    load.goes_on()
    assert not load.consumer.said[-1].waiting
    load.finish()


def test_a_kafka_that_was_wiped_is_recognised_and_given_up_only_on_request(
    home: Path, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = docker_engine.connect()
    project = docker_engine.project_name()
    monkeypatch.setenv("K2_PROJECT", project)
    wanted = Wanted(("kafka", "redis", "postgres", "object-store"), ports={"auto": None})
    try:
        before = load_and_verify(
            lifecycle.up("docker", "laptop", lambda _: None, wanted, home=Home.of_user()).endpoints, exchange
        )
        lifecycle.down(volumes=False, home=Home.of_user())
        client.volumes.get(f"{project}_kafka").remove()
        endpoints = lifecycle.up("docker", "laptop", lambda _: None, wanted, home=Home.of_user()).endpoints
        profile, _topic = empty_market(endpoints, exchange)
        with pytest.raises(BrokerError) as raised:
            catch_up(endpoints, profile)
        assert "--rebase" in raised.value.hint
        assert checkpoints_at(endpoints).total() == before
        catch_up(endpoints, profile, rebase=True)
        load_and_verify(endpoints, exchange)
        after = checkpoints_at(endpoints).total()
        assert after.balanced
        assert after.lost == 0
        assert after.stored > before.stored
    finally:
        lifecycle.down(volumes=True, home=Home.of_user())


def load_and_verify(endpoints: Endpoints, exchange: str) -> Any:
    """Two seconds of load, stored; returns the table's counts."""
    profile, topic = market_of_its_own(quick_profile(), exchange)
    with BrokerAdmin(endpoints) as admin:
        if topic not in admin.topics():
            admin.create_topic(topic, PARTITIONS)
        epoch = admin.epoch(topic)
    run_load(plan_load(profile, rate=RATE, duration_s=2, workers=1), endpoints, threading.Event())
    catch_up(endpoints, profile)
    (verified,) = verify(endpoints, lambda _: None)
    assert verified.holds
    assert verified.in_tail == 0
    assert_stored_once(Sources.of(endpoints), topic, epoch)
    return checkpoints_at(endpoints).total()
