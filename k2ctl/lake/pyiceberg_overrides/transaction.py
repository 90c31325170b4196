"""A transaction that copies no metadata and states what it relies on; and updates for which there is no API."""

from collections.abc import Collection
from typing import Any, Final

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update import (
    AssertCurrentSchemaId,
    AssertDefaultSpecId,
    AssertRefSnapshotId,
    RemoveSnapshotsUpdate,
    SetSnapshotRefUpdate,
    _apply_table_update,
    _TableMetadataUpdateContext,
)
from pyiceberg.table.update.snapshot import _OverwriteFiles
from pyiceberg.typedef import EMPTY_DICT

from k2ctl.errors import first_line
from k2ctl.lake.pyiceberg_overrides import encoder  # noqa: F401  # of the manifests that a transaction writes


class QuickTransaction(Transaction):
    """`with QuickTransaction(table) as tx:` commits at the end of the block, once, without retries of its own.

    `Transaction.table_metadata` applies all staged updates to a deep copy of the metadata at every access, some
    seventeen times per commit: 88 % of a commit's time on a table with 150 snapshots. The staged metadata changes only
    when updates are added, so it is kept until then; it is only read, so it shares what is not updated.

    The files of a commit are written for the schema and the spec of the loaded table: where these have changed, it is
    a conflict.
    """

    def __init__(self, table: Table) -> None:
        # pyiceberg's own retry would append a zombie's rows to fresh metadata without comparing offsets.
        if table.metadata.properties.get("commit.retry.num-retries") != "0":
            properties = {**table.metadata.properties, "commit.retry.num-retries": "0"}
            table.metadata = table.metadata.model_copy(update={"properties": properties})
        super().__init__(table)
        self._staged: tuple[Any, TableMetadata] | None = None
        self._requirements = (
            *self._requirements,
            AssertCurrentSchemaId.model_validate({"current-schema-id": table.metadata.current_schema_id}),
            AssertDefaultSpecId.model_validate({"default-spec-id": table.metadata.default_spec_id}),
        )

    @property
    def table_metadata(self) -> TableMetadata:
        if not self._updates:
            return self._table.metadata
        if self._staged is None or self._staged[0] is not self._updates:
            metadata, context = self._table.metadata, _TableMetadataUpdateContext()
            for update in self._updates:
                metadata = _apply_table_update(update, metadata, context)
            self._staged = (self._updates, metadata)
        return self._staged[1]

    def commit_transaction(self) -> Table:
        """Commit what is staged.

        Raises:
            CommitFailedException: another was first; also where it has dropped a snapshot that is to be dropped here.
        """
        try:
            return super().commit_transaction()
        except ValueError as error:
            if any(isinstance(update, RemoveSnapshotsUpdate) for update in self._updates):
                raise CommitFailedException(f"Another expiry was first: {first_line(error)}") from error
            raise


def stage_removal(transaction: Transaction, snapshot_ids: Collection[int]) -> None:
    """Add the removal of snapshots to a transaction."""
    transaction._stage((RemoveSnapshotsUpdate.model_validate({"snapshot-ids": list(snapshot_ids)}),))


class ReplacedFiles(_OverwriteFiles):
    """Files that take the place of others and hold the same rows: a snapshot of the operation `replace`.

    Readers that follow a table by increments pass over it; at an `overwrite` Spark's and Flink's streams stop.
    """

    def __init__(self, transaction: Transaction, summary: dict[str, str]) -> None:
        super().__init__(Operation.OVERWRITE, transaction, transaction._table.io, snapshot_properties=summary)

    def _summary(self, snapshot_properties: dict[str, str] = EMPTY_DICT) -> Summary:
        """pyiceberg adds up totals for other operations only."""
        return super()._summary(snapshot_properties).model_copy(update={"operation": Operation.REPLACE})


FOREVER_MS: Final = 2**63 - 1
"""The age up to which a tag stays; without one, a property that others may set decides."""


def stage_tag(transaction: Transaction, name: str, snapshot_id: int) -> None:
    """Move a tag, or make it, in a transaction. One that adds no snapshot is refused if the tag has moved meanwhile."""
    ref = transaction.table_metadata.refs.get(name)
    stands = {"ref": name, "snapshot-id": ref.snapshot_id if ref else None}
    tag = {"ref-name": name, "type": "tag", "snapshot-id": snapshot_id, "max-ref-age-ms": FOREVER_MS}
    # pyiceberg keeps one requirement of a kind: of a transaction that adds a snapshot it is that of the branch.
    transaction._stage((SetSnapshotRefUpdate.model_validate(tag),), (AssertRefSnapshotId.model_validate(stands),))
