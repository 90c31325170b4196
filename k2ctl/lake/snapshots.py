"""The table as it was at one moment: a snapshot and the offsets that belong to it, from one metadata file.

`TableFollower` keeps the metadata in memory for many readers: a pin costs one query of the catalog, and a plan reads no
file. Manifests never change once written, so each is read once; of a new snapshot mostly one is new.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pyarrow as pa
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import TimestamptzType

from k2ctl.domain.checkpoint import SUMMARY_COMMIT_ID, Checkpoints
from k2ctl.domain.corrected_symbols import CORRECTED_PROPERTY, may_be_corrected
from k2ctl.domain.rows import reference_schema
from k2ctl.domain.topics import REFERENCE_TABLE
from k2ctl.errors import LakeError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import ancestors, checkpoints_of
from k2ctl.lake.columns import NO_COLUMNS, Columns, our_columns
from k2ctl.lake.data_files import Listed, checked
from k2ctl.lake.scan import EXPRESSIONS, TableScan, trades_between

_COUNTED: Final = {
    "rows": "total-records",
    "added_rows": "added-records",
    "files": "total-data-files",
    "bytes": "total-files-size",
}
"""Columns of `snapshots` from Iceberg's summary."""


@dataclass(frozen=True)
class ScanPlan:
    """The data files that a query has to read."""

    files: tuple[Listed, ...]
    # How many files the snapshot has, and their bytes.
    of_files: int
    of_bytes: int
    # What is read of the files, by field id.
    columns: Columns = NO_COLUMNS

    @property
    def paths(self) -> list[str]:
        return [file.path for file in self.files]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


NOTHING: Final = ScanPlan((), 0, 0)


@dataclass(frozen=True)
class Pinned:
    """A snapshot to read from while the table moves on."""

    table: Table
    # None for a table without a commit.
    snapshot_id: int | None
    # When that commit was made.
    committed_at_us: int | None
    # How many rows the whole snapshot holds.
    rows: int
    # The offsets up to which those rows came from Kafka.
    checkpoints: Checkpoints

    def scan(
        self, symbols: Sequence[str] | None = None, since_us: int | None = None, until_us: int | None = None
    ) -> TableScan:
        """A scan of the snapshot, pruned to trades of `symbols` (None: any) in [since_us, until_us)."""
        snapshot = None if self.snapshot_id is None else self.table.snapshot_by_id(self.snapshot_id)
        return TableScan(self.table, snapshot, trades_between(symbols, since_us, until_us))

    def plan(
        self, symbols: Sequence[str] | None = None, since_us: int | None = None, until_us: int | None = None
    ) -> ScanPlan:
        """The data files that may hold such trades, and how many there are in all.

        Raises:
            LakeError: the snapshot has delete files, or its manifests cannot be read.
        """
        scan = self.scan(symbols, since_us, until_us)
        if scan.snapshot is None:
            return NOTHING
        files, totals = scan.listed(), _summary(scan.snapshot)
        return ScanPlan(
            files,
            int(totals.get("total-data-files", len(files))),
            int(totals.get("total-files-size", 0)),
            scan.columns(),
        )

    def intact(
        self, symbols: Sequence[str] | None = None, since_us: int | None = None, until_us: int | None = None
    ) -> ScanPlan:
        """`plan`, each file of it checked, for DuckDB, which reads them by path.

        Raises:
            LakeError: as `plan`. DamagedFile: a file is not what was written.
        """
        found = self.plan(symbols, since_us, until_us)
        checked(self.table.io, found.files)
        return found

    def events(self, symbols: Sequence[str] | None = None) -> ScanPlan:
        """The files that may hold corrections or cancellations of `symbols` (None: any), of whatever time; intact.

        Of a table without any that is known from a property, and nothing is read.

        Raises:
            LakeError: as `plan`. DamagedFile: a file is not what was written.
        """
        if not may_be_corrected(self.table.metadata.properties.get(CORRECTED_PROPERTY), symbols):
            return NOTHING
        found = self._plan_of_events(symbols)
        checked(self.table.io, found.files)
        return found

    def _plan_of_events(self, symbols: Sequence[str] | None) -> ScanPlan:
        scan = self.scan(symbols)
        if scan.snapshot is None:
            return NOTHING
        files = replace(scan, where=EXPRESSIONS.And(scan.where, EXPRESSIONS.NotNull("refers_to"))).listed()
        return ScanPlan(files, len(files), 0, scan.columns())

    def snapshots(self) -> pa.Table:
        """The snapshots that the table still has, oldest first: id, parent, commit time, operation, rows and files."""
        found = sorted(self.table.metadata.snapshots, key=lambda snapshot: snapshot.timestamp_ms)
        summaries = [_summary(snapshot) for snapshot in found]
        columns = {
            "snapshot_id": pa.array([snapshot.snapshot_id for snapshot in found], pa.int64()),
            "parent_id": pa.array([snapshot.parent_snapshot_id for snapshot in found], pa.int64()),
            "committed_at": pa.array([s.timestamp_ms * 1000 for s in found], pa.timestamp("us", "UTC")),
            "operation": pa.array([s.summary.operation.value if s.summary else None for s in found], pa.string()),
            "commit_id": pa.array([summary.get(SUMMARY_COMMIT_ID) for summary in summaries], pa.string()),
        }
        for name, key in _COUNTED.items():
            columns[name] = pa.array([_number(summary.get(key)) for summary in summaries], pa.int64())
        return pa.table(columns)


def pin(lake: Lake) -> Pinned | None:
    """The table's current snapshot and offsets; None before the first consumer has made the table.

    Raises:
        LakeError: the offsets do not belong to the snapshot, or the catalog does not answer.
    """
    table = lake.find_table()
    return None if table is None else pinned_of(table)


def pinned_of(table: Table) -> Pinned:
    """The current snapshot and offsets of loaded metadata."""
    snapshot = table.metadata.current_snapshot()
    checkpoints = checkpoints_of(table)
    if snapshot is None:
        return Pinned(table, None, None, 0, checkpoints)
    return _pinned(table, snapshot, checkpoints)


def _pinned(table: Table, snapshot: Snapshot, checkpoints: Checkpoints) -> Pinned:
    rows = int(_summary(snapshot).get("total-records", "0"))
    return Pinned(table, snapshot.snapshot_id, snapshot.timestamp_ms * 1000, rows, checkpoints)


def pin_as_of(lake: Lake, moment_us: int | None = None, snapshot_id: int | None = None) -> Pinned:
    """The table as it was at a time, or at a snapshot; its checkpoints are unknown, because only the newest are kept.

    Raises:
        LakeError: no snapshot of then is left, or there is none of that id.
    """
    table = lake.table()
    line = list(ancestors(table.metadata))
    if snapshot_id is not None:
        found = next((s for s in table.metadata.snapshots if s.snapshot_id == snapshot_id), None)
    else:
        found = next((s for s in line if s.timestamp_ms * 1000 <= (moment_us or 0)), None)
    if found is None:
        oldest = (
            f"{datetime.fromtimestamp(line[-1].timestamp_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC" if line else "none"
        )
        wanted = f"snapshot {snapshot_id}" if snapshot_id is not None else "that time"
        raise LakeError(
            f"The table has nothing of {wanted} any more, or never had: its oldest snapshot is of {oldest}.",
            'See what there is: k2ctl query sql "SELECT snapshot_id, committed_at FROM snapshots"',
        )
    return _pinned(table, found, Checkpoints())


def pin_snapshots(lake: Lake) -> Pinned:
    """The table for its list of snapshots: no rows, no offsets."""
    return Pinned(lake.table(), None, None, 0, Checkpoints())


def reference_plan(lake: Lake) -> ScanPlan:
    """The reference table's data files, intact; none before a consumer has made it."""
    table = lake.find_table(REFERENCE_TABLE)
    if table is None:
        return NOTHING
    files = TableScan.newest(table).listed()
    checked(table.io, files)
    return ScanPlan(files, len(files), sum(file.bytes for file in files), our_columns(table, reference_schema()))


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _summary(snapshot: Snapshot) -> Mapping[str, str]:
    return snapshot.summary.additional_properties if snapshot.summary else {}


_FIRST: Final = np.iinfo(np.int64).min
_LAST: Final = np.iinfo(np.int64).max


@dataclass(frozen=True)
class KeptFile:
    """What pruning asks of a data file; an unknown bound excludes nothing."""

    listed: Listed
    first_us: int
    last_us: int
    first_symbol: str
    last_symbol: str | None
    # Whether it may hold corrections or cancellations.
    events: bool = True


@dataclass(frozen=True)
class KeptPinned(Pinned):
    """A pin whose files are in memory."""

    kept: tuple[KeptFile, ...]
    columns: Columns = NO_COLUMNS

    def plan(
        self, symbols: Sequence[str] | None = None, since_us: int | None = None, until_us: int | None = None
    ) -> ScanPlan:
        met = [
            file
            for file in self.kept
            if (since_us is None or file.last_us >= since_us)
            and (until_us is None or file.first_us < until_us)
            and (symbols is None or any(_may_hold(file, symbol) for symbol in symbols))
        ]
        return ScanPlan(
            tuple(file.listed for file in met),
            len(self.kept),
            sum(file.listed.bytes for file in self.kept),
            self.columns,
        )

    def _plan_of_events(self, symbols: Sequence[str] | None) -> ScanPlan:
        return replace(self, kept=tuple(file for file in self.kept if file.events)).plan(symbols)


def _may_hold(file: KeptFile, symbol: str) -> bool:
    return file.first_symbol <= symbol and (file.last_symbol is None or symbol <= file.last_symbol)


class TableFollower:
    """Pins the newest snapshot for many readers; thread-safe."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._lock = threading.Lock()
        self._location = ""
        self._pinned: KeptPinned | None = None
        self._manifests: dict[str, list[KeptFile]] = {}

    def pin(self) -> Pinned | None:
        """The current snapshot and offsets, as `snapshots.pin`; the metadata is loaded only when it has changed.

        Raises:
            LakeError: see there.
        """
        location = self._current_location()
        if location is None:
            return self._reloaded()
        with self._lock:
            if location != self._location or self._pinned is None:
                return self._reloaded()
            return self._pinned

    def _reloaded(self) -> Pinned | None:
        table = self._lake.find_table()
        if table is None:
            return None
        self._pinned, self._location = self._kept(table), table.metadata_location
        return self._pinned

    def _current_location(self) -> str | None:
        with self._lake.answering():
            try:
                return self._lake.catalog.location_of(self._lake.name)
            except NoSuchTableError:
                return None

    def _kept(self, table: Table) -> KeptPinned:
        pinned = pinned_of(table)
        scan = TableScan.newest(table)
        files: list[KeptFile] = []
        known: dict[str, list[KeptFile]] = {}
        for manifest in scan.manifests():
            found = self._manifests.get(manifest.manifest_path)
            known[manifest.manifest_path] = found if found is not None else _read(scan, manifest)
            files += known[manifest.manifest_path]
        self._manifests = known
        return KeptPinned(
            pinned.table,
            pinned.snapshot_id,
            pinned.committed_at_us,
            pinned.rows,
            pinned.checkpoints,
            tuple(files),
            scan.columns(),
        )


def _read(scan: TableScan, manifest: ManifestFile) -> list[KeptFile]:
    """The live files of a manifest of data."""
    schema = scan.table.metadata.schema()
    symbol, timestamp, refers_to = (schema.find_field(name) for name in ("symbol", "timestamp", "refers_to"))
    files = []
    for entry in scan.entries(manifest):
        lower, upper = entry.data_file.lower_bounds or {}, entry.data_file.upper_bounds or {}
        times = [
            from_bytes(TimestamptzType(), bounds[timestamp.field_id]) if timestamp.field_id in bounds else None
            for bounds in (lower, upper)
        ]
        files.append(
            KeptFile(
                Listed.of(entry.data_file),
                _FIRST if times[0] is None else int(times[0]),
                _LAST if times[1] is None else int(times[1]),
                lower.get(symbol.field_id, b"").decode("utf-8", "replace"),
                upper[symbol.field_id].decode("utf-8", "replace") if symbol.field_id in upper else None,
                (entry.data_file.null_value_counts or {}).get(refers_to.field_id) != entry.data_file.record_count,
            )
        )
    return files
