"""A synthetic market: seeded, endless, every trade different, every symbol numbered without holes.

Symbols are drawn by Zipf's law, prices walk on the tick grid, sizes come in lots, and now and then everybody
trades the same fraction. Faults can be mixed in on purpose: retransmissions, lost messages, messages out of order.
"""

import hashlib
import os
from dataclasses import dataclass
from typing import Final

import numpy as np

from k2ctl.domain.checksums import weighted
from k2ctl.domain.decimals import DECIMAL_ONE, of_int64
from k2ctl.domain.trade import ASSET_CLASSES, CANCEL, CORRECT, REFERENCE, TRADE
from k2ctl.load.sent_intervals import KnownTrades, SentRuns
from k2ctl.profiles.universe import Universe

DRAWS: Final = 65_536
SAMPLE_SHARE: Final = 0.005
BURST_CHANCE: Final = 0.02
BURST_SHARE: Final = 0.3
"""Now and then, for one batch, three trades in ten are of one symbol."""

EVENT_REACH: Final = 1_000
"""How many numbers back a correction or cancellation refers to, at most."""


@dataclass(frozen=True)
class Faults:
    """Fractions of trades, 0 to 1: sent twice, never sent, sent after their successor, corrected, cancelled.

    A correction or cancellation takes the place, the number and the id of a trade, and refers to one of the last
    thousand before it of its symbol, or to what corrected that.
    """

    duplicates: float = 0.0
    gaps: float = 0.0
    out_of_order: float = 0.0
    corrections: float = 0.0
    cancels: float = 0.0


@dataclass(frozen=True)
class Batch:
    """Trades sorted by partition."""

    # Structured array, dtype `TRADE.message`.
    trades: np.ndarray
    # int64[partitions]: how many trades each partition has.
    per_partition: np.ndarray
    # None where there are faults.
    known: KnownTrades | None = None


class SyntheticMarket:
    """The part of the market that one worker plays: every `workers`-th symbol, so that none has two sources."""

    def __init__(
        self, universe: Universe, run_id: str, *, worker: int = 0, workers: int = 1, faults: Faults | None = None
    ) -> None:
        self._faults = faults or Faults()
        market, partitions = universe.profile.market, universe.profile.topic.partitions
        ranks = np.arange(worker, len(universe.symbols), workers)
        self._rng = np.random.default_rng([market.seed, worker])
        weights = universe.weights[ranks]
        before = [float(universe.weights[number::workers].sum()) for number in range(worker)]
        self.fraction = (sum(before), 1.0 if worker == workers - 1 else sum(before) + float(weights.sum()))
        """This worker's part of all trades, as an interval of [0, 1]: the workers' intervals add up exactly."""
        self._draws = np.searchsorted(np.cumsum(weights / weights.sum()), (np.arange(DRAWS) + 0.5) / DRAWS).astype("u2")
        names = [universe.symbols[rank].encode() for rank in ranks]
        partitioner = universe.partitioner()
        partition = np.array([partitioner.partition(name) for name in names], np.int64)
        # Codes in the order of partitions: a batch sorted by code is sorted by partition.
        by_partition = np.argsort(partition, kind="stable")
        rank_to_code = np.empty(len(ranks), "u2")
        rank_to_code[by_partition] = np.arange(len(ranks))
        self._draws = rank_to_code[np.minimum(self._draws, len(ranks) - 1)]
        self._partition = partition[by_partition]
        self._partitions = partitions
        self._symbols = np.array(names, TRADE.message["symbol"])[by_partition]
        self._prices = universe.start_prices[ranks][by_partition].copy()
        self._ticks = universe.tick_sizes[ranks][by_partition]
        self._lots = universe.lot_sizes[ranks][by_partition] * DECIMAL_ONE
        self._sequence = np.ones(len(ranks), np.uint64)
        self._sessions = np.array([_session(run_id, name) for name in self._symbols.tolist()], ">u8")
        self._trade_id = worker << 48
        self._constants = TRADE.empty(1)
        self._constants["exchange"], self._constants["currency"] = market.exchange, market.currency
        self._constants["asset_class"] = ASSET_CLASSES.index(market.asset_class)
        in_common = np.repeat(self._constants, len(ranks))
        in_common["symbol"] = self._symbols
        self._in_common = weighted(in_common)

    def sessions(self) -> dict[int, bytes]:
        """Every feed session that trades may come from, with its symbol."""
        return dict(zip(self._sessions.tolist(), self._symbols.tolist(), strict=True))

    def sample_symbol(self) -> bytes:
        """The symbol whose acknowledgements are timed: one in about two hundred trades."""
        weights = np.bincount(self._draws, minlength=len(self._symbols)) / DRAWS
        return bytes(self._symbols[np.argmin(np.abs(weights - SAMPLE_SHARE))])

    def take(self, count: int, from_us: int, to_us: int) -> Batch:
        """The next `count` trades, due evenly between two instants; faults may add and remove a few."""
        code = self._draws[self._rng.integers(0, DRAWS, count, dtype=np.uint16)]
        if self._rng.random() < BURST_CHANCE:
            code[self._rng.random(count) < BURST_SHARE] = self._draws[self._rng.integers(0, DRAWS)]
        order = np.argsort(code, kind="stable")
        code = code[order]
        counts = np.bincount(code, minlength=len(self._symbols))
        ends = np.cumsum(counts)
        trades = np.repeat(self._constants, count)
        due_ns = (from_us + (order * ((to_us - from_us) / max(1, count))).astype(np.int64)) * 1000
        trades["event_ns"] = trades["received_ns"] = due_ns
        trades["symbol"] = self._symbols[code]
        sequence = self._sequence[code] + (np.arange(count) - (ends - counts)[code]).astype(np.uint64)
        trades["source_sequence"] = sequence
        ids = np.empty((count, 2), ">u8")
        ids[:, 0], ids[:, 1] = self._sessions[code], sequence
        trades["message_id"] = ids.view("V16")[:, 0]
        trades["trade_id"] = trade_id = np.arange(self._trade_id, self._trade_id + count)
        price = self._walk(code, counts, ends)
        quantity = self._lots[code] * self._rng.integers(1, 21, count, dtype=np.int64)
        trades["price"], trades["quantity"] = of_int64(price), of_int64(quantity)
        trades["side"] = side = self._rng.integers(0, 2, count, dtype=np.uint8)
        self._sequence += counts.astype(np.uint64)
        self._trade_id += count
        if self._faults != Faults():
            if self._faults.corrections or self._faults.cancels:
                self._add_events(trades, ids)
            return self._with_faults(trades, code)
        columns = {
            "event_ns": due_ns.view(np.uint64),
            "message_id": sequence,
            "source_sequence": sequence,
            "trade_id": trade_id.view(np.uint64),
            "price": price.view(np.uint64),
            "quantity": quantity.view(np.uint64),
            "side": side,
        }
        return Batch(trades, self._per_partition(code), self._known(counts, ends, columns))

    def _known(self, counts: np.ndarray, ends: np.ndarray, columns: dict[str, np.ndarray]) -> KnownTrades:
        """Of trades that were just numbered."""
        traded = np.flatnonzero(counts)
        counts, ends = counts[traded], ends[traded]
        first = self._sequence[traded] - counts.view(np.uint64)
        runs = SentRuns(self._sessions[traded].astype(np.uint64), first, ends - counts, ends)
        return KnownTrades(runs, self._in_common[traded], columns, columns["event_ns"])

    def _per_partition(self, code: np.ndarray) -> np.ndarray:
        return np.bincount(self._partition[code], minlength=self._partitions)

    def _add_events(self, trades: np.ndarray, ids: np.ndarray) -> None:
        """Make some of the trades corrections and cancellations of earlier ones."""
        chance, numbers = self._rng.random(len(trades)), trades["source_sequence"]
        events = (chance < self._faults.corrections + self._faults.cancels) & (numbers > 1)
        referred = ids[events]
        back = self._rng.integers(1, EVENT_REACH, len(referred), np.uint64)
        referred[:, 1] = np.maximum(1, numbers[events].astype(np.int64) - back.astype(np.int64))
        trades["action"][events] = np.where(chance[events] < self._faults.corrections, CORRECT, CANCEL)
        trades["refers_to"][events] = referred.view("V16")[:, 0]

    def _walk(self, code: np.ndarray, counts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Prices for trades sorted by symbol: steps of −1, 0 or 1 tick, never below one tick."""
        steps = self._rng.integers(-1, 2, len(code), dtype=np.int64) * self._ticks[code]
        path = np.cumsum(steps)
        before = np.where(ends - counts > 0, path[np.maximum(ends - counts, 1) - 1], 0)
        prices = np.maximum(self._prices[code] + path - before[code], self._ticks[code])
        traded = counts > 0
        self._prices[traded] = prices[ends[traded] - 1]
        return np.asarray(prices)

    def _with_faults(self, trades: np.ndarray, code: np.ndarray) -> Batch:
        faults, count = self._faults, len(trades)
        if faults.out_of_order:
            at = np.flatnonzero(self._rng.random(count - 1) < faults.out_of_order)
            at = at[(code[at] == code[at + 1]) & np.append(np.diff(at) > 1, True)]
            trades[at], trades[at + 1] = trades[at + 1].copy(), trades[at].copy()
        copies = np.ones(count, np.int64)
        if faults.duplicates:
            copies[self._rng.random(count) < faults.duplicates] = 2
        if faults.gaps:
            copies[self._rng.random(count) < faults.gaps] = 0
        if faults.duplicates or faults.gaps:
            trades, code = np.repeat(trades, copies), np.repeat(code, copies)
        return Batch(trades, self._per_partition(code))


def _session(run_id: str, symbol: bytes) -> int:
    """The feed session of a symbol in a run: 64 bits that no other run or symbol has."""
    return int.from_bytes(hashlib.blake2b(symbol, digest_size=8, key=run_id.encode()[:64]).digest(), "big")


def new_run_id() -> str:
    """A name for a run, so that its message ids differ from those of every other run."""
    return os.urandom(16).hex()


def reference_data(universe: Universe, now_us: int) -> np.ndarray:
    """Reference data of every symbol: structured array (dtype `REFERENCE.message`)."""
    entries = REFERENCE.empty(len(universe.symbols))
    entries["timestamp_ns"] = now_us * 1000
    entries["symbol"] = [name.encode() for name in universe.symbols]
    entries["exchange"], entries["currency"] = universe.profile.market.exchange, universe.profile.market.currency
    entries["sector"] = [universe.sector(rank).encode() for rank in range(len(universe.symbols))]
    entries["tick_size"] = of_int64(universe.tick_sizes)
    entries["lot_size"] = of_int64(universe.lot_sizes * DECIMAL_ONE)
    entries["tier"] = universe.tiers
    entries["asset_class"] = ASSET_CLASSES.index(universe.profile.market.asset_class)
    return entries
