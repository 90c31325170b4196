"""What is outstanding: as people read it, the part that a query may lack, and how long Kafka will hold it."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from k2ctl.clock import Clock
from k2ctl.domain.ledger import DeferredRange, Ledger
from k2ctl.domain.trade import Window
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, first_line
from k2ctl.kafka.admin import BrokerAdmin, Watermarks
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import PRIORITIES, Universe
from k2ctl.timing import Every


@dataclass(frozen=True)
class OutstandingRange:
    """A range of the ledger, as people read it."""

    topic: str
    epoch: str
    partition: int
    start: int
    end: int
    count: int
    """Trades outstanding."""
    priorities: tuple[str, ...]
    level: str
    where: str
    """Where its trades are: in Kafka, or the name of the spill file."""
    gone_records: int
    """Records of the range that Kafka no longer holds."""


def outstanding_ranges(endpoints: Endpoints, profile: Profile) -> list[OutstandingRange]:
    """What is outstanding of the table's topics. profile: has the names of the levels.

    Raises:
        LakeError: there is no table yet, or it cannot be read. BrokerError: Kafka does not answer.
    """
    with Lake.at(endpoints) as lake:
        ledger = checkpoints_of(lake.table()).ledger
    names = [level.name for level in profile.degradation.levels]
    ranges = []
    with BrokerAdmin(endpoints) as admin:
        there = admin.topics() if ledger.entries else {}
        for topic in dict.fromkeys(entry.topic for entry in ledger.entries):
            epoch = admin.epoch(topic) if topic in there else ""
            starts = {p: mark.low for p, mark in admin.watermarks(topic).items()} if topic in there else {}
            ranges += [
                _range(entry, names, starts.get(entry.partition, 0) if entry.epoch == epoch else None)
                for entry in ledger.of(topic).entries
            ]
    return ranges


def _range(entry: DeferredRange, level_names: Sequence[str], log_start: int | None) -> OutstandingRange:
    """log_start: the partition's first offset; None when the Kafka that held it is gone."""
    gone = 0
    if not entry.spill:
        gone = entry.end - entry.start if log_start is None else max(0, min(entry.end, log_start) - entry.start)
    return OutstandingRange(
        topic=entry.topic,
        epoch=entry.epoch,
        partition=entry.partition,
        start=entry.start,
        end=entry.end,
        count=entry.count,
        priorities=tuple(name for number, name in enumerate(PRIORITIES) if entry.holds(number)),
        level=level_names[entry.level],
        where=f"{gone:,} records are gone from Kafka" if gone else entry.spill or "Kafka",
        gone_records=gone,
    )


def outstanding_entries(
    ledger: Ledger, symbols: Sequence[str] | None, window: Window, universe: Universe | None
) -> list[DeferredRange]:
    """The entries that may hold trades that the query asks for.

    ledger: the entries of the query's topic. universe: knows a symbol's priority; without it every entry counts.
    """
    return [entry for entry in ledger.entries if _in_window(entry, window) and _may_hold(entry, symbols, universe)]


def outstanding_reasons(
    ledger: Ledger, symbols: Sequence[str] | None, window: Window, universe: Universe | None
) -> tuple[str, ...]:
    """One reason when trades that the query asks for may be deferred; none when they cannot. Arguments as above."""
    met = outstanding_entries(ledger, symbols, window, universe)
    if not met:
        return ()
    names = ", ".join(name for number, name in enumerate(PRIORITIES) if any(entry.holds(number) for entry in met))
    outstanding = sum(entry.count for entry in met)
    return (f"{outstanding:,} trades of {names} symbols are deferred; backfill them with: k2ctl backfill",)


def _in_window(entry: DeferredRange, window: Window) -> bool:
    if entry.events:
        return True
    after_start = window.since_us is None or entry.last_us >= window.since_us
    return after_start and (window.until_us is None or entry.first_us < window.until_us)


def _may_hold(entry: DeferredRange, symbols: Sequence[str] | None, universe: Universe | None) -> bool:
    """Whether one of the symbols may be among what was deferred: by its priority, while the policy is the same."""
    if symbols is None or universe is None or entry.policy != universe.policy:
        return True
    return any(entry.holds(universe.priority(symbol.encode())) for symbol in symbols)


LOG: Final = logging.getLogger("k2ctl.deferred")

NEEDED_HOURS: Final = 1.0
"""A topic that keeps its records for less is no place to leave trades in: they are spilled instead."""

CHECK_EVERY_S: Final = 10.0
PRESSES_BELOW: Final = 0.2
"""Outstanding ranges in the oldest fifth of a log that retention deletes from are backfilled at any level."""


class RetentionWatch:
    """Watches the log starts of one topic, while Kafka holds something that is outstanding."""

    def __init__(self, endpoints: Endpoints, topic: str, retention_s: float, clock: Clock) -> None:
        """retention_s: the retention by time of this topic."""
        self._endpoints = endpoints
        self._topic = topic
        self._retention_s = retention_s
        self._every = Every(CHECK_EVERY_S, clock)
        self._marks: dict[int, Watermarks] = {}

    @property
    def holds_long_enough(self) -> bool:
        """Whether trades may be left in Kafka for later. The embedded engine keeps 5 MiB per partition."""
        return self._endpoints.engine != "embedded" and self._retention_s >= NEEDED_HOURS * 3600

    def presses(self, ledger: Ledger) -> bool:
        """Whether a range that Kafka holds will soon be deleted."""
        ranges = [entry for entry in ledger.entries if not entry.spill]
        if not ranges:
            return False
        self._refresh()
        return any(self._near_the_start(entry.partition, entry.start) for entry in ranges)

    def _near_the_start(self, partition: int, offset: int) -> bool:
        mark = self._marks.get(partition)
        return mark is not None and mark.low > 0 and offset < mark.low + PRESSES_BELOW * (mark.high - mark.low)

    def _refresh(self) -> None:
        if not self._every.due():
            return
        try:
            with BrokerAdmin(self._endpoints) as admin:
                self._marks = admin.watermarks(self._topic)
        except BrokerError as error:
            # The last watermarks serve on; an unreachable Kafka shows as an unknown lag as well.
            LOG.warning("the log starts of %s are not known: %s", self._topic, first_line(error))

    def left_s(self, oldest_age_s: float | None) -> float | None:
        """Seconds until retention by time deletes the oldest record that is still needed; None if unknown."""
        if oldest_age_s is None or self._endpoints.engine == "embedded" or math.isinf(self._retention_s):
            return None
        return max(0.0, self._retention_s - oldest_age_s)
