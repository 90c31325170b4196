"""Trades of random ids that a producer spreads over the partitions of topics, with copies in other ones."""

import random
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from k2ctl.domain.trade import frames
from k2ctl.endpoints import Endpoints
from k2ctl.profiles import load_profile
from tests.made_trades import make_trades, produce_values
from tests.support.independent_reader import Sources

Place = tuple[str, int]
"""A topic and a partition of it."""


def shared_dedup(scope: str, **settings: object) -> dict[str, object]:
    """The settings of deduplication with a scope."""
    return {**load_profile("laptop").consumer.dedup.model_dump(), "scope": scope, **settings}


def random_trades(count: int, start: int = 0) -> np.ndarray:
    """Made trades with ids that say nothing."""
    trades = make_trades(count, start)
    trades["message_id"] = np.array([uuid.uuid4().bytes for _ in range(count)], "V16")
    return trades


class SpreadTrades:
    """What is sent: every trade once, to any place, and of some of them a copy to another place, a while later."""

    def __init__(self, places: Sequence[Place], copies: float, seed: int = 1, later: int = 2_000) -> None:
        self._places = list(places)
        self._copies = copies
        self._rng = random.Random(seed)
        self._later = later
        self._made = 0
        # Copies that are still to be sent, by the number of the trade before which they are.
        self._due: list[tuple[int, Place, np.void]] = []
        self.copies = 0

    def send(self, endpoints: Endpoints, count: int, frame: int = 20) -> None:
        """So many more trades, and the copies that are due among them, all acknowledged."""
        values: dict[Place, list[np.void]] = {place: [] for place in self._places}
        for trade in random_trades(count, self._made):
            place = self._rng.choice(self._places)
            values[place].append(trade)
            if self._rng.random() < self._copies:
                other = self._rng.choice([found for found in self._places if found != place])
                self._due.append((self._made + self._rng.randrange(self._later), other, trade))
            self._made += 1
        due, self._due = (
            [copy for copy in self._due if copy[0] < self._made],
            [copy for copy in self._due if copy[0] >= self._made],
        )
        for _, place, trade in due:
            values[place].insert(self._rng.randint(0, len(values[place])), trade)
        self._send(endpoints, values, frame, len(due))

    def send_the_rest(self, endpoints: Endpoints) -> None:
        """The copies that are not sent yet."""
        values: dict[Place, list[np.void]] = {place: [] for place in self._places}
        for _, place, trade in self._due:
            values[place].append(trade)
        self._send(endpoints, values, 20, len(self._due))
        self._due = []

    def _send(self, endpoints: Endpoints, values: dict[Place, list[np.void]], frame: int, copies: int) -> None:
        self.copies += copies
        for topic in {topic for topic, _ in self._places}:
            mine = [(partition, found) for (of, partition), found in values.items() if of == topic and found]
            produce_values(endpoints, topic, _records(mine, frame))

    @property
    def trades(self) -> int:
        """How many different trades were sent."""
        return self._made


def _records(values: Sequence[tuple[int, list[np.void]]], frame: int) -> Iterator[tuple[int, bytes]]:
    for partition, trades in values:
        for value in frames(np.array(trades), frame):
            yield partition, value


def times_stored(endpoints: Endpoints) -> Counter[bytes]:
    """Message id → how often it is in the table, read without k2ctl."""
    table = Sources.of(endpoints).table()
    if table is None or table.current_snapshot() is None:
        return Counter()
    column = table.scan(selected_fields=("message_id",)).to_arrow()["message_id"]
    return Counter(value if isinstance(value, bytes) else value.bytes for value in column.to_pylist())
