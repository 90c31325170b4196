"""The peers' table, and any table of a run as pyiceberg sees it from outside."""

import contextlib
import sqlite3
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot
from pyiceberg.transforms import HourTransform
from pyiceberg.types import DecimalType, LongType, NestedField, StringType, TimestamptzType, UUIDType

from tests.peers.sending import Sent
from tests.peers.settings import COLUMNS

_PLACES = 8
_KINDS = {
    "message_id": UUIDType(),
    "trade_id": LongType(),
    "timestamp": TimestamptzType(),
    "ingestion_timestamp": TimestamptzType(),
    "price": DecimalType(18, _PLACES),
    "quantity": DecimalType(18, _PLACES),
    "source_sequence": LongType(),
}


@dataclass(frozen=True)
class Where:
    """A table in a SQLite catalog on local files."""

    folder: Path
    catalog: str = "peers"
    name: str = "bench.trades"

    @property
    def uri(self) -> str:
        """Of the catalog."""
        return f"sqlite:///{self.folder}/catalog.db"

    @property
    def warehouse(self) -> str:
        """The folder of tables, as a URI."""
        return f"file://{self.folder}/warehouse"

    def open(self) -> SqlCatalog:
        """The catalog."""
        return SqlCatalog(self.catalog, uri=self.uri, warehouse=self.warehouse)


def make_table(folder: Path, *, empty_catalog: bool = False) -> Where:
    """The 13 columns of a trade, by hour of `timestamp`. empty_catalog: without the table, for who makes its own."""
    (folder / "warehouse").mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(folder / "catalog.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    where = Where(folder)
    catalog = where.open()
    catalog.create_namespace("bench")
    if empty_catalog:
        return where
    fields = (
        NestedField(number, name, _KINDS.get(name, StringType()), required=False)
        for number, name in enumerate(COLUMNS, 1)
    )
    by_hour = PartitionSpec(PartitionField(COLUMNS.index("timestamp") + 1, 1000, HourTransform(), "timestamp_hour"))
    # none: without a shuffle by hour, which would put the whole of it on one of Spark's tasks
    properties = {"write.distribution-mode": "none", "write.spark.fanout.enabled": "true"}
    catalog.create_table(where.name, Schema(*fields), partition_spec=by_hour, properties=properties)
    return where


class SeenTable:
    """A table, and when each of its snapshots was first seen."""

    def __init__(self, where: Where, *, with_files: bool = False) -> None:
        self._catalog, self._name, self._with_files = where.open(), where.name, with_files
        self.first_seen_s: dict[int, float] = {}
        self.files_of: dict[int, list[str]] = {}
        # By the snapshots' own times.
        self.rows_at_s: list[tuple[float, int]] = []

    def table(self) -> Table:
        """As it is now."""
        return self._catalog.load_table(self._name)

    def look(self) -> int:
        """Rows now; notes the snapshots that are new."""
        try:
            table = self.table()
        except NoSuchTableError:
            return 0
        now_s = time.time()
        for snapshot in table.metadata.snapshots:
            if snapshot.snapshot_id in self.first_seen_s:
                continue
            self.first_seen_s[snapshot.snapshot_id] = now_s
            self.rows_at_s.append((snapshot.timestamp_ms / 1000, _rows(snapshot)))
            if self._with_files and snapshot.summary and snapshot.summary.operation == Operation.APPEND:
                self.files_of[snapshot.snapshot_id] = _added(table, snapshot)
        return _rows(table.current_snapshot())

    def committed_s(self, rows: int) -> float | None:
        """When it first had so many rows."""
        return min((at for at, total in self.rows_at_s if total >= rows), default=None)

    def compared(self, sent: Sent) -> dict[str, Any]:
        """Its rows with what was sent: counts, distinct ids, and the sums of price and quantity."""
        table, rows, ids = self.table(), 0, [np.zeros(0, "u8,u8")]
        sums = {"price": 0, "quantity": 0}
        for batch in table.scan(selected_fields=("message_id", *sums)).to_arrow_batch_reader():
            rows += len(batch)
            ids.append(_identities(batch["message_id"]))
            for name in sums:
                total = pc.sum(batch[name].cast(pa.decimal128(38, 12))).as_py()
                sums[name] += int(total.scaleb(12)) if total is not None else 0
        distinct = len(np.unique(np.concatenate(ids)))
        equal = sums == {"price": sent.price, "quantity": sent.quantity}
        return {"rows": rows, "distinct": distinct, "sent": sent.trades, "content_equal": equal}

    def size(self) -> tuple[int, int]:
        """Data files and their bytes."""
        snapshot = self.table().current_snapshot()
        assert snapshot is not None
        assert snapshot.summary is not None
        return int(snapshot.summary["total-data-files"]), int(snapshot.summary["total-files-size"])


def _rows(snapshot: Snapshot | None) -> int:
    return int(snapshot.summary["total-records"]) if snapshot is not None and snapshot.summary else 0


def _added(table: Table, snapshot: Snapshot) -> list[str]:
    return [
        entry.data_file.file_path
        for manifest in snapshot.manifests(table.io)
        if manifest.added_snapshot_id == snapshot.snapshot_id
        for entry in manifest.fetch_manifest_entry(table.io)
        if entry.snapshot_id == snapshot.snapshot_id and entry.status == ManifestEntryStatus.ADDED
    ]


def _identities(ids: pa.Array) -> np.ndarray:
    """Ids of 16 bytes as something that numpy sorts: two numbers each. Texts are read as UUIDs."""
    ids = ids.storage if isinstance(ids, pa.ExtensionArray) else ids
    if pa.types.is_fixed_size_binary(ids.type):
        raw = ids.buffers()[1].to_pybytes()[ids.offset * 16 : (ids.offset + len(ids)) * 16]
    else:
        raw = b"".join(uuid.UUID(text).bytes for text in ids.to_pylist())
    return np.frombuffer(raw, "u8,u8")
