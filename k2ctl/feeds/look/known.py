"""What is known of the topics: what their records are, and how many there are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from k2ctl.domain.recorded_feeds import RecordedFeed
from k2ctl.domain.topics import dead_letter_topic, topics_named
from k2ctl.endpoints import Endpoints
from k2ctl.feeds.records import Decoder
from k2ctl.feeds.topics import TopicFeeds
from k2ctl.kafka.admin import BrokerAdmin
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
    # In its dead-letter topic, for as long as that keeps them.
    dead_letters: int


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
    with BrokerAdmin(endpoints) as admin:
        partitions = admin.topics()
        records = {name: sum(one.high - one.low for one in admin.watermarks(name).values()) for name in partitions}
    return [
        TopicSummary(
            topic, partitions[topic], records[topic], feed_name(feeds, topic), records.get(dead_letter_topic(topic), 0)
        )
        for topic in sorted(partitions)
    ]


def feed_name(feeds: TopicFeeds, topic: str) -> str:
    """The name of a topic's feed; empty where nothing says what its records are."""
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
    return feeds.decoder(topic) if feed_name(feeds, topic) else None
