"""Step 2: the level and each row's priority decide: process, spill or shed. Vectorised over the batch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from k2ctl.domain.ledger import DeferredRange
from k2ctl.domain.rows import Rows
from k2ctl.domain.texts import codes_of
from k2ctl.domain.trade import NEW
from k2ctl.profiles.model import Level
from k2ctl.profiles.universe import PRIORITIES, Universe

ACTIONS: Final = ("process", "spill", "shed")
PROCESS, SPILL, SHED = range(3)


@dataclass(frozen=True)
class Admitted:
    """A batch, divided by action."""

    process: Rows
    spill: Rows
    shed: Rows
    counts: np.ndarray
    """int64[priorities, actions]: how many rows of each priority met each action."""


class Admission:
    """The policy table of a profile over the symbols of its market; a symbol it does not know is NORMAL.

    can_shed: whether Kafka can hold what is deferred; where it cannot, what would be shed is spilled.
    """

    def __init__(self, universe: Universe, *, can_shed: bool) -> None:
        self.priority = universe.priority
        self.can_shed = can_shed
        self.policy = universe.policy

    def actions(self, level: Level, *, fits: bool = True, spill_works: bool = True) -> np.ndarray:
        """uint8[priorities]: the action on each priority at a level, given what Kafka and the disk can hold now."""
        wanted = np.array([ACTIONS.index(getattr(level, name)) for name in PRIORITIES], np.uint8)
        if not (self.can_shed and fits):
            wanted[wanted == SHED] = SPILL
        elif not spill_works:
            wanted[wanted == SPILL] = SHED
        return wanted

    def priorities(self, symbols: np.ndarray) -> np.ndarray:
        """uint8[n]: the priority of each of n symbols (fixed-width bytes)."""
        codes, distinct = codes_of(symbols)
        known = np.array([self.priority(symbol) for symbol in distinct.tolist()], np.uint8)
        return np.asarray(known[codes]) if len(symbols) else np.zeros(0, np.uint8)

    def step(self, rows: Rows, actions: np.ndarray) -> Admitted:
        """Divide a batch by `actions`, as `actions()` gives them."""
        priority = self.priorities(rows.trades["symbol"])
        action = actions[priority]
        cells = np.bincount(priority.astype(np.int64) * len(ACTIONS) + action, minlength=len(PRIORITIES) * len(ACTIONS))
        counts = cells.reshape(len(PRIORITIES), len(ACTIONS))
        none = Rows.empty(rows.topic, rows.epoch)
        if not actions.any():
            return Admitted(rows, none, none, counts)
        process, spill, shed = (rows.take(action == kind) for kind in (PROCESS, SPILL, SHED))
        return Admitted(process, spill, shed, counts)

    def shed_entries(
        self, shed: Rows, spans: Mapping[int, tuple[int, int]], level_number: int, mask: int
    ) -> list[DeferredRange]:
        """Ledger entries for what a batch shed: one for each partition's span of offsets, also where it shed nothing.

        spans: partition → [start, end) that the batch covers. An empty stretch lets its neighbours become one range.
        """
        counted = {
            partition: ((count, first, last), events) for partition, count, first, last, events in by_partition(shed)
        }
        entries = []
        for partition, (start, end) in spans.items():
            counts, events = counted.get(partition, ((0, 0, 0), False))
            key = (shed.topic, shed.epoch, partition, start, end)
            entries.append(DeferredRange(*key, mask, self.policy, level_number, *counts, events=events))
        return entries

    def spill_entries(self, spilled: Rows, level_number: int, mask: int, file: str) -> list[DeferredRange]:
        """Ledger entries for the rows of a spill file, one for each partition."""
        entries = []
        for partition, count, first, last, events in by_partition(spilled):
            offsets = spilled.offset[spilled.partition == partition]
            start, end = int(offsets.min()), int(offsets.max()) + 1
            key = (spilled.topic, spilled.epoch, partition, start, end)
            entries.append(DeferredRange(*key, mask, self.policy, level_number, count, first, last, file, events))
        return entries


def mask_of(actions: np.ndarray, action: int) -> int:
    """The priorities that meet an action, as the bits of an entry's `priorities`."""
    return sum(1 << priority for priority, found in enumerate(actions.tolist()) if found == action)


def by_partition(rows: Rows) -> Iterator[tuple[int, int, int, int, bool]]:
    """Of each partition that rows are of: its number, their count, the earliest and the latest exchange time, and
    whether corrections or cancellations are among them."""
    order = np.argsort(rows.partition, kind="stable")
    partition, timestamp = rows.partition[order], rows.trades["event_ns"][order] // 1000
    if not len(order):
        return
    starts = np.flatnonzero(np.append(True, np.diff(partition) != 0))
    ends = np.append(starts[1:], len(order))
    columns = (
        partition[starts],
        ends - starts,
        np.minimum.reduceat(timestamp, starts),
        np.maximum.reduceat(timestamp, starts),
        np.logical_or.reduceat(rows.trades["action"][order] != NEW, starts),
    )
    yield from zip(*(column.tolist() for column in columns), strict=True)
