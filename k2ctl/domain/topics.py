"""Topic names, by one rule: `market.<asset_class>.<type>.<exchange>`."""

from typing import Final, Literal

WireFormat = Literal["sbe", "json"]
TimeUnit = Literal["s", "ms", "us", "ns"]
"""Of times that a record writes as whole numbers."""

TELEMETRY: Final = "k2.telemetry"
TABLE: Final = "market_data.trades"
REFERENCE_TABLE: Final = "market_data.reference"
DEAD_LETTER_SUFFIX: Final = ".dlq"


def trades_topic(asset_class: str, exchange: str) -> str:
    return f"market.{asset_class}.trades.{exchange.lower()}"


def is_trades_topic(name: str) -> bool:
    """Whether a topic is named as those of trades are."""
    words = name.split(".")
    return len(words) == 4 and (words[0], words[2]) == ("market", "trades")


def reference_topic(asset_class: str, exchange: str) -> str:
    return f"market.{asset_class}.reference.{exchange.lower()}"


def reference_topic_of(topic: str) -> str:
    """The topic of the reference data for a topic of trades."""
    return topic.replace(".trades.", ".reference.", 1)


def dead_letter_topic(topic: str) -> str:
    """Where what cannot be decoded from `topic` goes, with reason and identity in the headers."""
    return topic + DEAD_LETTER_SUFFIX


def retried_topic(topic: str) -> str:
    """Where is written down which dead letters of `topic` were sent to it again."""
    return f"{topic}{DEAD_LETTER_SUFFIX}.retried"
