"""The table's metadata, kept in memory: a pin costs one query of the catalog, and a plan reads no file.

Manifests never change once written, so each is read once; of a new snapshot mostly one is new.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table
from pyiceberg.types import TimestamptzType
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from k2ctl.domain.topics import TABLE
from k2ctl.errors import LakeUnanswered, first_line
from k2ctl.lake.catalog import CATALOG_NAME, Lake
from k2ctl.lake.columns import NO_COLUMNS, Columns
from k2ctl.lake.data_files import Listed
from k2ctl.lake.pyiceberg_overrides import TABLE_ROWS
from k2ctl.lake.scan import TableScan
from k2ctl.lake.snapshots import Pinned, ScanPlan, pinned_of

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
        namespace, _, name = TABLE.rpartition(".")
        wanted = select(TABLE_ROWS.metadata_location).where(
            TABLE_ROWS.catalog_name == CATALOG_NAME,
            TABLE_ROWS.table_namespace == namespace,
            TABLE_ROWS.table_name == name,
        )
        try:
            with self._lake.catalog.engine.connect() as connection:
                return connection.scalar(wanted)
        except SQLAlchemyError as error:
            raise LakeUnanswered(
                f"The catalog does not answer: {first_line(error)}", "See: k2ctl stack status"
            ) from error

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
    symbol, timestamp = (scan.table.metadata.schema().find_field(name) for name in ("symbol", "timestamp"))
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
            )
        )
    return files
