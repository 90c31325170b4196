"""Topic names, by one rule: `market.<asset_class>.<type>.<exchange>`."""

import re
from collections.abc import Iterable
from typing import Final, Literal

WireFormat = Literal["sbe", "json"]
TimeUnit = Literal["s", "ms", "us", "ns"]
"""Of times that a record writes as whole numbers."""

TELEMETRY: Final = "k2.telemetry"
COMMITS: Final = "k2.commits"
CONSUMER_GROUP: Final = "k2ctl"
"""The Kafka group in which consumers commit offsets for lag monitors. Nobody joins it, so that anybody may."""
TABLE: Final = "market_data.trades"
REFERENCE_TABLE: Final = "market_data.reference"
DEAD_LETTER_SUFFIX: Final = ".dlq"


def trades_topic(asset_class: str, exchange: str) -> str:
    return f"market.{asset_class}.trades.{exchange.lower()}"


def may_hold_trades(name: str) -> bool:
    """Whether a topic is none of those that k2ctl keeps beside trades."""
    words = name.split(".")
    beside = len(words) == 4 and (words[0], words[2]) == ("market", "reference")
    return not (beside or words[0] == "k2" or name.endswith((DEAD_LETTER_SUFFIX, f"{DEAD_LETTER_SUFFIX}.retried")))


def is_pattern(topic: str) -> bool:
    """Whether it is a regular expression over names, and no name."""
    return topic.startswith("^")


def topics_named(topic: str, there: Iterable[str]) -> list[str]:
    """Of the topics that are there, the one of a name, or those of trades whose names begin with what a regular
    expression matches."""
    if not is_pattern(topic):
        return [name for name in there if name == topic]
    pattern = re.compile(topic)
    return sorted(name for name in there if pattern.match(name) and may_hold_trades(name))


def reference_topic(asset_class: str, exchange: str) -> str:
    return f"market.{asset_class}.reference.{exchange.lower()}"


def reference_topic_of(topic: str) -> str | None:
    """The topic of the reference data for a topic of trades; None for one of others, which has none."""
    words = topic.split(".")
    if len(words) != 4 or (words[0], words[2]) != ("market", "trades"):
        return None
    return reference_topic(words[1], words[3])


def dead_letter_topic(topic: str) -> str:
    """Where what cannot be decoded from `topic` goes, with reason and identity in the headers."""
    return topic + DEAD_LETTER_SUFFIX


def retried_topic(topic: str) -> str:
    """Where is written down which dead letters of `topic` were sent to it again."""
    return f"{topic}{DEAD_LETTER_SUFFIX}.retried"
