"""One atomic change of the table: files, offsets, counts and ledger together, and what rides along."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import SUMMARY_COMMIT_ID, Checkpoints
from k2ctl.domain.corrected_symbols import CORRECTED_PROPERTY, with_symbols
from k2ctl.domain.offers import Choice, TableState, feeds_of
from k2ctl.domain.recorded_feeds import FEEDS_PROPERTY, with_feeds
from k2ctl.lake.catalog import KEYS_LAST_S, Lake, require_kept
from k2ctl.lake.checkpoints import checkpoints_of, is_in_history, offers_summary
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.files import layout_of
from k2ctl.lake.ledger_files import LedgerFiles
from k2ctl.lake.opened import check_writable
from k2ctl.lake.pyiceberg_overrides.transaction import QuickTransaction
from k2ctl.lake.second_copy import write_offsets

EXPIRE_EVERY: Final = 20
"""Every twentieth commit drops snapshots too, so that expiry needs no commit of its own."""

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class TableSwap:
    """The table as it was loaded last, and its change. Not thread-safe."""

    def __init__(self, lake: Lake, clock: Clock, retention: SnapshotRetention | None) -> None:
        self._lake = lake
        self._clock = clock
        self._retention = retention
        self._ledger_files = LedgerFiles(clock)
        self._commits = 0
        self.table: Table = lake.ensure_table()
        check_writable(lake.name, self.table)
        self._loaded_s = clock.monotonic_s()

    def load(self) -> None:
        """Load the table fresh.

        Raises:
            LakeError: the catalog does not answer, or the table cannot take our rows.
        """
        self.table = self._lake.table()
        self._loaded_s = self._clock.monotonic_s()
        check_writable(self._lake.name, self.table)

    def load_if_old(self) -> None:
        """Load the table where its keys for the store may end. Raises: as `load`."""
        if self._clock.monotonic_s() - self._loaded_s > KEYS_LAST_S:
            self.load()

    def state(self) -> TableState:
        """What offers are compared with."""
        return TableState(str(self.table.metadata.table_uuid), layout_of(self.table), checkpoints_of(self.table))

    def snapshot_id(self) -> int | None:
        """The current snapshot; None before the first."""
        snapshot = self.table.metadata.current_snapshot()
        return snapshot.snapshot_id if snapshot else None

    def take(self, files: Iterable[DataFile], choice: Choice) -> Checkpoints:
        """Commit what was chosen from the loaded table, with its files; returns the checkpoints after it.

        The commit of one offer has the id of the offer.
        """
        ids, recorded = [offer.id for offer in choice.taken], self.table.metadata.properties
        commit_id = ids[0] if len(ids) == 1 else str(uuid.uuid4())
        corrected = frozenset[bytes]().union(*(offer.corrected for offer in choice.taken))
        properties = {
            FEEDS_PROPERTY: with_feeds(recorded.get(FEEDS_PROPERTY), feeds_of(choice.taken)),
            CORRECTED_PROPERTY: with_symbols(recorded.get(CORRECTED_PROPERTY), corrected) if corrected else None,
        }
        changed = {name: text for name, text in properties.items() if text is not None}
        return self.put(files, choice.checkpoints, commit_id, changed, offers_summary(commit_id, ids))

    def put(
        self,
        files: Iterable[DataFile],
        checkpoints: Checkpoints,
        commit_id: str,
        properties: Mapping[str, str] = _NOTHING,
        summary: Mapping[str, str] = _NOTHING,
    ) -> Checkpoints:
        """One snapshot with the files, and properties with offsets and ledger, in one atomic change.

        What a REST service confirms is read back. checkpoints: after it, but for commit id and sequence number.
        """
        number = self.table.metadata.next_sequence_number()
        after = replace(checkpoints, commit_id=commit_id, sequence_number=number)
        offsets = write_offsets(self.table, after)
        self._ledger_files.written(offsets.ledger_file)
        with QuickTransaction(self.table) as transaction:
            with transaction.update_snapshot(
                snapshot_properties={SUMMARY_COMMIT_ID: commit_id, **summary, **offsets.summary}
            ).merge_append() as append:
                for file in files:
                    append.append_data_file(file)
            offsets.stage(transaction, properties)
            self._commits += 1
            if self._retention is not None and self._commits % EXPIRE_EVERY == 0:
                self._retention.stage(transaction, self._clock.now_us() // 1000)
        require_kept(self._lake, f"commit {commit_id}", lambda table: is_in_history(table, commit_id))
        self._ledger_files.named(self.table, offsets.ledger_file)
        return after
