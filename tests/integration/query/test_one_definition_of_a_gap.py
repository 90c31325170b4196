"""A feed's numbers, asked for in every way: what is missing, and why, is the same everywhere."""

from typing import Any

import numpy as np
import pytest

from k2ctl.consume.consumer import Consumer
from k2ctl.domain.trade import WHOLE_HISTORY, Window
from k2ctl.endpoints import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.query.session import Session
from k2ctl.query.sql import sql
from k2ctl.query.stream import KafkaStream
from tests.made_trades import BASE_US, make_trades, produce_trades
from tests.support.platforms import catch_up, empty_market

MINUTE_US = 60_000_000
COLUMNS = ("symbol", "first_missing", "last_missing", "missing", "state", "cause")


def of_numbers(numbers: list[int], session: int, start_us: int) -> np.ndarray:
    """Trades of S00, one a millisecond."""
    trades = make_trades(len(numbers), session=session)
    trades["symbol"] = b"S00"
    trades["source_sequence"] = numbers
    trades["event_ns"] = (start_us + np.arange(len(numbers)) * 1000) * 1000
    ids = np.empty((len(numbers), 2), ">u8")
    ids[:, 0], ids[:, 1] = session, numbers
    trades["message_id"] = ids.view("V16")[:, 0]
    return trades


FIRST = of_numbers(list(range(1, 101)), 1, BASE_US)
SECOND = of_numbers([50, 51, 52, 54, 55], 2, BASE_US + 5 * MINUTE_US)
HOLED = of_numbers([1, 2, 5, 6], 3, BASE_US)
LATE = of_numbers([4], 3, BASE_US + 5000)
LOST = ("S00", 53, 53, 1, "LOST", "")

FEEDS = {
    "a restart not at one": ([FIRST, SECOND], [LOST]),
    "a gap that a restart explains": (
        [np.delete(FIRST, [9]), SECOND],
        [("S00", 10, 10, 1, "EXPLAINED", "reset"), LOST],
    ),
    "a gap that is filled in part": ([HOLED, LATE], [("S00", 3, 3, 1, "LOST", "")]),
    "nothing is missing": ([FIRST], []),
}


class Asked:
    """One topic and table, and every way to ask for gaps."""

    def __init__(self, endpoints: Endpoints, exchange: str) -> None:
        self.endpoints = endpoints
        self.profile, self.topic = empty_market(endpoints, exchange)

    def produce(self, trades: np.ndarray) -> None:
        produce_trades(self.endpoints, self.topic, trades)

    def consume(self) -> Consumer:
        return catch_up(self.endpoints, self.profile)

    def session(self) -> Session:
        return Session(Lake.at(self.endpoints), KafkaStream(self.endpoints, self.topic))

    def answers(self, window: Window = WHOLE_HISTORY) -> dict[str, list[tuple[Any, ...]]]:
        with self.session() as session:
            report, _ = session.gaps(["S00"], window)
            answers = {
                "k2ctl gaps": [
                    (gap.symbol, gap.first, gap.last, gap.missing, gap.state, gap.cause) for gap in report.gaps
                ],
                "GET /v1/gaps": rows_of(session.gap_rows(["S00"], window, 100).table.to_pylist()),
            }
            if window is WHOLE_HISTORY:
                with sql(session, f"SELECT {', '.join(COLUMNS)} FROM gaps") as answer:
                    answers["query sql"] = rows_of(answer.rows.read_all().to_pylist())
        return answers


def rows_of(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in COLUMNS) for row in rows]


@pytest.fixture
def asked(endpoints: Endpoints, exchange: str) -> Asked:
    return Asked(endpoints, exchange)


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("stored", [0, 1, 2], ids=["in the stream", "in both", "in the table"])
def test_every_way_of_asking_gives_the_same_gaps(asked: Asked, feed: str, stored: int) -> None:
    parts, expected = FEEDS[feed]
    for number, part in enumerate(parts):
        sent = part.copy()
        sent["received_ns"] = sent["event_ns"]
        asked.produce(sent)
        if number < stored:
            asked.consume()
    answers = asked.answers()
    assert answers == dict.fromkeys(answers, expected)
    assert len(answers) == 3


def test_a_window_sees_its_own_gaps_alone(asked: Asked) -> None:
    asked.produce(np.concatenate([FIRST[:20], FIRST[25:], SECOND]))
    asked.consume()
    later = asked.answers(Window(since_us=BASE_US + 4 * MINUTE_US))
    assert [[row[1] for row in rows] for rows in later.values()] == [[53], [53]]
    earlier = asked.answers(Window(until_us=BASE_US + 4 * MINUTE_US))
    assert [[row[1] for row in rows] for rows in earlier.values()] == [[21], [21]]
