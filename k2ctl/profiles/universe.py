"""The symbols of a market, by rank: names, tiers, sectors, ticks, lots and partitions. The same for everybody."""

import hashlib
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from string import ascii_uppercase
from typing import Final

import numpy as np

from k2ctl.domain.decimals import DECIMAL_ONE
from k2ctl.domain.texts import codes_of
from k2ctl.profiles.model import Profile, Topic

WELL_KNOWN: Final = tuple(
    "BHP CBA CSL NAB WBC ANZ FMG WES MQG RIO WOW TLS GMG TCL STO WDS ALL COL QBE SUN BXB NST REA JHX XRO IAG "  # noqa: SIM905
    "ORG S32 SHL AMC MIN PLS RMD CPU ASX SCG APA MPL GPT DXS".split()
)
SECTORS: Final = (
    "Materials", "Financials", "Health Care", "Energy", "Industrials", "Consumer Staples",
    "Consumer Discretionary", "Real Estate", "Utilities", "Information Technology", "Communication Services",
)  # fmt: skip
PRIORITIES: Final = ("CRITICAL", "HIGH", "NORMAL", "LOW")
"""Priority by tier: tier 1 is CRITICAL, tier 4 is LOW."""

_NORMAL: Final = PRIORITIES.index("NORMAL")
_CENT: Final = DECIMAL_ONE // 100


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


@dataclass(frozen=True)
class Placement:
    """Where trades of a symbol may be, in a topic that k2ctl's partitioner fills, whichever symbols are critical."""

    partitions: int
    critical_partitions: int

    @classmethod
    def of(cls, topic: Topic) -> "Placement | None":
        """That of a profile's topic; None where a symbol may be anywhere."""
        return cls(topic.partitions, topic.critical_partitions) if topic.is_placed else None

    def partitions_with(self, symbols: Collection[str]) -> frozenset[int]:
        """The partitions that may hold any of the symbols, in the spelling that was asked for or in capitals."""
        spelled = {spelling.encode("utf-8") for symbol in symbols for spelling in (symbol, symbol.upper())}
        # No symbol is critical, this one is, or others are.
        return frozenset(
            Partitioner(self.partitions, self.critical_partitions, critical).partition(symbol)
            for symbol in spelled
            for critical in ((), (symbol,), (b"",))
        )


@dataclass(frozen=True)
class Universe:
    """The symbols of a market. Arrays are by rank, the most traded first."""

    profile: Profile

    @cached_property
    def symbols(self) -> list[str]:
        """Names: well-known codes first, then generated three-letter ones."""
        count = self.profile.market.symbols
        taken = set(WELL_KNOWN)
        generated = ("".join(code) for size in (3, 4) for code in product(ascii_uppercase, repeat=size))
        names = list(WELL_KNOWN[:count])
        while len(names) < count:
            name = next(generated)
            if name not in taken:
                names.append(name)
        return names

    @cached_property
    def tiers(self) -> np.ndarray:
        """uint8[symbols]: 1 to 4."""
        tiers = self.profile.market.tiers
        numbers = np.full(len(self.symbols), 3, np.uint8)
        numbers[: tiers.critical] = 1
        numbers[tiers.critical : tiers.critical + tiers.high] = 2
        if tiers.low:
            numbers[-tiers.low :] = 4
        return numbers

    @cached_property
    def weights(self) -> np.ndarray:
        """float64[symbols]: each symbol's share of the trades, by Zipf's law; they add up to 1."""
        weights = np.arange(1, len(self.symbols) + 1, dtype=np.float64) ** -self.profile.market.zipf_exponent
        return np.asarray(weights / weights.sum())

    @cached_property
    def start_prices(self) -> np.ndarray:
        """int64[symbols]: mantissas, from 0.05 to 180 dollars on the tick grid."""
        rng = np.random.default_rng(self.profile.market.seed)
        dollars = np.exp(rng.uniform(np.log(0.05), np.log(180.0), len(self.symbols)))
        cents = np.maximum(5, np.round(dollars * 100)).astype(np.int64)
        return np.asarray(cents * _CENT)

    @cached_property
    def tick_sizes(self) -> np.ndarray:
        """int64[symbols]: mantissas: a cent from two dollars up, half a cent below, a tenth below ten cents (ASX)."""
        prices = self.start_prices
        sizes = np.where(prices >= 2 * DECIMAL_ONE, _CENT, _CENT // 2)
        return np.where(prices < DECIMAL_ONE // 10, _CENT // 10, sizes)

    @cached_property
    def lot_sizes(self) -> np.ndarray:
        """int64[symbols]: mantissas; larger lots for cheaper shares."""
        return np.where(self.start_prices < DECIMAL_ONE, 1000, np.where(self.start_prices < 20 * DECIMAL_ONE, 100, 10))

    @cached_property
    def _priorities(self) -> dict[bytes, int]:
        return {name.encode(): int(tier) - 1 for name, tier in zip(self.symbols, self.tiers, strict=True)}

    def priority(self, symbol: bytes) -> int:
        """The priority of a symbol, as its position in `PRIORITIES`; one that is not of this market is NORMAL."""
        return self._priorities.get(symbol, _NORMAL)

    @cached_property
    def policy(self) -> str:
        """A digest of which symbol has which priority: changes when that does."""
        named = "".join(f"{name.decode()}:{priority};" for name, priority in self._priorities.items())
        return hashlib.blake2b(named.encode(), digest_size=4).hexdigest()

    def sector(self, rank: int) -> str:
        """The sector of a symbol."""
        return SECTORS[rank % len(SECTORS)]

    def partitioner(self) -> Partitioner:
        """The partitioner of this market's topic."""
        topic = self.profile.topic
        critical = [name.encode() for name, tier in zip(self.symbols, self.tiers, strict=True) if tier == 1]
        return Partitioner(topic.partitions, topic.critical_partitions, critical)
