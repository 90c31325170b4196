"""The partitions that a consumer reads now, and everything that belongs to them.

An assignment is opened as a whole from where the table stands, and closed as a whole. Nothing that was read and not
stored outlives it, so whoever is assigned these partitions next takes those trades for new.
"""

import logging
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from k2ctl.consume.assignment_snapshot import AssignmentSnapshot
from k2ctl.consume.backfill_turns import BackfillTurns
from k2ctl.consume.commit_thread import Finished, fenced_error, rolled_back_error
from k2ctl.consume.degradation import lag_window_s
from k2ctl.consume.pending_checkpoint import PendingCheckpoint
from k2ctl.consume.platform import Platform
from k2ctl.consume.priority_lanes import PriorityReader
from k2ctl.consume.processing import BatchProcessor, StateSnapshot, TradeState
from k2ctl.consume.start import starting_offsets
from k2ctl.dedup.shared.waiting import SettlementGivenUp
from k2ctl.deferred.backfill import Backfill
from k2ctl.domain.checkpoint import Checkpoints, Counts, TopicPartition
from k2ctl.domain.ledger import Ledger
from k2ctl.domain.status_parts import PartitionStatus
from k2ctl.domain.topics import CONSUMER_GROUP
from k2ctl.kafka.registry import RegistryUnanswered
from k2ctl.kafka.watermarks import Silence
from k2ctl.lake.written_offer import Committed

LOG: Final = logging.getLogger("k2ctl.consume")


class Assignment:
    """Some partitions of the topic, or all of them. Everything but the commit happens on the consumer's thread."""

    def __init__(
        self,
        platform: Platform,
        partitions: frozenset[int],
        highs: Mapping[int, int],
        checkpoints: Checkpoints,
        offsets: Mapping[int, int],
        state: TradeState,
        reader: PriorityReader,
        backfill: Backfill,
        *,
        is_alone: bool,
    ) -> None:
        """`open` makes one. offsets: where each partition is read from."""
        self.partitions = partitions
        # The high watermarks of all partitions of the topic, when this was opened.
        self.highs = highs
        # True if this consumer reads all partitions and no other may.
        self.is_alone = is_alone
        # True if this may not be read or committed any more: it was invalidated or released.
        self.is_stale = False
        # Rows of a commit that was given up, because trades of it waited for other consumers.
        self._given_up_rows = 0
        self._platform = platform
        self._checkpoints = checkpoints
        # Per partition the next offset of the table, as this consumer knows it.
        self.committed_offsets = dict(offsets)
        self._state = state
        self._reader = reader
        self._turns = BackfillTurns(platform, backfill)
        # Per partition the first offset that Kafka holds a deferred trade at, as last committed to the group.
        self._advised_shed: dict[int, int] = {}
        self._processor = BatchProcessor(platform, reader, state)
        self._pending = PendingCheckpoint(platform.topic, platform.epoch)
        state.explain_by(lambda: self._outstanding().entries, platform.admission)

    @classmethod
    def open(cls, platform: Platform, partitions: Collection[int] | None) -> "Assignment":
        """Open the assigned partitions from where the table stands; None for all, which no other
        consumer may read then.

        Raises:
            BrokerError: Kafka does not answer, or is not the one that the table was filled from. LakeError: the table
            does not answer.
        """
        topic, epoch, profile, is_alone = platform.topic, platform.epoch, platform.plan.profile, partitions is None
        checkpoints, marks = platform.checkpoints(), platform.watermarks()
        chosen = frozenset(marks if partitions is None else partitions)
        offsets = starting_offsets(checkpoints, topic, epoch, marks, chosen)
        highs = {partition: mark.high for partition, mark in marks.items()}
        with platform.lake.answering():
            state = TradeState.restore(platform, checkpoints, offsets, None if is_alone else chosen)
            backfill = Backfill(
                platform.endpoints, platform.lake, platform.admission, state.remember, epoch, platform.decoder
            )
        read_from = {} if platform.plan.backfill else offsets
        critical = profile.topic.critical_partitions
        beside = platform.decoder.beside
        reader = PriorityReader(
            platform.endpoints, topic, CONSUMER_GROUP, critical, read_from, highs, platform.clock, beside
        )
        opened = cls(platform, chosen, highs, checkpoints, offsets, state, reader, backfill, is_alone=is_alone)
        opened._begin(offsets)
        return opened

    def _begin(self, offsets: Mapping[int, int]) -> None:
        """Start publishing state, and name what the table does not know yet."""
        platform, known = self._platform, self._checkpoints.by_partition
        at = (platform.topic, platform.epoch)
        unknown = {p: offset for p, offset in offsets.items() if TopicPartition(*at, p) not in known}
        if not platform.plan.backfill:
            # The first commit names every partition, so that what is deleted before it is read counts as lost.
            self._pending.note_starts(unknown)
            if unknown and platform.settlement is not None:
                # Whether a claim is decided is asked of its partition's checkpoint, so that there has to be one.
                self._submit(urgent=True)
        self._state.begin()
        from_table = {p: offset for p, offset in offsets.items() if p not in unknown}
        fields = {"topic": platform.topic, "from_table": from_table, "from_log_start": unknown}
        LOG.info("partitions assigned", extra=fields | {"rows_restored": self.restored_rows})

    @property
    def is_full(self) -> bool:
        """True while no more may be read: the commits do not follow, or what Kafka is about to delete comes first."""
        full = self._pending.held >= self._read_ahead_rows
        return full or (self.must_backfill and not self._ledger_is_known)

    @property
    def _read_ahead_rows(self) -> int:
        """Rows that may be pending: while a commit takes its usual time, as many as the next one has.

        More would fill memory and make nothing quicker. Behind a commit that stands still reading goes on before the
        lag counts as one (`LagWindow`): its trades would be deferred.
        """
        settings, thread = self._platform.plan.profile.consumer, self._platform.commit_thread
        if thread.is_busy and thread.since_submit_s < lag_window_s(thread.every_s()) / 2:
            return min(settings.commit_rows, settings.pending_limit_rows)
        return settings.pending_limit_rows

    @property
    def must_backfill(self) -> bool:
        """As `BackfillTurns.must_backfill`."""
        return self._turns.must_backfill

    @property
    def _ledger_is_known(self) -> bool:
        """True between commits that change it."""
        return not (self._platform.commit_thread.is_busy or self._pending.changes_ledger)

    def read_and_process(self) -> None:
        """Read a batch, and take it through the steps into the pending checkpoint."""
        self._processor.read_into(self._pending)

    @property
    def had_little(self) -> bool:
        """True if the last batch was a small one, and all that there was."""
        return self._processor.had_little

    def wait(self, timeout_s: float) -> bool:
        """True as soon as there is something to read; waits at most `timeout_s`."""
        return self._reader.wait(timeout_s)

    @property
    def is_idle(self) -> bool:
        """True while there is nothing to do: all that was read is committed, and nothing is outstanding."""
        return self.is_committed and not self.ledger.entries and not self._processor.is_held

    def follow_pressure(self) -> None:
        """Choose the level by lag, memory and whether rows can be spilled; note what Kafka holds and must keep."""
        platform, records = self._platform, self._reader.lag_records()
        self._turns.follow(self._outstanding(), self._reader.high_watermarks(), self.committed_offsets)
        lag_trades = None if records is None else round(records * platform.totals.trades_per_record)
        age_s, trouble = self._reader.age_at_position_s(critical=False), platform.spiller.trouble
        every_s = platform.commit_thread.every_s()
        platform.pressure.update(lag_trades, age_s, self._state.deduplicator.statistics(), trouble, every_s)

    def backfill_if_due(self) -> None:
        """Take a part of the ledger that is due into the pending checkpoint.

        Only between commits, so that the ledger is known.
        """
        if not self._ledger_is_known:
            return
        for part in self._turns.due(self._outstanding()):
            self._pending.add_backfilled(part)
            self._state.note_backfilled(part)

    def submit_if_due(self, *, at_once: bool) -> None:
        """Begin a commit when the interval has passed or enough rows are pending; at_once: whatever there is."""
        thread, pending = self._platform.commit_thread, self._pending
        if thread.is_busy or pending.is_empty:
            return
        full = pending.held >= self._platform.plan.profile.consumer.commit_rows
        if self.until_commit_s <= 0 or full or at_once:
            self._submit(urgent=at_once)

    @property
    def until_commit_s(self) -> float:
        """How long it is until the interval has passed, not below 0; endless while a commit is under way."""
        thread = self._platform.commit_thread
        if thread.is_busy:
            return math.inf
        # Who commits directly leaves the table as much time as it takes of it.
        least_s = 2 * thread.typical_s() if self._commits_directly else 0.0
        interval_s = max(self._platform.plan.profile.consumer.commit_interval_s, least_s)
        return max(0.0, interval_s - thread.since_submit_s)

    def collect(self, *, wait_s: float | None = 0.0) -> None:
        """Note a commit that has finished. wait_s: how long to wait for one; None: until it has.

        Raises:
            FencedError: another consumer reads the same partitions. LakeError, BrokerError: what the commit raised.
        """
        thread = self._platform.commit_thread
        under_way = thread.in_flight
        try:
            finished = thread.collect(wait_s=wait_s)
        except SettlementGivenUp as given_up:
            LOG.info("a commit was given up, and is left in Kafka: %s", given_up)
            self._given_up_rows = under_way.rows if under_way is not None else 0
            self.invalidate()
            return
        if finished is not None:
            self._note(finished)

    def flush(self, within_s: float = math.inf, *, patient: bool = True) -> bool:
        """Commit what was read; False when something was left because that takes longer than `within_s`.

        patient: a commit that was begun is waited for, however long it takes.
        """
        clock, thread = self._platform.clock, self._platform.commit_thread
        deadline_s = clock.monotonic_s() + within_s
        self.collect(wait_s=None if patient else within_s)
        if self._given_up_rows:
            return False
        if thread.is_busy or self._pending.is_empty:
            return not thread.is_busy
        if clock.monotonic_s() + thread.expected_s(self._pending.rows) > deadline_s:
            return False
        self._submit(urgent=True)
        self.collect(wait_s=None if patient else max(0.0, deadline_s - clock.monotonic_s()))
        return not (thread.is_busy or self._given_up_rows)

    def save(self) -> None:
        """Save what deduplication remembers, for whoever is assigned these partitions next."""
        self._state.save()

    def invalidate(self) -> None:
        """What is remembered includes rows that were dropped, so another assignment is to be opened."""
        self.is_stale = True
        self._platform.commit_thread.give_up_waiting()

    def release(self) -> None:
        """Publish sequence state and free the memory, before another assignment takes as much."""
        self.is_stale = True
        self._state.release()

    def close(self) -> None:
        """Read no more, and publish what is left of sequence state. Its figures can still be read."""
        self.is_stale = True
        self._reader.close()
        self._state.close()

    def _submit(self, *, urgent: bool) -> None:
        pending, self._pending = self._pending, PendingCheckpoint(self._platform.topic, self._platform.epoch)
        pending.seal(self._state, self._checkpoints)
        thread, directly = self._platform.commit_thread, self._commits_directly
        thread.submit(pending, whole=self.is_alone, directly=directly, urgent=urgent)

    def _note(self, finished: Finished) -> None:
        """Take note of a commit: checkpoints, state, totals, and the advisory offsets in Kafka's group."""
        committed, platform = finished.committed, self._platform
        platform.steps.add("commit", finished.seconds)
        if committed.checkpoints.sequence_number < self._checkpoints.sequence_number:
            raise rolled_back_error(committed.checkpoints.sequence_number, self._checkpoints.sequence_number)
        self._checkpoints = committed.checkpoints
        if committed.fenced:
            self._note_fenced(committed)
        ends = finished.checkpoint.publish(self._state, committed)
        if committed.snapshot_id is not None:
            backfilled = finished.checkpoint.backfilled_rows
            platform.totals.add_commit(committed, backfilled, finished.seconds, platform.clock.now_us())
        self.committed_offsets.update(ends)
        self._advise(ends)

    def _advise(self, ends: Mapping[int, int]) -> None:
        """Commit to Kafka's group what has moved: offsets, and the first one before each that holds a shed trade."""
        shed = self._outstanding().first_in_kafka(self._platform.epoch)
        moved = dict(ends)
        for partition in shed.keys() | self._advised_shed.keys():
            if partition in self.committed_offsets and shed.get(partition) != self._advised_shed.get(partition):
                moved[partition] = self.committed_offsets[partition]
        self._reader.advise(moved, shed)
        self._advised_shed = shed

    def _note_fenced(self, committed: Committed) -> None:
        """Others have committed a part of what was to be committed. In a group the assignment is opened again then, and
        so it is where nobody has moved the offsets: somebody waited for this consumer too long, and has fenced it."""
        self._platform.totals.fenced += 1
        if not self.is_alone or (self._platform.settlement is not None and self._stands_as_read(committed)):
            self._pending = PendingCheckpoint(self._platform.topic, self._platform.epoch)
            self.invalidate()
            return
        raise fenced_error(committed, self.committed_offsets, self._platform.topic)

    def _stands_as_read(self, committed: Committed) -> bool:
        """Whether the table's offsets of what was fenced are those that this consumer knows."""
        found = committed.checkpoints.by_partition
        return all(
            at in found and found[at].next_offset == self.committed_offsets.get(at.partition) for at in committed.fenced
        )

    @property
    def _commits_directly(self) -> bool:
        """True if no other consumer shares the table, as far as is known here: this one has all partitions."""
        return self._platform.group_commit is None or (
            self._platform.plan.topics == 1 and len(self.partitions) == len(self.highs)
        )

    @property
    def ledger(self) -> Ledger:
        """What is outstanding of the topic, by whichever consumer, as committed."""
        return self._checkpoints.ledger.of(self._platform.topic)

    def _outstanding(self) -> Ledger:
        """The ledger entries of the assigned partitions; a number beyond the topic's count is taken modulo it."""
        ledger = self.ledger
        if self.is_alone or not ledger.entries:
            return ledger
        return Ledger(tuple(e for e in ledger.entries if e.partition % len(self.highs) in self.partitions))

    @property
    def is_committed(self) -> bool:
        """True if all that was read is committed."""
        return self._pending.is_empty and not self._platform.commit_thread.is_busy

    @property
    def pending_rows(self) -> int:
        """Rows of the pending checkpoint."""
        return self._pending.rows + self._given_up_rows

    @property
    def restored_rows(self) -> int:
        """Rows that were read from the table to know what is stored."""
        return self._state.restored_rows

    @property
    def silence(self) -> Silence | None:
        """Since when Kafka has not answered; None while it does."""
        return self._reader.silence()

    @property
    def trouble(self) -> str:
        """Why reading cannot go on although the log does; empty while it can."""
        unanswered = self._processor.unanswered
        return f"{unanswered}; asked again every second" if unanswered is not None else self._reader.trouble

    @property
    def unanswered(self) -> tuple[RegistryUnanswered, float] | None:
        """Why what was read cannot be decoded, and for how many seconds already; None while it can."""
        error = self._processor.unanswered
        if error is None:
            return None
        return error, self._platform.clock.monotonic_s() - self._processor.unanswered_since_s

    def reached(self, goal: Mapping[int, int]) -> bool:
        """Whether all partitions are read up to a goal."""
        if self._processor.unanswered is not None:
            return False
        return all(position >= goal[partition] for partition, position in self._reader.positions.items())

    @property
    def remembered(self) -> StateSnapshot:
        """Deduplication and sequences as they stand; also once this is closed."""
        found, settlement = self._state.snapshot(), self._platform.settlement
        return found if settlement is None else replace(found, dedup=replace(found.dedup, tier=settlement.status()))

    def count_on(self, before: "Assignment") -> None:
        """Begin the sequence totals where the previous assignment of this consumer ended."""
        self._state.count_on(before._state)

    def counts(self) -> Counts:
        """The counts of the balance, for this topic and epoch, as committed."""
        key = (self._platform.topic, self._platform.epoch)
        found = [known.counts for at, known in self._checkpoints.by_partition.items() if at[:2] == key]
        return sum(found, Counts())

    def snapshot(self) -> AssignmentSnapshot:
        """The assignment as it stands."""
        uncommitted = [found for found in (self._platform.commit_thread.in_flight, self._pending) if found]
        reader, highs, positions = self._reader, self._reader.high_watermarks(), self._reader.positions
        partitions = [
            PartitionStatus(p, positions[p], self.committed_offsets.get(p, positions[p]), high or 0)
            for p, high in sorted(highs.items())
        ]
        behind = sum(max(0, part.high_watermark - part.committed) for part in partitions)
        return AssignmentSnapshot(
            counts=self.counts(),
            table_sequence=self._checkpoints.sequence_number,
            pending_rows=sum(found.rows for found in uncommitted),
            oldest_ms=_earliest(found.oldest_ms for found in uncommitted),
            oldest_critical_ms=_earliest(found.oldest_critical_ms for found in uncommitted),
            lag_records=reader.lag_records(),
            age_s=reader.age_at_position_s(critical=False),
            critical_age_s=reader.age_at_position_s(critical=True),
            partitions=partitions,
            behind_records=None if None in highs.values() else behind,
        )


def _earliest(times_ms: Iterable[int | None]) -> int | None:
    return min((ms for ms in times_ms if ms is not None), default=None)
