"""The table as it was at one moment: a snapshot and the offsets that belong to it, from one metadata file."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pyiceberg import expressions
from pyiceberg.expressions import BooleanExpression
from pyiceberg.table import ALWAYS_TRUE, Table

from k2ctl.errors import LakeError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.heads import Progress
from k2ctl.lake.progress import progress_of

_EXPRESSIONS: Final[Any] = expressions
"""Untyped: the constructors take a column's name, which pydantic's generated signatures do not know."""


@dataclass(frozen=True)
class Pinned:
    """A snapshot to read from while the table moves on.

    snapshot_id: None for a table without a commit. committed_at_us: when that commit was made. rows: how many
    the whole snapshot holds. progress: the offsets up to which those rows came from Kafka.
    """

    table: Table
    snapshot_id: int | None
    committed_at_us: int | None
    rows: int
    progress: Progress

    def files(
        self, symbols: Sequence[str] | None = None, since_us: int | None = None, until_us: int | None = None
    ) -> list[str]:
        """Paths of the data files that may hold trades of `symbols` (None: any) in [since_us, until_us).

        Raises:
            LakeError: the snapshot has delete files, which K2 never writes and this scan would not apply.
        """
        if self.snapshot_id is None:
            return []
        tasks = list(self.table.scan(_filter(symbols, since_us, until_us), snapshot_id=self.snapshot_id).plan_files())
        if any(task.delete_files for task in tasks):
            raise LakeError(
                "The table has delete files, which K2 does not write; their deletes would not be applied.",
                "Rewrite the table without them (rewrite_data_files in Spark), then ask again.",
            )
        return [task.file.file_path for task in tasks]


def pin(lake: Lake) -> Pinned | None:
    """The table's current snapshot and offsets; None before the first consumer has made the table.

    Raises:
        LakeError: the offsets do not belong to the snapshot, or the catalog does not answer.
    """
    table = lake.find_table()
    if table is None:
        return None
    snapshot = table.metadata.current_snapshot()
    progress = progress_of(table)
    if snapshot is None:
        return Pinned(table, None, None, 0, progress)
    summary = snapshot.summary.additional_properties if snapshot.summary else {}
    rows = int(summary.get("total-records", "0"))
    return Pinned(table, snapshot.snapshot_id, snapshot.timestamp_ms * 1000, rows, progress)


def _filter(symbols: Sequence[str] | None, since_us: int | None, until_us: int | None) -> BooleanExpression:
    """What Iceberg prunes partitions and files by. Files are read with the exact filter afterwards."""
    wanted: BooleanExpression = ALWAYS_TRUE
    if symbols is not None:
        wanted = _EXPRESSIONS.And(wanted, _EXPRESSIONS.In("symbol", list(symbols)))
    if since_us is not None:
        wanted = _EXPRESSIONS.And(wanted, _EXPRESSIONS.GreaterThanOrEqual("timestamp", _instant(since_us)))
    if until_us is not None:
        wanted = _EXPRESSIONS.And(wanted, _EXPRESSIONS.LessThan("timestamp", _instant(until_us)))
    return wanted


def _instant(microseconds: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)).isoformat()
