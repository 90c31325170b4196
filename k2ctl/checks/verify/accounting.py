"""Accounts for the records of one topic: each trade has a row of its place, or a reason why it has none."""

from collections.abc import Callable
from typing import Final

import numpy as np

from k2ctl.checks.verify.accounted import Accounted
from k2ctl.checks.verify.other_programs import altered_columns
from k2ctl.checks.verify.stored_prints import StoredPrints
from k2ctl.deferred.spill_files import read_spilled
from k2ctl.domain.checkpoint import Counts, Tally
from k2ctl.domain.checksums import checksums
from k2ctl.domain.ledger import DeferredRange
from k2ctl.domain.rows import Rows, identity_numbers
from k2ctl.domain.texts import codes_of
from k2ctl.feeds.stretches import Ranges, Stretch
from k2ctl.kafka.dead_letters import WHOLE_RECORD, DeadPlaces
from k2ctl.lake.readers import stored_between
from k2ctl.lake.snapshots import Pinned
from k2ctl.lake.stored_lookup import SuspectLookup
from k2ctl.profiles.universe import Universe

LOOKED_UP: Final = 50_000
"""Trades that are looked up in the table at once."""


class Accounting:
    """Accounts for the stretches of one topic."""

    def __init__(
        self,
        pinned: Pinned | None,
        dead: DeadPlaces,
        universe: Universe,
        lookup: SuspectLookup,
        prints: StoredPrints,
        result: Accounted,
    ) -> None:
        self._pinned, self._universe, self._lookup = pinned, universe, lookup
        self._dead, self._is_complete = _DeadIndex(dead.places), dead.complete
        self._prints = prints
        self.result = result
        self._tally = Tally()
        checkpoints = pinned.checkpoints if pinned else None
        self._checkpoints = {
            at.partition: checkpoint
            for at, checkpoint in (checkpoints.by_partition if checkpoints else {}).items()
            if (at.topic, at.epoch) == (result.topic, result.epoch)
        }
        # The next offset of each partition, and of one that the table does not know.
        self._ends = np.zeros(max(self._checkpoints, default=0) + 2, np.int64)
        for partition, checkpoint in self._checkpoints.items():
            self._ends[partition] = checkpoint.next_offset
        entries = checkpoints.ledger.of(result.topic).entries if checkpoints else ()
        self._deferred = [entry for entry in entries if entry.epoch == result.epoch]

    def take(self, stretch: Stretch) -> None:
        """One stretch, in the order in which the places are judged."""
        rows, result = stretch.rows, self.result
        result.records += stretch.records
        result.trades += len(rows)
        stored = self._held_to_table(stretch)
        result.stored += int(stored.sum())
        self._tally.add("stored", rows.partition[stored])
        self._prints.add(rows.take(stored))
        left = ~stored
        behind = left & ~self._is_committed(rows.partition, rows.offset)
        result.pending += int(behind.sum())
        left &= ~behind
        result.dead_lettered += self._explained(rows, left, self._are_dead, "dead_lettered")
        result.deferred += self._explained(rows, left, self._are_deferred, "shed")
        result.copies += self._explained(rows, left, self._are_copies, "duplicate")
        result.note("missing", rows, left)
        self._account_for_unread(stretch)
        filtered = self._is_committed(*stretch.filtered.T)
        result.filtered += len(filtered)
        self._tally.add("filtered", stretch.filtered[filtered, 0])

    def _explained(self, rows: Rows, left: np.ndarray, judge: Callable[[Rows], np.ndarray], term: str) -> int:
        """How many of those that are left a judge explains; they are left no more."""
        at = np.flatnonzero(left)
        if len(at):
            at = at[judge(rows.take(at))]
            left[at] = False
            self._tally.add(term, rows.partition[at])
        return len(at)

    def _is_committed(self, partition: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """bool[n]: whether the table stands behind a place."""
        ends = self._ends[np.minimum(partition, len(self._ends) - 1)]
        return np.asarray(offset < ends)

    def _held_to_table(self, stretch: Stretch) -> np.ndarray:
        """bool[n]: whether the table has a trade's place; notes what it has otherwise, twice, or beyond that."""
        rows, result = stretch.rows, self.result
        times = np.zeros(len(rows), np.int64)
        if self._pinned is None:
            return times > 0
        hashes = checksums(rows.trades).content
        damage = result.damaged.setdefault
        for stored in stored_between(self._pinned, result.topic, result.epoch, stretch.ranges, damage):
            at, there = np.zeros(len(stored), np.int64), np.zeros(len(stored), np.bool_)
            for partition in np.unique(stored.partition).tolist():
                mine = np.flatnonzero(stored.partition == partition)
                places = identity_numbers(stored.offset[mine], stored.index[mine])
                at[mine], there[mine] = stretch.slots_of(partition, places)
            self._note_unexpected(stretch, stored, ~there)
            stored, at = stored.take(there), at[there]
            np.add.at(times, at, 1)
            self._compare(stored, rows.take(at), hashes[at])
        result.note("duplicated", rows, times > 1)
        return times > 0

    def _note_unexpected(self, stretch: Stretch, stored: Rows, astray: np.ndarray) -> None:
        for hole in stretch.holes:
            inside = (stored.offset >= hole.asked) & (stored.offset < hole.first)
            astray = astray & ~((stored.partition == hole.partition) & inside)
        if astray.any():
            at = np.flatnonzero(astray)
            order = at[np.lexsort((stored.offset[at], stored.partition[at]))]
            self.result.note("unexpected", stored.take(order), np.ones(len(order), np.bool_))

    def _compare(self, stored: Rows, sent: Rows, hashes: np.ndarray) -> None:
        """Rows with the trades that Kafka has at their places."""
        differs = checksums(stored.trades).content != hashes
        for name in ("message_id", "received_ns"):
            differs |= stored.trades[name] != sent.trades[name]
        if differs.any():
            at = np.flatnonzero(differs)
            some = sent.take(at)
            for column, altered in altered_columns(stored.trades.take(at), some.trades):
                self.result.note("altered", some, altered, column)

    def _are_dead(self, rows: Rows) -> np.ndarray:
        return self._dead.hold(rows.partition, rows.offset, rows.index)

    def _are_deferred(self, rows: Rows) -> np.ndarray:
        found = np.zeros(len(rows), np.bool_)
        for entry in self._deferred:
            inside = (rows.partition == entry.partition) & (rows.offset >= entry.start) & (rows.offset < entry.end)
            at = np.flatnonzero(inside & ~found)
            if len(at):
                found[at] = self._are_in(entry, rows.take(at))
        return found

    def _are_in(self, entry: DeferredRange, rows: Rows) -> np.ndarray:
        """bool[n]: which trades of a range were deferred; all, where neither file nor policy says which."""
        if entry.spill and self._pinned is not None:
            spilled, intact = read_spilled(self._pinned, entry.spill, entry.topic, entry.epoch)
            if intact:
                mine = spilled.take(spilled.partition == entry.partition)
                held = identity_numbers(mine.offset, mine.index)
                return np.isin(identity_numbers(rows.offset, rows.index), held)
        if entry.policy != self._universe.policy:
            return np.ones(len(rows), np.bool_)
        codes, symbols = codes_of(rows.trades["symbol"])
        holds = np.array([entry.holds(self._universe.priority(symbol)) for symbol in symbols.tolist()], np.bool_)
        return np.asarray(holds[codes])

    def _are_copies(self, rows: Rows) -> np.ndarray:
        parts = [np.arange(at, min(at + LOOKED_UP, len(rows))) for at in range(0, len(rows), LOOKED_UP)]
        return np.concatenate([self._lookup.find(rows.take(part)).elsewhere for part in parts])

    def _account_for_unread(self, stretch: Stretch) -> None:
        """What could not be read must be a dead letter."""
        places, result = stretch.unread, self.result
        committed = self._is_committed(places[:, 0], places[:, 1])
        result.pending += int((~committed).sum())
        places = places[committed]
        dead, whole = self._dead.hold(*places.T), places[:, 2] == WHOLE_RECORD
        result.undecodable += int((dead & whole).sum())
        result.dead_lettered += int((dead & ~whole).sum())
        result.trades += int((dead & ~whole).sum())
        self._tally.add("undecodable", places[dead & whole, 0])
        self._tally.add("dead_lettered", places[dead & ~whole, 0])
        if self._is_complete:
            result.note_records("missing", places[~dead])
        elif not dead.all():
            result.not_judged["dead letters"] = result.not_judged.get("dead letters", 0) + int((~dead).sum())

    def note_stored_again(self) -> None:
        """Copies that the table holds beside their trades, from other places of Kafka."""
        for again in self._prints.again():
            places = np.column_stack([again[name].astype(np.int64) for name in ("partition", "offset", "index")])
            self.result.note_records("duplicated", places)

    def compare_counts(self, marks: Ranges) -> None:
        """Where Kafka holds a partition from the first record on, the table's counts must be what was found."""
        if self.result.damaged or self.result.unread or any(self.result.faults.values()):
            return  # these are the cause of every difference
        for partition, checkpoint in self._checkpoints.items():
            if partition in marks and marks[partition][0] == 0:
                said, found = _compared(checkpoint.counts), _compared(self._tally.of(partition))
                differing = {name: (said[name], found[name]) for name in said if said[name] != found[name]}
                if differing:
                    self.result.counts_differ[partition] = differing


def _compared(counts: Counts) -> dict[str, int]:
    return {
        "stored": counts.stored,
        "duplicate": counts.duplicate,
        "deferred": counts.shed + counts.spilled,
        "dead_lettered": counts.dead_lettered,
        "undecodable": counts.undecodable,
        "filtered": counts.filtered,
    }


class _DeadIndex:
    """The places of dead letters, by partition."""

    def __init__(self, places: np.ndarray) -> None:
        partition, offset, index = places.T
        whole = index == WHOLE_RECORD
        self._records = _by_partition(partition[whole], offset[whole])
        self._trades = _by_partition(partition[~whole], identity_numbers(offset[~whole], index[~whole]))

    def hold(self, partition: np.ndarray, offset: np.ndarray, index: np.ndarray) -> np.ndarray:
        """bool[n]: whether there is a dead letter of a place, or of its whole record."""
        found = np.zeros(len(partition), np.bool_)
        for number in np.unique(partition).tolist():
            at = np.flatnonzero(partition == number)
            found[at] = np.isin(offset[at], self._records.get(number, ()))
            alone = at[index[at] != WHOLE_RECORD]
            found[alone] |= np.isin(identity_numbers(offset[alone], index[alone]), self._trades.get(number, ()))
        return found


def _by_partition(partition: np.ndarray, numbers: np.ndarray) -> dict[int, np.ndarray]:
    return {number: np.unique(numbers[partition == number]) for number in np.unique(partition).tolist()}
