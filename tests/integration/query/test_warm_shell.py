"""What a process asks that stays: the tail is read from Kafka once, and then kept in memory."""

import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from k2ctl.commands.shell.worker import AskedQuery, _Worker
from k2ctl.domain.topics import trades_topic
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.profiles import load_profile
from k2ctl.query.warm_sessions import WarmSessions
from tests.made_trades import make_trades, produce_trades
from tests.support.platforms import with_lake
from tests.support.polling import until

TOPIC = trades_topic("equities", "ASX")
FOLLOWS = "k2-tail"


@pytest.fixture
def stack(embedded_stack: Endpoints, home: Path) -> Endpoints:
    endpoints = with_lake(embedded_stack, home)
    save_endpoints(endpoints)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(TOPIC, 4)
    return endpoints


@pytest.fixture
def warm(stack: Endpoints) -> Iterator[WarmSessions]:
    sessions = WarmSessions(stack, load_profile(stack.profile))
    yield sessions
    sessions.close()


def send(endpoints: Endpoints, symbol: str, first: int) -> None:
    made = make_trades(100, first)
    made["symbol"] = symbol.encode()
    produce_trades(endpoints, TOPIC, made)


def test_from_its_second_question_on_the_tail_is_in_memory_and_nothing_is_missing(
    stack: Endpoints, warm: WarmSessions
) -> None:
    send(stack, "S700", 0)
    with warm.session() as session:
        assert (len(session.recent("S700").table), warm.tail.held_trades) == (100, 0)
        warm.follow()
        until(lambda: warm.tail.held_trades >= 100, 30, lambda: warm.tail.problem)
        send(stack, "S700", 100)
        answer = session.recent("S700")
    assert (len(answer.table), answer.evidence.complete) == (200, True)
    assert warm.tail.held_trades >= 200


def test_the_shell_keeps_it_from_the_first_answer_on_though_a_query_is_wrong(
    stack: Endpoints, capfd: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = multiprocessing.Pipe()
    worker = _Worker(theirs)
    asked = AskedQuery("SELECT count(*) AS n FROM trades WHERE symbol = 'S701'", "csv", None, {}, 60.0, 512)
    wrong = AskedQuery("SELECT nothing FROM trades", "csv", None, {}, 60.0, 512)
    send(stack, "S701", 200)
    before = followers()
    assert [worker.answered(one).code for one in (wrong, asked)] == [2, 0]
    assert followers() == before + 1
    send(stack, "S701", 300)
    assert worker.answered(asked).code == 0
    assert capfd.readouterr().out.split() == ["n", "100", "n", "200"]
    assert followers() == before + 1
    worker.close()
    ours.close()


def followers() -> int:
    return sum(thread.name == FOLLOWS for thread in threading.enumerate())
