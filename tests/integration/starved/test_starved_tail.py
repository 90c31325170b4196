"""A query on a machine that has no time takes as much longer as there is less of it, and ends."""

import multiprocessing
import statistics
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from k2ctl.clock import SystemClock
from k2ctl.ending import begin_quickly
from k2ctl.endpoints import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.query.session import Session
from k2ctl.query.stream import KafkaStream
from tests.made_trades import make_trades, produce_trades
from tests.support.platforms import empty_market, with_lake
from tests.support.starved import AS_TWENTY_ON_TWO, starved

pytestmark = pytest.mark.slow

TAIL_RECORDS = 15_600
TEN_TIMES = 10
QUIET_LEAST_S = 0.1
"""A tail that a quiet machine reads sooner is not judged more strictly for it."""

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def endpoints(embedded_stack: Endpoints, home: Path) -> Endpoints:
    return with_lake(embedded_stack, home)


def answer(endpoints: Endpoints, topic: str, pipe: Connection) -> None:
    """Asks for the newest trades as often as the pipe says, and sends how long each tail took."""
    begin_quickly()
    stream = KafkaStream(endpoints, topic)
    with Session(Lake.at(endpoints), stream, SystemClock()) as session:
        while times := pipe.recv():
            tails_s = list[float]()
            for _ in range(times):
                found = session.recent(None, limit=10)
                assert found.evidence.tail_records == TAIL_RECORDS, found.evidence
                tails_s.append(found.evidence.stages_ms["tail"] / 1000)
            pipe.send(tails_s)


@pytest.mark.by_hand  # beside nothing else: other tests take from the same processors
def test_a_tail_takes_ten_times_as_long_at_most_beside_busy_programs(endpoints: Endpoints, exchange: str) -> None:
    _, topic = empty_market(endpoints, exchange)
    produce_trades(endpoints, topic, make_trades(TAIL_RECORDS))
    ours, theirs = SPAWN.Pipe()
    child = SPAWN.Process(target=answer, args=(endpoints, topic, theirs), daemon=True)
    child.start()
    ours.send(5)
    quiet_s = statistics.median(ours.recv())
    with starved(AS_TWENTY_ON_TWO) as group:
        group.put_beside(endpoints, child.pid)
        ours.send(20)
        tails_s = ours.recv()
    ours.send(0)
    child.join(20)
    assert max(tails_s) <= TEN_TIMES * max(quiet_s, QUIET_LEAST_S), (quiet_s, tails_s)
