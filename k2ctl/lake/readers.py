"""What other rooms read of the table's rows, each a short scan: recent rows, trades, identities, rows of others."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import AlwaysFalse, BooleanExpression
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from k2ctl.domain.checkpoint import SUMMARY_COMMIT_ID, SUMMARY_COMPACTION_ID
from k2ctl.domain.rows import HOUR_US, TRADE_COLUMNS, Rows, arrow_schema, identity_numbers, trades_of
from k2ctl.errors import DamagedFile, LakeError, LakeUnanswered
from k2ctl.lake.data_files import Listed, reading
from k2ctl.lake.live_files import by_stretch, live_files_of
from k2ctl.lake.scan import EXPRESSIONS, TableScan, instant
from k2ctl.lake.seal import SEAL_END, length_of_seal
from k2ctl.lake.snapshots import Pinned

RECENT_COLUMNS: Final = (
    "message_id", "exchange", "symbol", "source_sequence", "timestamp",
    "ingestion_timestamp", "kafka_topic", "kafka_partition", "kafka_epoch", "kafka_offset",
)  # fmt: skip
SEQUENCED_COLUMNS: Final = (
    "exchange", "symbol", "source_sequence", "timestamp", "ingestion_timestamp", "kafka_topic", "kafka_partition",
)  # fmt: skip
_RECENT_TEXTS: Final = ("symbol", "exchange", "kafka_epoch")
_RECENT_ROWS: Final = 500_000

_WHOLE_COLUMNS: Final = (*TRADE_COLUMNS, "kafka_topic", "kafka_offset", "kafka_index")
WHOLE_TEXTS: Final = ("symbol", "exchange", "asset_class", "currency", "side", "action", "kafka_topic")
WHOLE_ROWS: Final = 200_000

_PLACED_COLUMNS: Final = (*_WHOLE_COLUMNS, "kafka_epoch", "kafka_partition")
_PLACED_TEXTS: Final = (*WHOLE_TEXTS, "kafka_epoch")

_IDENTITY_COLUMNS: Final = ("kafka_topic", "kafka_epoch", "kafka_partition", "kafka_offset", "kafka_index")


def recent_rows(table: Table, since_us: int, topic: str, partitions: Collection[int]) -> Iterator[pa.Table]:
    """The rows of some partitions ingested or traded at or after `since_us`, files with the lowest offsets first.

    Batches keep the order of their files: by symbol, and each symbol's by time. Files are pruned by their statistics;
    the columns are `RECENT_COLUMNS`, texts dictionary-encoded. A consumer rebuilds its state from these rows, so a row
    that another program deleted counts as stored.
    """
    if not partitions:
        return
    since = (EXPRESSIONS.GreaterThanOrEqual(name, instant(since_us)) for name in ("ingestion_timestamp", "timestamp"))
    wanted = EXPRESSIONS.And(EXPRESSIONS.Or(*since), EXPRESSIONS.In("kafka_partition", sorted(partitions)))
    scan = TableScan.newest(table, wanted, deletes_ignored=True)
    offset_field = table.metadata.schema().find_field("kafka_offset").field_id
    earliest = pa.scalar(since_us, pa.timestamp("us", "UTC"))
    for columns in _of_partitions(
        scan, sorted(scan.files(), key=lambda file: _lowest(file, offset_field)), topic, partitions
    ):
        ingested, traded = columns["ingestion_timestamp"], columns["timestamp"]
        yield columns.filter(pc.or_(pc.greater_equal(ingested, earliest), pc.greater_equal(traded, earliest)))


def rows_in(table: Table) -> int:
    """How many rows the newest snapshot has, of all topics."""
    snapshot = table.metadata.current_snapshot()
    summary = snapshot.summary if snapshot else None
    return int(summary.additional_properties.get("total-records", "0")) if summary else 0


def rows_stored_after(
    table: Table, sequence_number: int, topic: str, partitions: Collection[int]
) -> Iterator[pa.Table]:
    """The rows of some partitions that came with commits after one, by its sequence number, in batches.

    A file that a compaction has written since counts as new, whatever the age of its rows: too much, never too little.
    """
    scan = TableScan.newest(table, deletes_ignored=True)
    files = (entry.data_file for entry in scan.all_entries(after=sequence_number))
    yield from _of_partitions(scan, files, topic, partitions)


def _of_partitions(
    scan: TableScan, files: Iterable[DataFile], topic: str, partitions: Collection[int]
) -> Iterator[pa.Table]:
    """The recent columns of some files, of some partitions of a topic, in batches: a file may hold a whole hour."""
    numbers = pa.array(sorted(partitions), pa.int32())
    for file in files:
        for batch in scan.batches(file, RECENT_COLUMNS, _RECENT_TEXTS, _RECENT_ROWS):
            columns = pa.table(batch)
            ours = pc.and_(pc.is_in(columns["kafka_partition"], numbers), pc.equal(columns["kafka_topic"], topic))
            yield columns.filter(ours)


def _lowest(file: DataFile, field_id: int) -> int:
    bounds = file.lower_bounds or {}
    return int.from_bytes(bounds.get(field_id, b""), "little", signed=True)


@dataclass(frozen=True)
class Placed:
    """n trades (dtype `TRADE.message`) and int64[n], a number that grows with the place in the partition's log."""

    trades: np.ndarray
    place: np.ndarray


Damage = Callable[[str, str], object]
"""Called with the path of a data file that is damaged or gone, and what is known of that."""


def stored_trades(
    pinned: Pinned, topic: str, symbols: Sequence[str] | None, damage: Damage | None = None
) -> Iterator[Placed]:
    """The rows of a topic as trades, of some symbols (None: all); some 400 bytes a row of one batch are in memory.

    damage: is called for each data file that is damaged or gone, whose remaining rows are left out.

    Raises:
        LakeError: a data file cannot be read; one that is gone or damaged only if `damage` is None.
    """
    scan = pinned.scan(symbols)
    for file in scan.listed():
        for batch in batches_but_damaged(scan, file, _WHOLE_COLUMNS, WHOLE_TEXTS, WHOLE_ROWS, damage):
            wanted = pc.equal(batch["kafka_topic"], topic)
            if symbols is not None:
                wanted = pc.and_(wanted, pc.is_in(batch["symbol"], pa.array(list(symbols))))
            rows = batch.filter(wanted)
            places = identity_numbers(rows["kafka_offset"].to_numpy(), rows["kafka_index"].to_numpy())
            yield Placed(trades_of(rows), places)


def batches_but_damaged(
    scan: TableScan, file: Listed, names: Sequence[str], texts: Sequence[str], rows: int, damage: Damage | None
) -> Iterator[pa.RecordBatch]:
    """`TableScan.batches`; where the file is damaged or gone, `damage` is called and the batches end."""
    try:
        yield from scan.batches(file, names, texts, rows)
    except LakeError as error:
        known = isinstance(error, DamagedFile) or isinstance(error.__cause__, FileNotFoundError)
        if damage is None or not known:
            raise
        damage(file.path, str(error))


def stored_identities(
    table: Table, topic: str, epoch: str, ranges: Mapping[int, tuple[int, int]]
) -> dict[int, np.ndarray]:
    """Partition → int64[n], sorted: `identity_numbers` of the rows from its offsets [start, end) that the table holds.

    Backfill leaves these out. Every file that may hold some is read once, whatever the number of partitions. A row that
    another program deleted counts as held, see `opened`.
    """
    found: dict[int, list[np.ndarray]] = {partition: [] for partition in ranges}
    if ranges:
        scan = TableScan.newest(table, _pruned(ranges), deletes_ignored=True)
        for file in scan.files():
            rows = scan.read(file, _IDENTITY_COLUMNS).filter(_any_of(ranges))
            same_topic, same_epoch = pc.equal(rows["kafka_topic"], topic), pc.equal(rows["kafka_epoch"], epoch)
            ours = rows.filter(pc.and_(same_topic, same_epoch))
            numbers = identity_numbers(ours["kafka_offset"].to_numpy(), ours["kafka_index"].to_numpy())
            of_partition = ours["kafka_partition"].to_numpy()
            for partition, parts in found.items():
                parts.append(numbers[of_partition == partition])
    none = np.zeros(0, np.int64)
    return {partition: np.unique(np.concatenate([none, *parts])) for partition, parts in found.items()}


def stored_between(
    pinned: Pinned, topic: str, epoch: str, ranges: Mapping[int, tuple[int, int]], damage: Damage
) -> Iterator[Rows]:
    """The rows of a snapshot that came from some partitions' offsets [start, end); as `stored_trades`."""
    scan = replace(pinned.scan(), where=_pruned(ranges))
    for file in scan.listed() if ranges and scan.snapshot else ():
        for batch in batches_but_damaged(scan, file, _PLACED_COLUMNS, _PLACED_TEXTS, WHOLE_ROWS, damage):
            ours = pc.and_(pc.equal(batch["kafka_topic"], topic), pc.equal(batch["kafka_epoch"], epoch))
            for part in pa.Table.from_batches([batch.filter(ours)]).filter(_any_of(ranges)).to_batches():
                places = (part[name].to_numpy() for name in ("kafka_partition", "kafka_offset", "kafka_index"))
                yield Rows.of(topic, epoch, trades_of(part), *places)


def _pruned(ranges: Mapping[int, tuple[int, int]]) -> BooleanExpression:
    wanted: BooleanExpression = AlwaysFalse()
    for partition, (start, end) in ranges.items():
        inside = EXPRESSIONS.And(
            EXPRESSIONS.EqualTo("kafka_partition", partition),
            EXPRESSIONS.GreaterThanOrEqual("kafka_offset", start),
            EXPRESSIONS.LessThan("kafka_offset", end),
        )
        wanted = EXPRESSIONS.Or(wanted, inside)
    return wanted


def _any_of(ranges: Mapping[int, tuple[int, int]]) -> pc.Expression:
    wanted: pc.Expression = pc.scalar(False)
    for partition, (start, end) in ranges.items():
        inside = (pc.field("kafka_offset") >= start) & (pc.field("kafka_offset") < end)
        wanted = wanted | ((pc.field("kafka_partition") == partition) & inside)
    return wanted


def sequenced_rows(
    pinned: Pinned,
    symbols: Sequence[str] | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    *,
    with_ids: bool = False,
) -> Iterator[pa.Table]:
    """A snapshot's rows hour by hour, oldest first, by exchange time; columns `SEQUENCED_COLUMNS`, and message_id.

    symbols: only theirs; since_us, until_us: only those of an exchange time in [since, until). An hour's columns are in
    memory at once: some 50 bytes a row.

    Raises:
        LakeError: a data file is gone or damaged.
    """
    scan, columns = pinned.scan(), (*SEQUENCED_COLUMNS, *(("message_id",) if with_ids else ()))
    for files in by_stretch(live_files_of(scan)):
        before = since_us is not None and (max(file.last_hour for file in files) + 1) * HOUR_US <= since_us
        after = until_us is not None and min(file.hour for file in files) * HOUR_US >= until_us
        if before or after:
            continue
        read = [scan.read(file.file, columns, ("kafka_topic",)) for file in files]
        if symbols is not None:
            read = [rows.filter(pc.field("symbol").isin(list(symbols))) for rows in read]
        rows = pa.concat_tables(read).unify_dictionaries()
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


_AT_ONCE: Final = 16
_TEXTS: Final = (*WHOLE_TEXTS, "kafka_epoch", "sector")


def rows_of_others(pinned: Pinned, damage: Damage) -> Iterator[pa.RecordBatch]:
    """The rows of these files, with all columns of k2ctl's. damage: as of `readers.stored_trades`."""
    scan = pinned.scan()
    for file in _files_of_others(pinned):
        yield from batches_but_damaged(scan, file, arrow_schema().names, _TEXTS, WHOLE_ROWS, damage)


def _files_of_others(pinned: Pinned) -> list[Listed]:
    """Data files that were added by a snapshot without k2ctl's mark; of expired snapshots, those without its seal."""
    snapshots = {found.snapshot_id: found for found in pinned.table.metadata.snapshots}
    others, unknown = [], []
    for entry in pinned.scan().all_entries():
        added_by = snapshots.get(entry.snapshot_id or -1)
        if added_by is None:
            unknown.append(Listed.of(entry.data_file))
        elif not _is_ours(added_by):
            others.append(Listed.of(entry.data_file))
    with ThreadPoolExecutor(_AT_ONCE, "k2-seals") as pool:
        sealed = list(pool.map(lambda file: _has_seal(pinned.table.io, file), unknown))
    return others + [file for file, is_sealed in zip(unknown, sealed, strict=True) if not is_sealed]


def _is_ours(snapshot: Snapshot) -> bool:
    properties = snapshot.summary.additional_properties if snapshot.summary else {}
    return SUMMARY_COMMIT_ID in properties or SUMMARY_COMPACTION_ID in properties


def _has_seal(io: FileIO, file: Listed) -> bool:
    try:
        with reading(file.path), io.new_input(file.path).open() as stream:
            stream.seek(max(0, file.bytes - SEAL_END))
            return length_of_seal(stream.read(SEAL_END)) is not None
    except LakeUnanswered as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return True  # the reader of its rows reports that it is gone
        raise
