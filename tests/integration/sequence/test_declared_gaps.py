"""What a profile declares of its numbers, asked for in every way: the same everywhere, and in the consumer."""

import threading
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.domain.status_parts import SequenceCounts
from k2ctl.domain.topics import WireFormat
from k2ctl.domain.trade import WHOLE_HISTORY
from k2ctl.endpoints import Endpoints
from k2ctl.feeds.records import decoder_of
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.profiles import Profile
from k2ctl.profiles.model import SequenceSettings
from k2ctl.profiles.universe import Universe
from k2ctl.query.session import Session
from k2ctl.query.sql import sql
from k2ctl.query.stream import KafkaStream
from k2ctl.sequence.gap_report import GapReport
from k2ctl.views.lake import gaps_panel
from tests.made_trades import BASE_US, PARTITIONS, make_trades, produce_trades, produce_values, quick_profile

pytestmark = pytest.mark.parametrize("stack", ["embedded"], indirect=True)

MINUTE_US = 60_000_000
COLUMNS = ("symbol", "first_missing", "last_missing", "missing")
Row = tuple[Any, ...]


def of(symbol: str, numbers: list[int], session: int = 1, start_us: int = 0) -> np.ndarray:
    """Trades of one symbol, number n at n milliseconds."""
    trades = make_trades(len(numbers))
    trades["symbol"] = symbol.encode()
    trades["source_sequence"] = numbers
    trades["event_ns"] = (BASE_US + start_us + np.array(numbers, np.int64) * 1000) * 1000
    ids = np.empty((len(numbers), 2), ">u8")
    ids[:, 0], ids[:, 1] = session << 32 | int(symbol[1:]), np.array(numbers) + 1
    trades["message_id"] = ids.view("V16")[:, 0]
    return trades


class Asked:
    """A topic whose profile declares its numbers, and every way to ask what is missing."""

    def __init__(
        self, endpoints: Endpoints, exchange: str, declared: SequenceSettings | None, form: WireFormat
    ) -> None:
        quick = quick_profile()
        changes: dict[str, Any] = {
            "market": quick.market.model_copy(update={"exchange": exchange}),
            "topic": quick.topic.model_copy(update={"sequence": declared, "format": form}),
        }
        self.profile: Profile = quick.model_copy(update=changes)
        self.endpoints, self.topic = endpoints, self.profile.trades_topic
        with BrokerAdmin(endpoints) as admin:
            admin.create_topic(self.topic, PARTITIONS)

    def consume(self) -> SequenceCounts:
        consumer = Consumer(self.endpoints, ConsumerPlan(self.profile, until_caught_up=True))
        consumer.run(threading.Event())
        return consumer.assignment.remembered.sequence

    def session(self) -> Session:
        stream = KafkaStream(self.endpoints, self.topic, decoder_of(self.profile))
        return Session(Lake.at(self.endpoints), stream, universe=Universe(self.profile))

    def report(self, symbols: list[str] | None = None) -> GapReport:
        with self.session() as session:
            return session.gaps(symbols)[0]

    def answers(self, symbols: list[str]) -> list[list[Row]]:
        """The gaps by `k2ctl gaps`, HTTP and SQL."""
        with self.session() as session:
            rows = session.gap_rows(symbols, WHOLE_HISTORY, 100).table.to_pylist()
            with sql(session, f"SELECT {', '.join(COLUMNS)} FROM gaps") as answer:
                by_sql = answer.rows.read_all().to_pylist()
        report = [(gap.symbol, gap.first, gap.last, gap.missing) for gap in self.report().gaps]
        return [report, *([tuple(row[name] for name in COLUMNS) for row in part] for part in (rows, by_sql))]


Start = Callable[..., Asked]


@pytest.fixture
def start(endpoints: Endpoints, exchange: str) -> Start:
    def started(declared: SequenceSettings | None, form: WireFormat = "sbe") -> Asked:
        return Asked(endpoints, exchange, declared, form)

    return started


BY_SESSION = SequenceSettings(session="message-id")
BY_EXCHANGE = SequenceSettings(numbers="dense-per-channel")
RESTARTED = [of("S00", [1, 2, 4]), of("S00", [3, 4, 6], 2, 5 * MINUTE_US), of("S00", [3], 1)]
CHANNEL = [of("S00", [1, 4, 7]), of("S01", [2, 5, 8]), of("S02", [3, 9, 13])]
FEEDS = {
    "sessions": (BY_SESSION, RESTARTED, [("S00", 1, 2, 2), ("S00", 5, 5, 1)]),
    "a channel": (BY_EXCHANGE, CHANNEL, [("S01 … S00", 6, 6, 1), ("S02", 10, 12, 3)]),
    "only ordered": (SequenceSettings(numbers="ordered"), [of("S00", [1, 5, 90]), of("S01", [2, 6])], []),
    "none": (SequenceSettings(numbers="none"), [of("S00", [1, 5, 90])], []),
}


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("stored", [0, 1, 3], ids=["in the stream", "in both", "in the table"])
def test_every_way_of_asking_goes_by_what_is_declared(start: Start, feed: str, stored: int) -> None:
    declared, parts, expected = FEEDS[feed]
    asked = start(declared)
    for number, part in enumerate(parts):
        produce_trades(asked.endpoints, asked.topic, part)
        if number < stored:
            asked.consume()
    symbols = sorted({symbol.decode() for part in parts for symbol in part["symbol"].tolist()})
    assert asked.answers(symbols) == [expected] * 3
    counts = asked.consume()
    missing = sum(row[3] for row in expected)
    assert counts.missing_trades + counts.lost_trades == missing, "the consumer counts the same"
    assert asked.consume().missing_trades + asked.consume().lost_trades == missing, "and the one that takes over"


def test_a_gap_of_a_channel_is_of_the_symbols_on_both_sides(start: Start) -> None:
    asked = start(BY_EXCHANGE)
    for part in CHANNEL:
        produce_trades(asked.endpoints, asked.topic, part)
    found = {name: [gap.first for gap in asked.report([name]).gaps] for name in ("S00", "S01", "S02")}
    assert found == {"S00": [6], "S01": [6], "S02": [10]}
    (day,) = asked.report().days
    assert (day.symbol, day.stored, day.missing) == ("*", 9, 4)


def test_after_a_restart_consumer_and_report_have_the_same_counts(start: Start) -> None:
    """Also of a trade that comes late from before the restart."""
    asked = start(None)
    parts = [of("S00", [*range(1, 11), 12]), of("S00", [1, 2, 3, 5], 2, 5 * MINUTE_US), of("S00", [13, 15], 3)]
    for part in parts:
        produce_trades(asked.endpoints, asked.topic, part)
    counts, report = asked.consume(), asked.report()
    explained = sum(gap.missing for gap in report.gaps if gap.cause == "reset")
    missing = report.missing - explained
    assert (counts.resets, counts.explained_by_reset) == (report.resets, explained) == (1, 2)
    assert counts.missing_trades + counts.lost_trades == missing == 1


VENUE = [
    *[("TCEHY", number, second) for number, second in ((130924, 0), (130924, 0), (143015, 1))],
    *[("BTC-USDX", number, at) for at, number in enumerate((5500659397, 5500659401, 5500659460, 5500659999))],
    *[("OPTZ", 0, second) for second in range(4)],
]


def produce_venue(asked: Asked) -> None:
    """Two trades with one number, numbers of a whole product feed, and a constant: as JSON."""
    values = []
    for at, (symbol, number, second) in enumerate(VENUE):
        record = {
            "message_id": str(uuid.uuid5(uuid.NAMESPACE_URL, str(at))), "trade_id": at, "symbol": symbol,
            "exchange": asked.profile.market.exchange, "asset_class": "crypto", "currency": "USD", "side": "BUY",
            "price": "1", "quantity": "1", "timestamp": 1767225600000000 + second * 1_000_000,
            "ingestion_timestamp": 1780000000000000, "source_sequence": number,
        }  # fmt: skip
        values.append((0, orjson.dumps(record)))
    produce_values(asked.endpoints, asked.topic, values)


@pytest.mark.parametrize("numbers", ["ordered", "none"])
def test_of_numbers_that_are_not_dense_nothing_is_known_to_be_missing(start: Start, numbers: str) -> None:
    asked = start(SequenceSettings.model_validate({"numbers": numbers}), "json")
    produce_venue(asked)
    before, counts, after = asked.report(), asked.consume(), asked.report()
    for report in (before, after):
        assert (report.missing, report.gaps, report.resets) == (0, (), 0)
    assert (counts.missing_trades, counts.lost_trades, counts.duplicates, counts.resets) == (0, 0, 0, 0)
    assert "Nothing is known to be missing" in shown(after)


def test_where_nothing_is_declared_the_report_says_how_to_declare_it(start: Start) -> None:
    asked = start(None, "json")
    produce_venue(asked)
    report = asked.report()
    exchange = asked.profile.market.exchange
    assert report.not_dense == tuple(f"{exchange}/{symbol}" for symbol in ("BTC-USDX", "OPTZ", "TCEHY"))
    assert "sequence: {numbers: KIND}" in shown(report)


def shown(report: GapReport) -> str:
    from rich.console import Console

    console = Console(width=1000)
    with console.capture() as capture:
        console.print(gaps_panel(report))
    return capture.get()
