"""Topic names, by one rule: `market.<asset_class>.<type>.<exchange>`; and which partition a symbol goes to."""

import zlib
from collections.abc import Collection
from typing import Final, Literal

import numpy as np

from k2ctl.domain.texts import codes_of

WireFormat = Literal["sbe", "json"]

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


class Partitioner:
    """k2ctl's partitioner. Stable across runs and processes, so that a symbol's trades stay in order.

    The first `critical_partitions` partitions are the lanes of the `critical` symbols; the crc32 of the symbol
    chooses within either group.
    """

    def __init__(self, partitions: int, critical_partitions: int, critical: Collection[bytes]) -> None:
        self._partitions = partitions
        self._critical_partitions = critical_partitions if critical else 0
        self._critical = frozenset(critical)

    def partition(self, symbol: bytes) -> int:
        """The partition of one symbol, without its padding."""
        number = zlib.crc32(symbol)
        if self._critical_partitions and symbol in self._critical:
            return number % self._critical_partitions
        return self._critical_partitions + number % (self._partitions - self._critical_partitions)

    def partitions_of(self, symbols: np.ndarray) -> np.ndarray:
        """The partition of each of n symbols (fixed-width bytes), int32[n]."""
        codes, distinct = codes_of(symbols)
        chosen = np.array([self.partition(symbol) for symbol in distinct.tolist()], np.int32)
        return np.asarray(chosen[codes]) if len(symbols) else np.zeros(0, np.int32)
