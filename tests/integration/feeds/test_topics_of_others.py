"""Topics that others fill: several feeds into one table, which is all that a reader needs to find them again."""

import threading
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka.admin import NewPartitions

from k2ctl.api.engine import WarmEngine
from k2ctl.api.settings import Limits
from k2ctl.clock import SystemClock
from k2ctl.commands.backfill import plans_of
from k2ctl.consume import assignment_manager, topic_consumers
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.consume.topic_consumers import TopicConsumers
from k2ctl.consume.topics import topics_of
from k2ctl.deferred.outstanding import outstanding_ranges
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.days import BarLength
from k2ctl.domain.ledger import DeferredRange, LedgerChange
from k2ctl.domain.topics import dead_letter_topic
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, FencedError
from k2ctl.home import shipped
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.clients import admin_client
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.maintenance.orphans import remove_orphans
from k2ctl.lake.writer import TableWriter
from k2ctl.profiles import Profile
from k2ctl.profiles.foreign import of_others
from k2ctl.query.names import UnknownSymbol
from k2ctl.query.page import Page, Place
from k2ctl.query.session import Session
from tests.made_trades import produce_values, quick_profile
from tests.support.leases import of_this_machine
from tests.support.platforms import with_lake
from tests.support.polling import until

BASE_MS = 1_735_689_600_000

FEED = """\
description: trades of {exchange}
source:
  format: json
  columns: {{symbol: $.s, number: $.n, price: $.p, quantity: $.q, time: $.T}}
trade:
  symbol: symbol
  exchange: "'{exchange}'"
  asset_class: "'crypto'"
  timestamp: time
  price: price
  quantity: quantity
  trade_id: number
  source_sequence: number
identity: [number]
sequence: {{numbers: {numbers}}}
"""


@dataclass
class Venue:
    """A topic of others, and the file of its feed."""

    endpoints: Endpoints
    topic: str
    symbol: str
    feed: Path
    sent: int = 0

    @property
    def profile(self) -> Profile:
        return of_others(quick_profile(), str(self.feed), self.topic)

    def send(self, count: int, step: int = 1, partitions: int = 3) -> None:
        """Numbers that are `step` apart, dealt to partitions in turn."""
        first = self.sent
        values = [
            (
                at % partitions,
                b'{"s":"%s","n":%d,"p":"1.5","q":"2","T":%d}'
                % (self.symbol.encode(), 1 + (first + at) * step, BASE_MS + first + at),
            )
            for at in range(count)
        ]
        self.sent += count
        produce_values(self.endpoints, self.topic, values)

    def consume(self) -> Consumer:
        consumer = Consumer(self.endpoints, ConsumerPlan(self.profile, until_caught_up=True))
        consumer.run(threading.Event())
        return consumer


def venue(endpoints: Endpoints, home: Path, exchange: str, symbol: str, numbers: str = "ordered") -> Venue:
    """A topic of three partitions that another program has made."""
    topic = f"{exchange}.of-others"
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, 3)
    feed = home / f"{exchange}.yaml"
    feed.write_text(FEED.format(exchange=exchange, numbers=numbers))
    return Venue(endpoints, topic, symbol, feed)


@pytest.fixture
def venues(endpoints: Endpoints, home: Path, exchange: str) -> tuple[Venue, Venue]:
    """Two topics, each with its feed."""
    dense = venue(endpoints, home, f"{exchange}B", "BBB", "dense-per-symbol")
    return venue(endpoints, home, f"{exchange}A", "AAA"), dense


def count_of(session: Session, symbol: str) -> tuple[int, tuple[str, ...]]:
    answer = session.recent(symbol)
    return len(answer.table), answer.evidence.missing


def test_topics_of_two_feeds_are_one_table_and_their_tails_are_found_by_it(venues: tuple[Venue, Venue]) -> None:
    one, other = venues
    one.send(30)
    other.send(20)
    one.consume()
    other.consume()
    for each in venues:
        each.feed.unlink()  # the table has it
        each.send(7)
    with Session.at(one.endpoints) as session:
        assert (count_of(session, "AAA"), count_of(session, "BBB")) == ((37, ()), (27, ()))


def test_pages_of_trades_at_the_same_place_of_two_topics_have_each_once(
    endpoints: Endpoints, home: Path, exchange: str
) -> None:
    venues = [venue(endpoints, home, f"{exchange}{name}", "SAME") for name in "AB"]
    for each in venues:
        each.send(12)
        each.consume()
        each.send(9)
    found: list[tuple[str, int]] = []
    page, more = None, True
    with Session.at(endpoints) as session:
        while more:
            answer = session.recent("SAME", limit=5, page=page)
            rows, more = answer.table.to_pylist(), answer.evidence.more
            found += [(row["exchange"], row["trade_id"]) for row in rows]
            at_ns = int(answer.table["timestamp"][-1].cast(pa.int64()).as_py()) * 1000
            place = Place(at_ns, *(rows[-1][f"kafka_{name}"] for name in ("partition", "offset", "index", "topic")))
            page = Page(page.ends if page else answer.evidence.ends, place)
    assert len(found) == 42
    assert set(found) == {(f"{exchange}{name}", number) for name in "AB" for number in range(1, 22)}


def test_each_topic_has_its_own_balance_in_the_table(venues: tuple[Venue, Venue]) -> None:
    one, other = venues
    one.send(30)
    other.send(20)
    produce_values(other.endpoints, other.topic, [(0, b"not a trade")])
    one.consume()
    other.consume()
    with Lake.at(one.endpoints) as lake:
        by_partition = checkpoints_of(lake.table()).by_partition
    counts = {
        topic: sum((known.counts for at, known in by_partition.items() if at.topic == topic), Counts())
        for topic in (one.topic, other.topic)
    }
    assert (counts[one.topic].stored, counts[other.topic].stored) == (30, 20)
    assert (counts[one.topic].undecodable, counts[other.topic].undecodable) == (0, 1)
    assert all(count.balanced for count in counts.values())


def test_what_is_missing_goes_by_what_each_feed_says_of_its_numbers(venues: tuple[Venue, Venue]) -> None:
    ordered, dense = venues
    for each in venues:
        each.send(10, step=3)
        each.consume()
        each.send(2, step=3)
    with Session.at(ordered.endpoints) as session:
        report, evidence = session.gaps(None)
        of_one, _ = session.gaps(["AAA"])
    missing = {symbol: sum(gap.missing for gap in report.gaps if gap.symbol == symbol) for symbol in ("AAA", "BBB")}
    assert missing == {"AAA": 0, "BBB": 22}
    # Topics of other tests may be in the same Kafka, and say nothing of their numbers.
    assert {"dense-per-symbol", "ordered"} <= set(report.numbers.split(", "))
    assert (of_one.stored, of_one.missing, evidence.missing) == (12, 0, ())
    assert dense.consume().assignment.remembered.sequence.missing_trades == 22


def defer(venue: Venue, count: int) -> None:
    """Of what has come to partition 0 the last `count` records are left in Kafka for later."""
    with BrokerAdmin(venue.endpoints) as admin, Lake.at(venue.endpoints) as lake:
        epoch, end = admin.epoch(venue.topic), admin.watermarks(venue.topic)[0].high
        at = TopicPartition(venue.topic, epoch, 0)
        times = (BASE_MS * 1000, BASE_MS * 1000 + 1_000_000)
        shed = DeferredRange(*at, end - count, end, 0b1000, "policy", 2, count, *times)
        delta = OffsetDelta(end - count, end, Counts(count, shed=count))
        assert not TableWriter(lake, SystemClock()).commit([], {at: delta}, LedgerChange((shed,))).fenced


def test_backfill_finds_the_topics_of_which_something_is_outstanding_and_their_feeds(
    venues: tuple[Venue, Venue],
) -> None:
    for each in venues:
        each.send(30)
        each.consume()
        each.send(3)
        each.consume()
        each.send(1)
        defer(each, 1)
        each.feed.unlink()
    endpoints = venues[0].endpoints
    assert {found.topic: found.count for found in outstanding_ranges(endpoints, quick_profile())} == {
        each.topic: 1 for each in venues
    }
    for plan in plans_of(endpoints, quick_profile()).values():
        assert Consumer(endpoints, plan).run(threading.Event()).backfilled == 1
    assert not outstanding_ranges(endpoints, quick_profile())
    with Session.at(endpoints) as session:
        assert (count_of(session, "AAA"), count_of(session, "BBB")) == ((34, ()), (34, ()))


def test_which_prints_count_for_a_bar_is_what_the_feed_of_their_topic_says(
    endpoints: Endpoints, home: Path, exchange: str
) -> None:
    taped, plain = (venue(endpoints, home, f"{exchange}{name}", name * 3) for name in "AB")
    table = home / "tape.yaml"
    table.write_text((shipped("profiles") / "conditions" / "us-tape.yaml").read_text())
    taped.feed.write_text(taped.feed.read_text() + f"conditions: {table}\n")
    for each in (taped, plain):
        with_code = each.feed.read_text().replace("  price: price", "  price: price\n  trade_conditions: \"'W'\"")
        each.feed.write_text(with_code)
        each.send(4)
        each.consume()
        each.send(1)
    table.unlink()
    day = BarLength.parse("1d")
    with Session.at(endpoints) as session:
        bars = {symbol: session.bars(symbol, day).table.to_pylist()[0] for symbol in ("AAA", "BBB")}
    # An average price is no open, high, low or close there.
    assert {symbol: (bar["close"], bar["high"], bar["trades"]) for symbol, bar in bars.items()} == {
        "AAA": (None, None, 5),
        "BBB": (Decimal("1.5"), Decimal("1.5"), 5),
    }


def test_the_service_follows_a_topic_from_when_the_table_has_it(venues: tuple[Venue, Venue]) -> None:
    one, other = venues
    one.send(30)
    one.consume()
    engine = WarmEngine(replace(one.endpoints, profile="laptop"), Limits())
    try:
        assert engine.ask(lambda session: count_of(session, "AAA")) == (30, ())
        other.send(20)
        other.consume()
        other.send(5)
        until(lambda: engine.ask(lambda session: count_of(session, "BBB")) == (25, ()), 10)
        assert {one.topic, other.topic} <= set(engine.status()["topics"])
        until(lambda: not engine.problems(), 10)
    finally:
        engine.close()


def test_each_topic_that_a_regular_expression_matches_is_read_and_one_that_comes_later(
    endpoints: Endpoints, home: Path, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_consumers, "LOOK_EVERY_S", 0.2)
    first, second = (venue(endpoints, home, f"{exchange}{name}", name * 3) for name in "CD")
    first.send(30)
    second.send(20)
    profile = of_others(quick_profile(), str(first.feed), f"^{exchange}.\\.of")
    several = TopicConsumers(endpoints, ConsumerPlan(profile), topics_of(endpoints, profile))
    stop, late = threading.Event(), list[Venue]()
    running = threading.Thread(target=several.run, args=(stop, lambda _: None, lambda _: None))

    def stored(topic: str) -> int:
        found = several.consumers.get(topic)
        return found.totals.stored if found else 0

    running.start()
    try:
        until(lambda: (stored(first.topic), stored(second.topic)) == (30, 20), 20)
        late.append(venue(endpoints, home, f"{exchange}E", "EEE"))
        late[0].send(10)
        until(lambda: stored(late[0].topic) == 10, 20)
    finally:
        stop.set()
        running.join(20)
    with Session.at(endpoints) as session:
        assert {symbol: count_of(session, symbol) for symbol in ("CCC", "DDD", "EEE")} == {
            "CCC": (30, ()),
            "DDD": (20, ()),
            "EEE": (10, ()),
        }


def test_a_consumer_of_several_topics_that_fails_ends_the_others_with_their_work_committed(
    endpoints: Endpoints, home: Path, exchange: str
) -> None:
    first, second = (venue(endpoints, home, f"{exchange}{name}", name * 3) for name in "CD")
    first.send(30)
    second.send(20)
    profile = of_others(quick_profile(), str(first.feed), f"^{exchange}.\\.of")
    several = TopicConsumers(endpoints, ConsumerPlan(profile), topics_of(endpoints, profile))
    second.consume()  # another consumer, which fences this one's
    with pytest.raises(FencedError, match=second.topic):
        several.run(threading.Event(), lambda _: None, lambda _: None)
    assert several.consumers[first.topic].counts().stored == 30


def test_a_topic_that_gets_more_partitions_is_read_in_all_of_them(
    local_stack: Endpoints, home: Path, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignment_manager, "LOOK_EVERY_S", 0.2)
    one = venue(with_lake(local_stack, home), home, f"{exchange}A", "AAA")
    one.send(30)
    consumer, stop = Consumer(one.endpoints, ConsumerPlan(one.profile)), threading.Event()
    running, client = threading.Thread(target=consumer.run, args=(stop,)), admin_client(local_stack)
    running.start()
    try:
        until(lambda: consumer.totals.stored == 30, 20)
        client.create_partitions([NewPartitions(one.topic, 5)])[one.topic].result(10)
        one.send(50, partitions=5)
        until(lambda: consumer.totals.stored == 80, 20)
    finally:
        stop.set()
        running.join(20)
    assert consumer.counts().balanced
    with Session.at(one.endpoints) as session:
        assert count_of(session, "AAA") == (80, ())


def test_a_topic_of_others_is_never_made(endpoints: Endpoints, exchange: str) -> None:
    profile = of_others(quick_profile(), topic=f"{exchange}.raw")
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(f"{exchange}.other", 1)
        with pytest.raises(BrokerError, match=f"There is no topic {exchange}.raw") as refused:
            Consumer(endpoints, ConsumerPlan(profile))
        assert f"{exchange}.raw" not in admin.topics()
        assert dead_letter_topic(f"{exchange}.raw") not in admin.topics()
    assert "There are:" in refused.value.hint


def test_a_topic_of_others_is_waited_for_and_that_is_said(endpoints: Endpoints, exchange: str) -> None:
    said: list[str] = []

    def made_once_it_is_missed(text: str) -> None:
        said.append(text)
        with BrokerAdmin(endpoints) as admin:
            admin.create_topic(f"{exchange}.late", 2)

    profile = of_others(quick_profile(), topic=f"{exchange}.late")
    assert topics_of(endpoints, profile, made_once_it_is_missed) == [f"{exchange}.late"]
    assert len(said) == 1
    assert f"There is no topic {exchange}.late" in said[0]


def test_a_regular_expression_finds_topics_and_none_of_ours(endpoints: Endpoints, exchange: str) -> None:
    with BrokerAdmin(endpoints) as admin:
        for name in (f"{exchange}.a", f"{exchange}.b", dead_letter_topic(f"{exchange}.a"), f"x.{exchange}.c"):
            admin.create_topic(name, 1)
    profile = of_others(quick_profile(), topic=f"^{exchange}\\.")
    assert topics_of(endpoints, profile) == [f"{exchange}.a", f"{exchange}.b"]


def test_a_feed_has_a_table_of_its_own_where_its_profile_says_so(venues: tuple[Venue, Venue]) -> None:
    one, other = venues
    one.send(30)
    one.consume()
    own = replace(other.endpoints, table="market_data.others")
    alone = replace(other, endpoints=own)
    alone.send(20)
    alone.consume()
    alone.send(5)
    with Session.at(one.endpoints) as session, Session.at(own) as of_own:
        assert count_of(session, "AAA") == (30, ())
        assert count_of(of_own, "BBB") == (25, ())
        with pytest.raises(UnknownSymbol):
            session.recent("BBB")
        with pytest.raises(UnknownSymbol):
            of_own.recent("AAA")
    clock = SystemClock()
    with Lake.at(one.endpoints) as lake, Lake.at(own) as beside:
        leases = [of_this_machine(str(each.ensure_table().metadata.table_uuid)) for each in (lake, beside)]
        assert [lease.acquire() for lease in leases] == [True, True]  # each is maintained by itself
        for lease in leases:
            lease.release()
        assert remove_orphans(beside, 0.0, clock).files == 0
