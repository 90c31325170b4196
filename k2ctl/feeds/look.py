"""What lies in a topic: its newest records, and what they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from k2ctl.domain.recorded_feeds import RecordedFeed
from k2ctl.domain.texts import instant_text
from k2ctl.domain.topics import topics_named
from k2ctl.endpoints import Endpoints
from k2ctl.errors import UsageError
from k2ctl.feeds.check.topic_parts import READ_WITHIN_S, are_own, known_topic, part_of, shown_by, text_of
from k2ctl.feeds.records import SBE, Decoder
from k2ctl.feeds.topics import TopicFeeds
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.reader import BESIDE, Fetched, read_between
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import feeds_in
from k2ctl.profiles import Profile

OWN: Final = "K2's own"


@dataclass(frozen=True)
class TopicSummary:
    """One topic of the stack."""

    topic: str
    partitions: int
    # Between the ends of its logs; a log that was compacted holds fewer.
    records: int
    # The name of its feed; empty where none is known.
    feed: str


@dataclass(frozen=True)
class SeenRecord:
    """One record, and what it is."""

    partition: int
    offset: int
    # ISO; None where Kafka has no time of it.
    at: str | None
    key: str | None
    size: int
    # Cut.
    text: str
    # Of dtype `TRADE.message`.
    trades: Sequence[np.void]
    # Why it, or a trade of it, is none.
    reasons: Sequence[str]


@dataclass(frozen=True)
class StartAt:
    """Where to begin: a partition, and an offset in it."""

    partition: int
    offset: int


def known_feeds(endpoints: Endpoints, profile: Profile) -> TopicFeeds:
    """The feeds of the stack's topics, as far as the table knows them."""
    with Lake.at(endpoints) as lake:
        table = lake.find_table()
        recorded: Mapping[str, RecordedFeed] = {} if table is None else feeds_in(table)
    return TopicFeeds(profile, recorded)


def summaries(endpoints: Endpoints, feeds: TopicFeeds) -> list[TopicSummary]:
    """Every topic.

    Raises:
        BrokerError: Kafka does not answer.
    """
    found = []
    with BrokerAdmin(endpoints) as admin:
        for topic, partitions in sorted(admin.topics().items()):
            marks = admin.watermarks(topic).values()
            records = sum(mark.high - mark.low for mark in marks)
            found.append(TopicSummary(topic, partitions, records, _feed_name(feeds, topic)))
    return found


def _feed_name(feeds: TopicFeeds, topic: str) -> str:
    recorded = feeds.recorded.get(topic)
    if recorded is not None:
        return recorded.name
    if not topics_named(feeds.profile.trades_topic, [topic]):
        return ""
    return feeds.profile.topic.feed or OWN


def decoder_known(feeds: TopicFeeds, topic: str) -> Decoder | None:
    """How a topic's records are read; None where nothing says what they are.

    Raises:
        ProfileError: its feed cannot be used here.
    """
    return feeds.decoder(topic) if _feed_name(feeds, topic) else None


def look(
    endpoints: Endpoints, topic: str, decoder: Decoder | None, count: int, start: StartAt | None, now_us: int
) -> list[SeenRecord]:
    """The newest records of a topic in order of their times, or those from a place on.

    decoder: None: the records are shown, and no trades but of K2's own format.

    Raises:
        UsageError: there is no such topic, partition or offset.
        BrokerError: Kafka does not answer.
    """
    with BrokerAdmin(endpoints) as admin:
        marks = known_topic(admin, topic)
    if start is None:
        ranges = {number: (max(mark.low, mark.high - count), mark.high) for number, mark in marks.items()}
    else:
        mark = marks.get(start.partition)
        if mark is None or not mark.low <= start.offset < mark.high:
            there = ", ".join(
                f"{number}:{one.low} to {one.high - 1}" for number, one in marks.items() if one.high > one.low
            )
            where = f"{start.partition}:{start.offset}"
            raise UsageError(f"There is no record at {where} of {topic}.", f"There are: {there or 'none'}")
        ranges = {start.partition: (start.offset, min(mark.high, start.offset + count))}
    fetched, _, _ = read_between(endpoints, topic, ranges, READ_WITHIN_S, count * len(ranges), tuple(BESIDE))
    times = [0 if at is None else at for at in fetched.beside.get("kafka_timestamp", [])]
    newest = np.sort(np.argsort(times, kind="stable")[-count:]) if start is None else np.arange(len(fetched))
    mask = np.zeros(len(fetched), np.bool_)
    mask[newest] = True
    return _seen(fetched.where(mask), decoder, now_us)


def _seen(fetched: Fetched, decoder: Decoder | None, now_us: int) -> list[SeenRecord]:
    if decoder is None and len(fetched) and are_own(fetched.values):
        decoder = SBE
    trades: dict[int, list[np.void]] = {}
    reasons: dict[int, list[str]] = {}
    if decoder is not None and len(fetched):
        part = part_of(fetched, decoder, now_us)
        for record, trade in zip(part.record.tolist(), part.trades, strict=True):
            trades.setdefault(record, []).append(trade)
        for record, reason in [*part.broken, *((one.record, one.reason) for one in part.refused)]:
            reasons.setdefault(record, []).append(reason)
    keys, times = fetched.beside.get("kafka_key", []), fetched.beside.get("kafka_timestamp", [])
    found = [
        SeenRecord(
            int(fetched.partition[at]),
            int(fetched.offset[at]),
            None if times[at] is None else instant_text(times[at] * 1_000_000),
            None if keys[at] is None else text_of(keys[at]),
            len(value),
            shown_by(decoder, value),
            trades.get(at, []),
            reasons.get(at, []),
        )
        for at, value in enumerate(fetched.values)
    ]
    return sorted(found, key=lambda one: (one.at or "", one.partition, one.offset))
