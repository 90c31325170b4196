"""A feed for a topic that nobody has described: a shipped one that fits, or one concluded from a sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from k2ctl.clock import Clock, SystemClock
from k2ctl.endpoints import Endpoints
from k2ctl.feeds.check.check import Part
from k2ctl.feeds.check.topic_parts import newest, part_of
from k2ctl.feeds.guess.document import FeedSample, document_of
from k2ctl.feeds.guess.shipped import Fitting, fitting
from k2ctl.feeds.guess.topic_sample import sample_of_topic
from k2ctl.feeds.records import Foreign
from k2ctl.kafka.reader import BESIDE
from k2ctl.profiles.feed import DeclaredFeed, feed_of


@dataclass(frozen=True)
class Guessed:
    """A feed for a target."""

    target: str
    # YAML.
    text: str
    # The shipped feed that it is; empty where it is none.
    shipped: str
    # What a person has to say, because nothing in the sample does.
    open: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """For scripts: the YAML, and what it says."""
        feed = feed_of("guess", "guess", self.text).feed.model_dump(mode="json", by_alias=True)
        return {
            "target": self.target,
            "shipped": self.shipped or None,
            "open": self.open,
            "yaml": self.text,
            "feed": feed,
        }


def guess_topic(endpoints: Endpoints, topic: str, records: int, clock: Clock | None = None) -> Guessed:
    """A feed for the newest records of a topic.

    Raises:
        UsageError: there is no such topic, or its records do not say their columns.
        NoTrades: no column looks like a price, a quantity or a time.
    """
    now_us = (clock or SystemClock()).now_us()
    fetched, _ = newest(endpoints, topic, records, tuple(BESIDE))

    def parts(declared: DeclaredFeed) -> Iterator[Part]:
        yield part_of(fetched, Foreign(declared, ()), now_us)

    sample = sample_of_topic(topic, fetched)
    found = fitting("json", parts)
    return _shipped(topic, found) if found else _concluded(topic, sample)


def _shipped(target: str, found: Fitting) -> Guessed:
    return Guessed(target, found.text, found.declared.name, ())


def _concluded(target: str, sample: FeedSample) -> Guessed:
    concluded = document_of(sample)
    return Guessed(target, concluded.text, "", concluded.open)
