"""The sequence numbers that the table holds, hour by hour in exchange time: what a gap report is made of."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table

from k2ctl.domain.rows import HOUR_US
from k2ctl.errors import LakeError, first_line
from k2ctl.lake.live_files import LiveFile, by_stretch, live_files
from k2ctl.lake.named import open_named
from k2ctl.lake.snapshots import Pinned
from k2ctl.lake.stored import Listed

SEQUENCED_COLUMNS: Final = (
    "exchange", "symbol", "source_sequence", "timestamp", "ingestion_timestamp", "kafka_topic", "kafka_partition",
)  # fmt: skip


def sequenced_rows(
    pinned: Pinned,
    symbols: Sequence[str] | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
) -> Iterator[pa.Table]:
    """A snapshot's rows hour by hour, oldest first, by exchange time; columns `SEQUENCED_COLUMNS`, texts as they are.

    symbols: only theirs; since_us, until_us: only those of an exchange time in [since, until). An hour's columns are in
    memory at once: some 50 bytes a row.

    Raises:
        LakeError: a data file is gone or damaged.
    """
    snapshot = None if pinned.snapshot_id is None else pinned.table.snapshot_by_id(pinned.snapshot_id)
    for files in by_stretch(live_files(pinned.table, snapshot)):
        before = since_us is not None and (max(file.last_hour for file in files) + 1) * HOUR_US <= since_us
        after = until_us is not None and min(file.hour for file in files) * HOUR_US >= until_us
        if before or after:
            continue
        rows = pa.concat_tables([_read(pinned.table, file, symbols) for file in files]).unify_dictionaries()
        times = rows["timestamp"].cast(pa.int64()).to_numpy()
        wanted = np.ones(len(rows), np.bool_)
        if since_us is not None:
            wanted &= times >= since_us
        if until_us is not None:
            wanted &= times < until_us
        order = np.argsort(times, kind="stable")
        order = order[wanted[order]]
        if len(order):
            yield rows.take(pa.array(order)).combine_chunks()


def _read(table: Table, file: LiveFile, symbols: Sequence[str] | None) -> pa.Table:
    try:
        with open_named(table, Listed.of(file.file), SEQUENCED_COLUMNS, ["kafka_topic"]) as opened:
            rows = opened.read()
    except OSError as error:
        raise LakeError(
            f"A data file of the table cannot be read: {file.path}: {first_line(error)}", "See: k2ctl doctor"
        ) from error
    return rows if symbols is None else rows.filter(pc.field("symbol").isin(list(symbols)))
