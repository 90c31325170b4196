"""Backfill what was deferred: from its spill file, or from Kafka, until the ledger is empty.

A part of the ledger is read, stored and removed from the ledger in the one transaction of an ordinary commit, so
stopping, killing or repeating it changes nothing. Where priorities do not say what was deferred, because the policy has
been edited or a spill file is damaged, everything of the range that the table does not hold is stored.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from k2ctl.deferred.admission import Admission
from k2ctl.deferred.spill_files import decode_spill, what_is_wrong
from k2ctl.domain.checkpoint import Counts, Tally, TopicPartition
from k2ctl.domain.ledger import DeferredRange, Ledger, LedgerChange, Resolution
from k2ctl.domain.rows import Rows, identity_numbers
from k2ctl.endpoints import Endpoints
from k2ctl.errors import LakeError, LakeUnanswered, first_line
from k2ctl.feeds.decode import decode_batch
from k2ctl.feeds.records import Decoder
from k2ctl.kafka.reader import read_between
from k2ctl.kafka.registry import RegistryUnanswered
from k2ctl.lake.catalog import Lake
from k2ctl.lake.readers import stored_identities
from k2ctl.lake.side_folder import SideFolder, Unanswered

LOG: Final = logging.getLogger("k2ctl.deferred")

READ_TIMEOUT_S: Final = 10.0
GIVE_UP_AFTER_US: Final = 60_000_000
"""How long the table's files are asked for again, as for a commit: a store may restart, a compaction replace one."""

DAMAGED: Final = "damaged"
DAMAGED_AND_HOLED: Final = "damaged, and Kafka has a hole"
"""In place of a policy: ranges of a spill file that could not be read, so that priorities alone do not decide."""


@dataclass(frozen=True)
class Backfilled:
    """A part of the ledger that is resolved."""

    rows: Rows
    """Rows to store."""
    resolved: tuple[Resolution, ...]
    """Its entries, each with what is left of it."""
    counts: Mapping[TopicPartition, Counts]
    """What the resolution changes per partition; `shed` and `spilled` are negative there."""
    records: int = 0
    """Records that were read from Kafka for it."""

    @property
    def resolved_trades(self) -> int:
        """Trades that are no longer outstanding, stored or not."""
        return sum(entry.count - (left.count if left else 0) for entry, left in self.resolved)

    def without(self, copies: np.ndarray) -> "Backfilled":
        """The same without some rows (bool[n]), which are copies of stored ones."""
        counts = dict(self.counts)
        for partition, number in zip(*np.unique(self.rows.partition[copies], return_counts=True), strict=True):
            at = TopicPartition(self.rows.topic, self.rows.epoch, int(partition))
            counts[at] += Counts(stored=-int(number), duplicate=int(number))
        return replace(self, rows=self.rows.take(~copies), counts=counts)

    def enriched(self, step: Callable[[Rows], Rows]) -> "Backfilled":
        """The same with reference data joined."""
        return replace(self, rows=step(self.rows))


class Backfill:
    """Resolves the ledger of one topic piece by piece, on the consumer's thread and with its deduplication."""

    def __init__(
        self,
        endpoints: Endpoints,
        lake: Lake,
        admission: Admission,
        remember: Callable[[Rows], Rows],
        epoch: str,
        decoder: Decoder,
    ) -> None:
        """remember: takes in rows for deduplication; returns those that are not stored yet."""
        self._endpoints = endpoints
        self._lake = lake
        self._folder = SideFolder(lake.table())
        self._admission = admission
        self._remember = remember
        self._epoch = epoch
        self._decoder = decoder
        self._refused_since_us: int | None = None

    def parts(self, ledger: Ledger, records: int, now_us: int) -> Iterator[Backfilled]:
        """Pieces of a topic's ledger, oldest first, of about `records` records together; none when nothing is
        outstanding.

        A spill file is backfilled whole. The rows have passed deduplication, and count as remembered from here on: so
        the pieces must be committed, or this process must end.

        Raises:
            LakeError: what the table holds could not be read for GIVE_UP_AFTER_US.
        """
        while records > 0 and ledger.entries:
            part = self._next_part(ledger.entries, records, now_us)
            if part is None:
                return
            yield part
            ledger = ledger.changed(LedgerChange(resolved=part.resolved))
            records -= max(len(part.rows), part.records)

    def _next_part(self, entries: Sequence[DeferredRange], records: int, now_us: int) -> Backfilled | None:
        first = entries[0]
        if first.policy != self._admission.policy:
            # All that is not stored will be taken, so the rows in spill files must be stored before.
            first = next((entry for entry in entries if entry.spill), first)
        if first.spill:
            return self._from_spill(first.spill, [entry for entry in entries if entry.spill == first.spill])
        return self._from_kafka(_first_of_partitions(entries), records, now_us)

    def _from_spill(self, file: str, entries: list[DeferredRange]) -> Backfilled | None:
        """All rows of a file; None when the store does not answer now.

        Rows of damaged frames are looked for in Kafka next; a copy of the file is kept for inspection.
        """
        topic, epoch = entries[0].topic, entries[0].epoch
        content = b""
        try:
            content = self._folder.read(file)
            rows, intact = decode_spill(content, topic, epoch)
        except Unanswered as error:
            LOG.warning("spill file %s is not backfilled now: %s", file, first_line(error))
            return None
        except OSError as error:
            LOG.warning("spill file %s cannot be read; its trades are looked for in Kafka: %s", file, error)
            rows, intact = Rows.empty(topic, epoch), False
        if content and not intact:
            LOG.warning("spill file %s %s; its lost rows are looked for in Kafka", file, what_is_wrong(content))
            try:
                self._folder.quarantine(file, content)
            except OSError as error:
                LOG.warning("no copy of spill file %s can be kept, so it is not backfilled now: %s", file, error)
                return None
        # Rows of other partitions are backfilled by the consumers that are assigned those.
        rows = rows.take(np.isin(rows.partition, [entry.partition for entry in entries]))
        parts_read = []
        for entry in entries:
            found = int((rows.partition == entry.partition).sum())
            missing = entry.count - found
            left = replace(entry, count=missing, spill="", policy=DAMAGED) if missing else None
            parts_read.append(_PartRead(entry, left, found))
        return self._resolved(rows, parts_read)

    def _from_kafka(self, entries: list[DeferredRange], records: int, now_us: int) -> Backfilled | None:
        """The beginnings of ranges, one of each partition, read again from Kafka.

        None when Kafka returns nothing now, or store or schema registry do not answer what is asked of them.
        """
        topic = entries[0].topic
        if entries[0].epoch != self._epoch:
            gone = [_PartRead(entry, None, 0, lost=True) for entry in entries]
            return self._resolved(Rows.empty(topic, entries[0].epoch), gone)
        each = max(1, records // len(entries))
        ranges = {e.partition: (e.start, min(e.end, e.start + each)) for e in entries}
        beside = self._decoder.beside
        fetched, reached, holes = read_between(self._endpoints, topic, ranges, READ_TIMEOUT_S, 1 << 62, beside)
        if all(reached[entry.partition] == entry.start for entry in entries):
            return None
        # Invalid trades were counted when first read. A clock that was turned back refuses none of the others.
        judged_us = max(now_us, (fetched.newest_ms or 0) * 1000)
        try:
            rows, _ = decode_batch(fetched, topic, self._epoch, judged_us, Tally(), self._decoder)
            rows = rows.take(self._wanted(rows, entries))
        except RegistryUnanswered as error:
            LOG.warning("backfill waits: %s", error)
            return None
        except (OSError, LakeUnanswered) as error:
            self._note_refused(error, now_us)
            return None
        self._refused_since_us = None
        holed = {hole.partition for hole in holes}
        parts_read = []
        for entry in entries:
            to, exact = reached[entry.partition], entry.policy == self._admission.policy
            found = int((rows.partition == entry.partition).sum()) if exact else None
            policy = DAMAGED_AND_HOLED if not exact and entry.partition in holed else entry.policy
            left = replace(entry, start=to, policy=policy) if to < entry.end else None
            parts_read.append(_PartRead(entry, left, found, lost=exact or policy == DAMAGED_AND_HOLED))
        return replace(self._resolved(rows, parts_read), records=len(fetched))

    def _note_refused(self, error: OSError | LakeUnanswered, now_us: int) -> None:
        """The same piece is tried again, because nothing of it was taken in; but not for ever."""
        LOG.warning("backfill waits: what the table holds of a range cannot be read: %s", first_line(error))
        if self._refused_since_us is None:
            self._refused_since_us = now_us
        if now_us - self._refused_since_us >= GIVE_UP_AFTER_US:
            raise LakeError(
                f"What the table holds of the ranges to backfill cannot be read: {first_line(error)}",
                "Nothing is lost: they stay in the ledger. See: k2ctl lake status",
            ) from error

    def _wanted(self, rows: Rows, entries: list[DeferredRange]) -> np.ndarray:
        """bool[n]: the rows that were deferred. Where the policy has been edited since: all that are not stored."""
        wanted = np.zeros(len(rows), np.bool_)
        priority = self._admission.priorities(rows.trades["symbol"])
        at = {entry.partition: np.flatnonzero(rows.partition == entry.partition) for entry in entries}
        edited: dict[int, tuple[int, int]] = {}
        for entry in entries:
            here = at[entry.partition]
            if entry.policy == self._admission.policy:
                wanted[here] = entry.priorities >> priority[here] & 1
            elif len(here):
                edited[entry.partition] = (int(rows.offset[here].min()), int(rows.offset[here].max()) + 1)
        if edited:
            stored = stored_identities(self._lake.table(), rows.topic, rows.epoch, edited)
            for partition, numbers in stored.items():
                here = at[partition]
                wanted[here] = ~np.isin(identity_numbers(rows.offset[here], rows.index[here]), numbers)
        return wanted

    def _resolved(self, rows: Rows, parts_read: list["_PartRead"]) -> Backfilled:
        """Keep the rows that are no duplicates, and balance the counts of each entry."""
        stored = self._remember(rows)
        counts: dict[TopicPartition, Counts] = {}
        resolved = []
        for part in parts_read:
            entry = part.entry
            kept = int((stored.partition == entry.partition).sum())
            copies = 0 if part.found is None else part.found - kept
            rest = max(0, entry.count - kept - copies)
            # Rows stored beyond the count had been dropped as copies, of trades that have left the window since.
            copies = entry.count - kept - rest
            left = None if part.left is None else replace(part.left, count=rest)
            resolved.append((entry, left))
            change = Counts(stored=kept, duplicate=copies)
            change += Counts(spilled=-entry.count) if entry.spill else Counts(shed=-entry.count)
            if left is not None:
                change += Counts(shed=rest)
            else:
                change += Counts(lost=rest) if part.lost else Counts(duplicate=rest)
            partition = TopicPartition(entry.topic, entry.epoch, entry.partition)
            counts[partition] = counts.get(partition, Counts()) + change
        return Backfilled(stored, tuple(resolved), counts)


@dataclass(frozen=True)
class _PartRead:
    """An entry of which a part was read."""

    entry: DeferredRange
    left: DeferredRange | None
    """The part of its range that is still to be read."""
    found: int | None
    """Rows of the part that had been deferred; None where they cannot be distinguished from copies."""
    lost: bool = False
    """Whether what is not found at the end of the range is lost, or was a copy."""


def _first_of_partitions(entries: Iterable[DeferredRange]) -> list[DeferredRange]:
    """The first range of each partition that Kafka holds, all of the epoch of the first."""
    first: dict[int, DeferredRange] = {}
    for entry in entries:
        if not entry.spill and entry.epoch == next(iter(first.values()), entry).epoch:
            first.setdefault(entry.partition, entry)
    return list(first.values())
