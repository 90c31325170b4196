"""One topic as a whole: its partitions and where they are kept, its settings, and who reads it and how far."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from k2ctl.domain.texts import instant_text
from k2ctl.domain.topics import dead_letter_topic
from k2ctl.endpoints import Endpoints
from k2ctl.errors import K2Error, NotAllowed
from k2ctl.feeds.check.topic_parts import READ_WITHIN_S, known_topic
from k2ctl.feeds.look.known import feed_name
from k2ctl.feeds.topics import TopicFeeds
from k2ctl.kafka.admin import Watermarks
from k2ctl.kafka.reader import read_between
from k2ctl.kafka.topic_admin import Copies, TopicAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import recorded_checkpoints

TABLE_READER: Final = "table"
_SAMPLED: Final = 20
"""Newest records of each partition, for the size of a record."""


@dataclass(frozen=True)
class DescribedPartition:
    """One partition of a topic."""

    partition: int
    # The log holds the offsets from `low` up to, not including, `high`.
    low: int
    high: int
    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]
    # ISO, of the newest record; None where there is none, or Kafka has no time of it.
    newest_at: str | None


@dataclass(frozen=True)
class DescribedReader:
    """Who reads the topic: the table, or a group of Kafka."""

    reader: str
    # Partition → the next offset it reads.
    offsets: Mapping[int, int]
    # Records up to the ends of the logs.
    behind: int


@dataclass(frozen=True)
class TopicDescription:
    """What there is to know of a topic."""

    topic: str
    # Empty where nothing says what its records are.
    feed: str
    epoch: str
    partitions: tuple[DescribedPartition, ...]
    records: int
    # Of a record's value, uncompressed, as the newest are; None without records.
    record_bytes: float | None
    # None where the engine does not say, with the reason in `unknown`.
    settings: Mapping[str, str] | None
    readers: tuple[DescribedReader, ...]
    # In its dead-letter topic.
    dead_letters: int
    # What could not be found out, and why.
    unknown: tuple[str, ...]


def describe(endpoints: Endpoints, feeds: TopicFeeds, topic: str) -> TopicDescription:
    """Everything that Kafka and the table know of a topic.

    Raises:
        UsageError: there is no such topic. BrokerError: Kafka does not answer.
    """
    unknown: list[str] = []
    with TopicAdmin(endpoints) as admin:
        marks, copies, epoch = known_topic(admin, topic), admin.copies(topic), admin.epoch(topic)
        settings, groups = _settings(admin, topic, unknown), _groups(admin, topic, unknown)
        dead_topic = dead_letter_topic(topic)
        dead_marks = admin.watermarks(dead_topic).values() if dead_topic in admin.topics() else ()
    newest, record_bytes = _newest(endpoints, topic, marks)
    stored = _stored(endpoints, topic, epoch, unknown)
    readers = {**({TABLE_READER: stored} if stored else {}), **groups}
    return TopicDescription(
        topic,
        feed_name(feeds, topic),
        epoch,
        tuple(_partition(number, mark, copies, newest) for number, mark in marks.items()),
        sum(mark.high - mark.low for mark in marks.values()),
        record_bytes,
        settings,
        tuple(DescribedReader(name, offsets, _behind(offsets, marks)) for name, offsets in readers.items()),
        sum(mark.high - mark.low for mark in dead_marks),
        tuple(unknown),
    )


def _partition(
    number: int, mark: Watermarks, copies: Mapping[int, Copies], newest: Mapping[int, str]
) -> DescribedPartition:
    kept = copies.get(number, Copies(-1, (), ()))
    return DescribedPartition(number, mark.low, mark.high, kept.leader, kept.replicas, kept.in_sync, newest.get(number))


def _settings(admin: TopicAdmin, topic: str, unknown: list[str]) -> Mapping[str, str] | None:
    try:
        found = admin.settings(topic)
    except NotAllowed as error:
        unknown.append(f"settings: {error}")
        return None
    if found is None:
        unknown.append("settings: the embedded engine has none")
    return found


def _groups(admin: TopicAdmin, topic: str, unknown: list[str]) -> dict[str, dict[int, int]]:
    try:
        return admin.groups(topic)
    except NotAllowed as error:
        unknown.append(f"groups: {error}")
        return {}


def _stored(endpoints: Endpoints, topic: str, epoch: str, unknown: list[str]) -> dict[int, int]:
    """Partition → up to where the table has stored it."""
    try:
        with Lake.at(endpoints) as lake:
            table = lake.find_table()
            checkpoints = None if table is None else recorded_checkpoints(table)
    except K2Error as error:
        unknown.append(f"what the table has stored: {error}")
        return {}
    if checkpoints is None:
        return {}
    return {
        place.partition: checkpoint.next_offset
        for place, checkpoint in checkpoints.by_partition.items()
        if (place.topic, place.epoch) == (topic, epoch)
    }


def _behind(offsets: Mapping[int, int], marks: Mapping[int, Watermarks]) -> int:
    """A partition that was never read is behind by all that it holds."""
    return sum(max(0, mark.high - max(mark.low, offsets.get(number, mark.low))) for number, mark in marks.items())


def _newest(endpoints: Endpoints, topic: str, marks: Mapping[int, Watermarks]) -> tuple[dict[int, str], float | None]:
    """Partition → the time of its newest record; and how large the newest records are."""
    ranges = {number: (max(mark.low, mark.high - _SAMPLED), mark.high) for number, mark in marks.items()}
    most = _SAMPLED * len(ranges)
    fetched, _, _ = read_between(endpoints, topic, ranges, READ_WITHIN_S, most, ("kafka_timestamp",))
    times: dict[int, str] = {}
    for number, time_ms in zip(fetched.partition.tolist(), fetched.beside.get("kafka_timestamp", []), strict=True):
        if time_ms is not None:
            times[number] = max(times.get(number, ""), instant_text(time_ms * 1_000_000))
    return times, sum(map(len, fetched.values)) / len(fetched) if len(fetched) else None
