"""Every answer of the warm engine equals what was acknowledged: through commits, compactions, expiries, rebalances."""

import contextlib
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from k2ctl.api.engine import WarmEngine
from k2ctl.api.settings import Limits
from k2ctl.clock import SystemClock
from k2ctl.domain.topics import trades_topic
from k2ctl.domain.trade import WHOLE_HISTORY, Window
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, LakeError
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.maintenance.maintainer import compact_now, expire, whole_hours
from k2ctl.query.session import Session
from tests.made_trades import BASE_US, PARTITIONS, make_trades, produce_trades, quick_profile
from tests.support.group_member import Member
from tests.support.leases import of_this_machine
from tests.support.platforms import with_lake


class Busy:
    """A platform with a producer, two consumers that commit every 200 ms, and housekeeping."""

    def __init__(self, endpoints: Endpoints, exchange: str) -> None:
        profile = quick_profile(commit_interval_s=0.2)
        self.profile = profile.model_copy(update={"market": profile.market.model_copy(update={"exchange": exchange})})
        self.endpoints = endpoints
        self.topic = trades_topic(self.profile.market.asset_class, exchange)
        self.begun = self.acknowledged = self.compacted = self.expired = 0
        self.stop = threading.Event()
        with BrokerAdmin(endpoints) as admin:
            admin.create_topic(self.topic, PARTITIONS)
        self.members = [Member(endpoints, self.profile) for _ in range(2)]

    def produce(self) -> None:
        """Trades by number, every third batch partly a second time."""
        while not self.stop.is_set() and self.begun < 100_000:
            start = self.begun
            self.begun += 200
            produce_trades(self.endpoints, self.topic, make_trades(200, start), 5)
            if start % 600 == 0:
                produce_trades(self.endpoints, self.topic, make_trades(50, start), 5)
            self.acknowledged = start + 200

    def keep_house(self) -> None:
        """Compaction of everything and expiry of nearly everything, again and again."""
        with Lake.at(self.endpoints) as lake:
            while not self.stop.wait(0.5):
                if lake.find_table() is not None:
                    self.expired += expire(lake, SnapshotRetention(5, 0, 0), SystemClock())
                    with contextlib.suppress(LakeError):  # a consumer holds the lease, or was quicker
                        self.compacted += len(compact_now(lake, SystemClock(), whole_hours, of_this_machine))

    def reassign(self, asked: int, of: int) -> None:
        """The second consumer leaves when a third of the questions were asked, and comes back at two thirds."""
        if asked == of // 3:
            self.members.pop().leave()
        elif asked == of * 2 // 3:
            self.members[0].until_it_holds(PARTITIONS)
            self.members.append(Member(self.endpoints, self.profile))


@pytest.fixture
def busy(embedded_stack: Endpoints, home: Path, exchange: str) -> Iterator[tuple[Busy, WarmEngine]]:
    endpoints = with_lake(embedded_stack, home)
    platform = Busy(endpoints, exchange)
    threads = [threading.Thread(target=target) for target in (platform.produce, platform.keep_house)]
    for thread in threads:
        thread.start()
    engine = WarmEngine(endpoints, Limits(), platform.topic)
    yield platform, engine
    platform.stop.set()
    for thread in threads:
        thread.join()
    for member in platform.members:
        member.leave()
    engine.close()


def ask_many(platform: Busy, engine: WarmEngine, count: int) -> int:
    """Compare `count` answers with the oracle; returns how many had rows of both sides."""
    rng, both = random.Random(11), 0
    while platform.acknowledged < 2000:
        platform.stop.wait(0.05)
    for number in range(count):
        platform.reassign(number, count)
        known = platform.acknowledged
        code, first = rng.randrange(20), rng.randrange(known - 20)
        window = rng.choice([WHOLE_HISTORY, Window(BASE_US + first * 1000)])
        answer = engine.ask(lambda session, c=code, w=window: _ask(session, c, w))  # type: ignore[misc]
        begun = platform.begun
        got = answer.table.column("trade_id").to_numpy()
        low = first if window.since_us else 0
        expected = np.arange(low, known)
        expected = expected[expected % 20 == code]
        assert answer.evidence.complete, answer.evidence.missing
        assert len(np.unique(got)) == len(got)
        assert np.isin(expected, got).all(), "an acknowledged trade is not in the answer"
        assert ((got >= low) & (got < begun) & (got % 20 == code)).all()
        both += bool(answer.evidence.lake_rows and answer.evidence.tail_rows)
    for member in platform.members:
        member.until_it_holds(PARTITIONS // 2)
    assert platform.expired
    assert platform.compacted
    return both


def _ask(session: Session, code: int, window: Window):  # type: ignore[no-untyped-def]
    return session.recent(f"S{code:02d}", window)


def test_every_warm_answer_is_exact(busy: tuple[Busy, WarmEngine]) -> None:
    platform, engine = busy
    assert ask_many(platform, engine, 250) > 50


@pytest.mark.by_hand
@pytest.mark.slow
def test_a_thousand_warm_answers_are_exact(busy: tuple[Busy, WarmEngine]) -> None:
    platform, engine = busy
    assert ask_many(platform, engine, 1000) > 200


def test_a_kafka_that_is_gone_is_an_error_and_no_empty_list(
    embedded_stack: Endpoints, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2ctl.kafka.admin.ANSWER_TIMEOUT_S", 1.0)
    (home / "lake").mkdir()
    dead = replace(
        embedded_stack,
        bootstrap_servers="127.0.0.1:1",
        control_socket=None,
        catalog_uri=f"sqlite:///{home}/lake/catalog.db",
        warehouse=f"file://{home}/lake/warehouse",
        home=Home.of_user(),
    )
    engine = WarmEngine(dead, Limits(), "market.equities.trades.gone")
    try:
        with pytest.raises(BrokerError):
            engine.ask(lambda session: session.recent("S01"))
        assert engine.problems()
    finally:
        engine.close()
