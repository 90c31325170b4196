"""Rows and offsets into the table, in one transaction, exactly once.

A commit is made of offers (`domain.offers`), of one consumer or of many. Each names, for every partition, the offset
that its rows start from; the table takes it only if its checkpoint is at this offset. So a second consumer, a consumer
that was suspended, a second committer, or a commit whose answer was lost stores nothing twice.
"""

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pyiceberg.manifest import DataFile

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import (
    NO_CHANGE,
    RETIRED_PARTITION,
    Checkpoints,
    OffsetDelta,
    TopicPartition,
)
from k2ctl.domain.corrected_symbols import symbols_of_events
from k2ctl.domain.ledger import LedgerChange
from k2ctl.domain.offers import (
    CommitterAnswer,
    Offer,
    Refusal,
    TableState,
    choose,
    fenced_partitions,
)
from k2ctl.domain.recorded_feeds import FEEDS_PROPERTY, RecordedFeed, with_feeds
from k2ctl.domain.rows import Rows
from k2ctl.errors import LakeError, LakeUnanswered, first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of, in_history
from k2ctl.lake.commit import GIVE_UP_AFTER_S, Done, SnapshotRetention, Try, commit_optimistically
from k2ctl.lake.described_files import files_in
from k2ctl.lake.files import delete_files, layout_of, write_rows
from k2ctl.lake.side_folder import SideFolder
from k2ctl.lake.swap import TableSwap
from k2ctl.lake.written_offer import Committed, WrittenOffer

LOG: Final = logging.getLogger("k2ctl.lake")
_STATUS: Final = "See: k2ctl stack status"


@dataclass(frozen=True)
class GroupCommitted:
    """The result of a commit of the offers of many consumers."""

    answer: CommitterAnswer
    # How many offers it took.
    taken: int
    # The offers that start ahead of the table, neither taken nor refused.
    waiting: tuple[str, ...]
    attempts: int


class TableWriter:
    """Commits offers to the table. Not thread-safe: one writer per committing thread."""

    def __init__(
        self,
        lake: Lake,
        clock: Clock,
        retention: SnapshotRetention | None = None,
        feeds: Mapping[str, RecordedFeed | None] | None = None,
    ) -> None:
        """feeds: topic → its feed, which the next commit records in the table; None for K2's own format."""
        self._clock = clock
        self._feeds = dict(feeds or {})
        self._swap = TableSwap(lake, clock, retention)
        # The last message of a failing catalog or store while a commit is tried again because of it; else empty.
        self.trouble = ""
        # How often one of them has failed.
        self.troubles = 0
        # Whether a catalog or store that does not answer is waited for as long as it takes, by `write` and `commit`.
        self.waits: Callable[[], bool] = lambda: False

    def commit(
        self,
        batches: Sequence[Rows],
        deltas: Mapping[TopicPartition, OffsetDelta],
        change: LedgerChange = NO_CHANGE,
        *,
        whole: bool = False,
    ) -> Committed:
        """Store rows, move the partitions of `deltas` and change the ledger, all or nothing for each partition.

        `write` and `commit_written` in one; see there. Raises: as they do.
        """
        return self.commit_written(self._offered(batches, deltas, change), whole=whole)

    def write(
        self,
        batches: Sequence[Rows],
        deltas: Mapping[TopicPartition, OffsetDelta],
        change: LedgerChange = NO_CHANGE,
        *,
        urgent: bool = False,
    ) -> WrittenOffer:
        """Write the Parquet files of an offer, which no reader sees yet: to be announced, or committed.

        batches: rows, each batch of one topic and epoch; their partitions, and those of the ledger's entries, are among
        `deltas`. Spill files that `change` names have been written.

        Raises:
            LakeError: the store took no files for `commit.GIVE_UP_AFTER_S`.
        """
        written = self._offered(batches, deltas, change, urgent=urgent)
        self._repeated(lambda _: self._written(written), GIVE_UP_AFTER_S, self.waits)
        return written

    def commit_written(self, written: WrittenOffer, *, whole: bool = False) -> Committed:
        """Commit an offer of this process, announced or not.

        whole: store nothing if one partition is fenced. Of two consumers that each have all partitions, one then goes
        on; if each stored a part, each would fence the other.

        1. Write the Parquet files, where they are not written.
        2. Load the table fresh and compare every partition; drop the rows of fenced partitions. Files that
           were written for another schema or partition spec than the table has now are written again.
        3. Swap the metadata: files, offsets and counts become visible in one step. What a REST service confirms is
           read back.
        4. On a conflict, or while catalog or store do not answer: pause, and again. An offer that was stored although
           the answer was lost is recognised by its id: in the partitions' checkpoints or, where other commits
           followed, in the history.

        Raises:
            LakeError: catalog or store did not answer, or conflicts did not end, for `commit.GIVE_UP_AFTER_S`; or
                another program has changed the table so that it cannot take the rows.
        """
        started_s = self._clock.monotonic_s()
        done = self._repeated(lambda one: self._commit_once(written, one, whole=whole), GIVE_UP_AFTER_S, self.waits)
        LOG.info(
            "committed",
            extra={
                "commit_id": done.commit_id,
                "snapshot_id": done.snapshot_id,
                "rows": done.stored,
                "attempts": done.attempts,
                "fenced": len(done.fenced),
                "ms": round((self._clock.monotonic_s() - started_s) * 1000),
            },
        )
        return done

    def commit_offers(self, offers: Sequence[Offer], within_s: float = GIVE_UP_AFTER_S) -> GroupCommitted:
        """Commit all of these offers that the table takes, in one step, by steps 2 to 4 of `commit_written`.

        Nothing is written again and nothing deleted: that is their authors' business. Which of them are stored is
        decided by the table each time that it is loaded, so a lost answer needs no look-up of its own.

        Raises:
            LakeError: as `commit_written`, after `within_s`.
        """
        started_s = self._clock.monotonic_s()
        files = {offer.id: files_in(offer.files) for offer in offers}
        done = self._repeated(lambda one: self._commit_offers_once(offers, files, one), within_s)
        LOG.info(
            "committed offers",
            extra={
                "commit_id": done.answer.commit_id,
                "snapshot_id": done.answer.snapshot_id,
                "taken": done.taken,
                "refused": len(done.answer.refused),
                "waiting": len(done.waiting),
                "attempts": done.attempts,
                "ms": round((self._clock.monotonic_s() - started_s) * 1000),
            },
        )
        return done

    def _repeated(
        self, attempt: Callable[[Try], Done], within_s: float, waits: Callable[[], bool] = lambda: False
    ) -> Done:
        """The result of `attempt`, once it has succeeded."""
        done = commit_optimistically(
            attempt,
            what="The commit",
            hint="Nothing is lost: the offsets have not moved. See: k2ctl stack status",
            clock=self._clock,
            within_s=within_s,
            on_trouble=self._note_trouble,
            waits=waits,
        )
        self.trouble = ""
        return done

    def _note_trouble(self, said: str) -> None:
        self.trouble = said
        self.troubles += 1

    def _offered(
        self,
        batches: Sequence[Rows],
        deltas: Mapping[TopicPartition, OffsetDelta],
        change: LedgerChange,
        *,
        urgent: bool = False,
    ) -> WrittenOffer:
        offer = Offer(
            id=str(uuid.uuid4()),
            table=str(self._swap.table.metadata.table_uuid),
            layout=layout_of(self._swap.table),
            deltas=dict(deltas),
            change=change,
            corrected=frozenset(symbols_of_events(batches)),
            urgent=urgent,
        )
        return WrittenOffer(list(batches), offer)

    def _commit_once(self, written: WrittenOffer, one: Try, *, whole: bool) -> Committed:
        """Steps 1 to 3, once."""
        self._written(written)
        self._swap.load()
        while True:  # once more after files were written again, for the table that was loaded
            offer = written.offer
            looked_up = in_history(self._swap.table, [offer.id]) if one.uncertain or written.announced else ()
            choice = choose(self._swap.state(), [offer], self._clock.now_us(), looked_up)
            if choice.stored:
                return written.committed(self._swap.snapshot_id(), choice.checkpoints, one.number)
            if choice.taken:
                after = self._swap.take(self._written(written), choice)
                return written.committed(self._swap.snapshot_id(), after, one.number)
            if choice.refused.get(offer.id) == Refusal.LEDGER:
                choice.checkpoints.ledger.changed(offer.change)  # raises
            if choice.refused.get(offer.id) == Refusal.OLD:
                self._require_spill_files(offer)
            fenced = fenced_partitions(choice.checkpoints, offer.deltas)
            if not (one.uncertain or written.announced):  # else a snapshot may name them, and orphan removal decides
                delete_files(self._swap.table, written.files or [])
            if (fenced and whole) or fenced >= offer.deltas.keys():
                return written.not_stored(fenced, choice.checkpoints, one.number)
            written.files = None
            if fenced:
                written.drop(fenced, choice.checkpoints)
            self._written(written)

    def _commit_offers_once(
        self, offers: Sequence[Offer], files: Mapping[str, list[DataFile] | None], one: Try
    ) -> GroupCommitted:
        self._swap.load()
        state, fields = self._swap.state(), len(self._swap.table.spec().fields)
        damaged = [offer.id for offer in offers if not _fit(files[offer.id], offer, state, fields)]
        good = [offer for offer in offers if offer.id not in damaged]
        choice = choose(state, good, self._clock.now_us(), in_history(self._swap.table, files))
        after = choice.checkpoints
        if choice.taken:
            after = self._swap.take([file for offer in choice.taken for file in files[offer.id] or []], choice)
        answer = CommitterAnswer(
            table=state.table,
            commit_id=after.commit_id if choice.taken else "",
            snapshot_id=self._swap.snapshot_id(),
            stored=frozenset(offer.id for offer in (*choice.stored, *choice.taken)),
            refused={**choice.refused, **dict.fromkeys(damaged, Refusal.DAMAGED)},
            checkpoints=after,
        )
        waiting = tuple(offer.id for offer in choice.waiting)
        return GroupCommitted(answer, len(choice.taken), waiting, one.number)

    def _written(self, written: WrittenOffer) -> list[DataFile]:
        """Its files, which are written on the first call. Orphan removal deletes what a failed write leaves."""
        if written.files is None:
            self._swap.load_if_old()
            table, now_us = self._swap.table, self._clock.now_us()
            try:
                files = [file for rows in written.batches for file in write_rows(table, rows, now_us)]
            except OSError as error:
                raise LakeUnanswered(f"The warehouse takes no files: {first_line(error)}", _STATUS) from error
            is_recorded = with_feeds(table.metadata.properties.get(FEEDS_PROPERTY), self._feeds) is None
            written.offer = replace(
                written.offer,
                table=str(table.metadata.table_uuid),
                layout=layout_of(table),
                feeds={} if is_recorded else self._feeds,
                written_us=now_us,
            )
            written.files = files
        return written.files

    def _require_spill_files(self, offer: Offer) -> None:
        """Refuse to name what orphan removal has deleted while this process was suspended."""
        folder = SideFolder(self._swap.table)
        if any(entry.spill and not folder.has(entry.spill) for entry in offer.change.added):
            raise LakeError(
                "This consumer stood still for so long that files of its commit were removed.",
                "Nothing is lost: the offsets have not moved. Go on with: k2ctl consume",
            )

    def retire(self, topic: str, epoch: str, lost: int) -> Checkpoints:
        """Record that an epoch of a topic is gone, with `lost` trades of it unread; an empty append carries it."""
        commit_id = str(uuid.uuid4())

        def once(_: Try) -> Checkpoints:
            self._swap.load()
            checkpoints = checkpoints_of(self._swap.table)
            if TopicPartition(
                topic, epoch, RETIRED_PARTITION
            ) in checkpoints.by_partition and epoch not in checkpoints.epochs(topic):
                return checkpoints  # by another process, or by an earlier try whose answer was lost
            return self._swap.put([], checkpoints.retired(topic, epoch, lost), commit_id)

        retired = self._repeated(once, GIVE_UP_AFTER_S)
        LOG.info("retired an epoch", extra={"topic": topic, "epoch": epoch, "lost": lost})
        return retired


def _fit(files: list[DataFile] | None, offer: Offer, state: TableState, fields: int) -> bool:
    """Whether the files of an offer can be filed under the spec that it names, where that is the table's."""
    return files is not None and (offer.layout != state.layout or all(len(file.partition) == fields for file in files))
