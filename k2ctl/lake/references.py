"""The table `market_data.reference`: the newest reference data of each symbol, replaced as a whole.

It is small and derived: every writer stores the newest entry of each symbol, so the next write mends what a second
writer, a repeated write or a conflict has left.
"""

import hashlib
import logging
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.table.snapshots import Snapshot

from k2ctl.clock import SystemClock
from k2ctl.domain.decimals import to_arrow
from k2ctl.domain.rows import reference_schema, texts
from k2ctl.domain.topics import REFERENCE_TABLE
from k2ctl.domain.trade import ASSET_CLASSES
from k2ctl.errors import LakeError, first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention, Try, commit_optimistically
from k2ctl.lake.files import delete_files, write_file
from k2ctl.lake.opened import check_writable
from k2ctl.lake.pyiceberg_overrides.transaction import QuickTransaction
from k2ctl.lake.scan import TableScan

LOG: Final = logging.getLogger("k2ctl.lake")

RETENTION: Final = SnapshotRetention(10, 0, 0)

_CONTENT: Final = "k2.reference-entries"
"""In the summary of a snapshot: a digest of its entries, in the order of their symbols."""


def store_references(lake: Lake, entries: np.ndarray, now_us: int) -> bool:
    """Replace the table's rows by `entries` (dtype `REFERENCE.message`), one of a symbol; False when it could not.

    Nothing is written where the last snapshot is of the same entries: each consumer stores them as it begins.
    """
    content = hashlib.blake2b(np.sort(entries, order="symbol").tobytes(), digest_size=16).hexdigest()

    def once(_: Try) -> None:
        table = lake.ensure(REFERENCE_TABLE, pyarrow_to_schema(reference_schema()))
        check_writable(REFERENCE_TABLE, table)
        if _content_of(table.metadata.current_snapshot()) == content:
            return
        written = write_file(table, _columns(entries))
        try:
            with QuickTransaction(table) as transaction:
                with transaction.update_snapshot({_CONTENT: content}).overwrite() as overwrite:
                    for file in TableScan.newest(table).files():
                        overwrite.delete_data_file(file)
                    overwrite.append_data_file(written)
                RETENTION.stage(transaction, now_us // 1000)
        except CommitFailedException:
            delete_files(table, [written])
            raise

    try:
        # Once: who follows the topic calls again in a few seconds.
        commit_optimistically(once, what="Reference data", hint="", clock=SystemClock(), within_s=0.0)
    except LakeError as error:
        LOG.warning("reference data is not stored and is tried again", extra={"error": first_line(error)})
        return False
    return True


def _content_of(snapshot: Snapshot | None) -> str | None:
    return (
        None if snapshot is None or snapshot.summary is None else snapshot.summary.additional_properties.get(_CONTENT)
    )


def reference_symbols(lake: Lake) -> set[str]:
    """The symbols of the reference table; none before a consumer has made it."""
    table = lake.find_table(REFERENCE_TABLE)
    if table is None:
        return set()
    scan = TableScan.newest(table)
    return {symbol for file in scan.listed() for symbol in scan.read(file, ["symbol"]).column(0).to_pylist()}


def _columns(entries: np.ndarray) -> pa.Table:
    columns: dict[str, Any] = {
        "symbol": texts(entries["symbol"]),
        "exchange": texts(entries["exchange"]),
        "asset_class": pa.array([ASSET_CLASSES[code] for code in entries["asset_class"].tolist()]),
        "currency": texts(entries["currency"]),
        "sector": texts(entries["sector"]),
        "tick_size": to_arrow(entries["tick_size"]),
        "lot_size": to_arrow(entries["lot_size"]),
        "tier": pa.array(entries["tier"].astype(np.int32)),
        "timestamp": pa.array(entries["timestamp_ns"] // 1000).cast(pa.timestamp("us", "UTC")),
    }
    schema = pa.schema([field.with_type(columns[field.name].type) for field in reference_schema()])
    return pa.table([columns[name] for name in schema.names], schema=schema)
