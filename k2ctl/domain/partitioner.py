"""Which partition a symbol goes to: CRITICAL symbols have lanes of their own, the others share the rest."""

import zlib
from collections.abc import Collection

import numpy as np

from k2ctl.domain.texts import codes_of


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
