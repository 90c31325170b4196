"""The ledger of deferred trades: offset ranges of Kafka whose trades of some priorities are not in the table yet.

Shedding is deferral. An entry says which range, which priorities, how many trades and, for a spilled range, which
file holds them. Entries move in the same transaction as the offsets, so that nothing is deferred without a trace
and nothing is backfilled twice.
"""

from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, field, replace
from typing import Final

import orjson

from k2ctl.errors import LakeError

LEDGER_PROPERTY: Final = "k2.ledger"
INLINE_ENTRIES: Final = 1000
"""Past so many the ledger moves to a file beside the warehouse, and the property names the file."""


@dataclass(frozen=True)
class DeferredRange:
    """Trades of one partition that were deferred, of the offsets [start, end)."""

    topic: str
    epoch: str
    partition: int
    start: int
    end: int
    priorities: int
    """Bit p is set for priority p (0 CRITICAL … 3 LOW)."""
    policy: str
    """A digest of which symbol had which priority."""
    level: int
    """The level's number when they were deferred."""
    count: int
    """Trades outstanding."""
    first_us: int
    """The earliest exchange time among them."""
    last_us: int
    """The latest exchange time among them."""
    spill: str = ""
    """The file that holds them; empty when Kafka does."""
    events: bool = False
    """Whether corrections or cancellations are among them, which concern trades of any time."""

    def continued_by(self, other: "DeferredRange") -> bool:
        """Whether `other` is the next stretch of the same range, so that one entry can stand for both."""
        return (
            not self.spill
            and not other.spill
            and self.end == other.start
            and (self.topic, self.epoch, self.partition) == (other.topic, other.epoch, other.partition)
            and (self.priorities, self.policy, self.level) == (other.priorities, other.policy, other.level)
        )

    def joined(self, other: "DeferredRange") -> "DeferredRange":
        """This range with the one that continues it."""
        times = [time for entry in (self, other) if entry.count for time in (entry.first_us, entry.last_us)]
        return replace(
            self,
            end=other.end,
            count=self.count + other.count,
            first_us=min(times, default=0),
            last_us=max(times, default=0),
            events=self.events or other.events,
        )

    def holds(self, priority: int) -> bool:
        """Whether trades of a priority were deferred here."""
        return bool(self.priorities >> priority & 1)


Resolution = tuple[DeferredRange, DeferredRange | None]
"""An entry, and what is left of it once a part has been backfilled; None when that was all."""


def in_one_step(resolutions: Iterable[Resolution]) -> tuple[Resolution, ...]:
    """One resolution for each original entry, where later ones resolve what earlier ones left."""
    result: dict[DeferredRange, DeferredRange | None] = {}
    original: dict[DeferredRange, DeferredRange] = {}
    for entry, left in resolutions:
        first = original.pop(entry, entry)
        result[first] = left
        if left is not None:
            original[left] = first
    return tuple(result.items())


@dataclass(frozen=True)
class LedgerChange:
    """What one commit does to the ledger: entries that it adds, and entries that it resolves in part or whole."""

    added: tuple[DeferredRange, ...] = ()
    resolved: tuple[Resolution, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.resolved)

    def where(self, kept: Callable[[DeferredRange], bool]) -> "LedgerChange":
        """The part of the change that concerns some entries only."""
        resolved = tuple(resolution for resolution in self.resolved if kept(resolution[0]))
        return LedgerChange(tuple(filter(kept, self.added)), resolved)


@dataclass(frozen=True)
class Ledger:
    """All entries, in the order in which they were deferred."""

    entries: tuple[DeferredRange, ...] = field(default_factory=tuple)

    def changed(self, change: LedgerChange) -> "Ledger":
        """The ledger after a commit.

        Raises:
            LakeError: an entry to resolve is not there: another consumer has backfilled it.
        """
        if not change:
            return self
        left = dict(change.resolved)
        if not left.keys() <= set(self.entries):
            raise LakeError("The ledger has changed in the meantime.", "Nothing is lost; start again: k2ctl backfill")
        after = (left.get(entry, entry) for entry in self.entries)
        return Ledger(tuple(merged([entry for entry in after if entry is not None], change.added)))

    def without_epoch(self, topic: str, epoch: str) -> tuple["Ledger", int]:
        """The ledger without an epoch whose Kafka is gone, and how many trades are lost with it."""
        gone = [e for e in self.entries if (e.topic, e.epoch) == (topic, epoch) and not e.spill]
        left = tuple(entry for entry in self.entries if entry not in set(gone))
        return Ledger(left), sum(entry.count for entry in gone)

    def of(self, topic: str) -> "Ledger":
        """The entries of one topic."""
        return Ledger(tuple(entry for entry in self.entries if entry.topic == topic))

    def first_in_kafka(self, epoch: str) -> dict[int, int]:
        """Partition → the first offset that Kafka must hold, of those in which trades of an epoch were shed."""
        first: dict[int, int] = {}
        for entry in self.entries:
            if not entry.spill and entry.epoch == epoch:
                first[entry.partition] = min(entry.start, first.get(entry.partition, entry.start))
        return first

    @property
    def count(self) -> int:
        """Trades outstanding."""
        return sum(entry.count for entry in self.entries)

    @property
    def spill_files(self) -> set[str]:
        """The files that entries name."""
        return {entry.spill for entry in self.entries if entry.spill}

    def dumps(self) -> bytes:
        """The entries as JSON."""
        return orjson.dumps([astuple(entry) for entry in self.entries])

    @staticmethod
    def loads(text: str | bytes) -> "Ledger":
        """Read the entries.

        Raises:
            LakeError: they are damaged.
        """
        try:
            rows = orjson.loads(text)
            if not isinstance(rows, list):
                raise TypeError("not a list of entries")
            return Ledger(tuple(DeferredRange(*row) for row in rows))
        except (ValueError, TypeError) as error:
            raise LakeError(
                f"The ledger ({LEDGER_PROPERTY}) cannot be read: {error}", "Look at it with: k2ctl lake status"
            ) from error


def merged(entries: Iterable[DeferredRange], added: Iterable[DeferredRange]) -> list[DeferredRange]:
    """Entries with new ones behind them, adjacent ranges as one.

    A new stretch in which nothing was deferred is kept only where it lengthens a range, so that the next one adjoins.
    """
    result = list(entries)
    newest = {(entry.topic, entry.epoch, entry.partition): at for at, entry in enumerate(result)}
    for entry in added:
        key = (entry.topic, entry.epoch, entry.partition)
        at = newest.get(key)
        if at is not None and result[at].continued_by(entry):
            result[at] = result[at].joined(entry)
        elif entry.count:
            newest[key] = len(result)
            result.append(entry)
    return result
