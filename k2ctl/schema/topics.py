"""Topic names, by one rule: `market.<asset_class>.<type>.<exchange>`; and how a topic's records may be written."""

from typing import Final, Literal

WireFormat = Literal["sbe", "json"]

TELEMETRY: Final = "k2.telemetry"
TABLE: Final = "market_data.trades"
REFERENCE_TABLE: Final = "market_data.reference"


def trades_topic(asset_class: str, exchange: str) -> str:
    return f"market.{asset_class}.trades.{exchange.lower()}"


def reference_topic(asset_class: str, exchange: str) -> str:
    return f"market.{asset_class}.reference.{exchange.lower()}"


def dead_letter_topic(topic: str) -> str:
    """Where what cannot be decoded from `topic` goes, with reason and identity in the headers."""
    return f"{topic}.dlq"
