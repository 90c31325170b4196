"""What is outstanding: as people read it, and the part that a query may lack."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from k2ctl.domain.ledger import DeferredRange, Ledger
from k2ctl.domain.trade import Window
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import PRIORITIES, Universe

BY_HAND: Final = "; backfill them with: k2ctl backfill"
"""How a reason ends that says what is deferred."""


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
    return (f"{outstanding:,} trades of {names} symbols are deferred{BY_HAND}",)


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
