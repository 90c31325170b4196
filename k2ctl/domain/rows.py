"""Rows on their way to the table: trades with the identity Kafka gave them, as numpy, and as Arrow for Parquet.

The Arrow schema here is the table's schema; the lake derives Iceberg's from it, so that both are declared once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.domain.columns import TradeColumns
from k2ctl.domain.conditions import CONDITIONS_TYPE, lists, packed
from k2ctl.domain.decimals import DECIMAL_TYPE, from_arrow, to_arrow
from k2ctl.domain.texts import Texts, codes_of, fixed_binary
from k2ctl.domain.trade import (
    ACTIONS,
    ASSET_CLASSES,
    NEW,
    NO_ID,
    NO_SEQUENCE,
    REFERENCE,
    SIDES,
    TRADE,
    WHOLE_TRADE,
    refer,
)

NOT_IN_REFERENCE: Final = -1
ENRICHMENT_SKIPPED: Final = -2
HOUR_US: Final = 3_600_000_000
HOUR_NS: Final = HOUR_US * 1000
SORTED_BY: Final = ("symbol", "timestamp", "timestamp_nanos")
"""The order of rows in a file."""


@cache
def arrow_schema() -> pa.Schema:
    """The columns of `market_data.trades`, in order; nullable only where a value may be absent.

    Each carries its Iceberg field id where Parquet looks for it, counted from 1.
    """
    decimal, instant = DECIMAL_TYPE, pa.timestamp("us", "UTC")
    required = [
        ("message_id", pa.uuid()),
        ("trade_id", pa.int64()),
        ("symbol", pa.string()),
        ("exchange", pa.string()),
        ("asset_class", pa.string()),
        ("timestamp", instant),
        ("timestamp_nanos", pa.int32()),
        ("ingestion_timestamp", instant),
        ("ingestion_timestamp_nanos", pa.int32()),
        ("price", decimal),
        ("quantity", decimal),
        ("currency", pa.string()),
        ("side", pa.string()),
        ("trade_conditions", CONDITIONS_TYPE),
        ("action", pa.string()),
    ]
    identity = [
        ("kafka_topic", pa.string()),
        ("kafka_epoch", pa.string()),
        ("kafka_partition", pa.int32()),
        ("kafka_offset", pa.int64()),
        ("kafka_index", pa.int32()),
    ]
    optional = [
        ("committed_at", instant),
        ("sector", pa.string()),
        ("tick_size", decimal),
        ("lot_size", decimal),
        ("enriched", pa.bool_()),
    ]
    columns = (
        [pa.field(name, kind, nullable=False) for name, kind in required]
        + [pa.field("refers_to", pa.uuid()), pa.field("source_sequence", pa.int64())]
        + [pa.field(name, kind, nullable=False) for name, kind in identity]
        + [pa.field(name, kind) for name, kind in optional]
    )
    return pa.schema([_numbered(column, number, len(columns)) for number, column in enumerate(columns, 1)])


def _numbered(column: pa.Field, number: int, count: int) -> pa.Field:
    """A column with its Iceberg field id; the elements of a list have theirs after those of all columns."""
    if pa.types.is_list(column.type):
        element = column.type.value_field.with_metadata({"PARQUET:field_id": str(count + 1)})
        column = column.with_type(pa.list_(element))
    return column.with_metadata({"PARQUET:field_id": str(number)})


@dataclass(frozen=True)
class Rows:
    """n trades of one topic and epoch.

    trades: structured array (dtype `TRADE.message`).
    partition, offset, index: int32, int64, int32 [n]; where in Kafka the trade stands.
    reference: int32[n]; position in `references`, or NOT_IN_REFERENCE, or ENRICHMENT_SKIPPED.
    references: structured array (dtype `REFERENCE.message`) that `reference` points into.
    """

    topic: str
    epoch: str
    trades: np.ndarray
    partition: np.ndarray
    offset: np.ndarray
    index: np.ndarray
    reference: np.ndarray
    references: np.ndarray

    def __len__(self) -> int:
        return len(self.trades)

    def take(self, selection: np.ndarray) -> "Rows":
        """The rows that a boolean mask or an array of positions selects."""
        # `take` copies a trade in one piece, where indexing copies it field by field: ten times as slow.
        positions = np.flatnonzero(selection) if selection.dtype == np.bool_ else selection
        return Rows(
            self.topic,
            self.epoch,
            self.trades.take(positions),
            self.partition.take(positions),
            self.offset.take(positions),
            self.index.take(positions),
            self.reference.take(positions),
            self.references,
        )

    def with_reprints(self, mask: np.ndarray) -> "Rows":
        """The same, new prints among `mask` (bool[n]) marked as reprints: they refer to their own ids."""
        marked = mask & (self.trades["action"] == NEW)
        if not marked.any():
            return self
        trades = self.trades.copy()
        trades["refers_to"][marked] = trades["message_id"][marked]
        return replace(self, trades=trades)

    @staticmethod
    def of(
        topic: str, epoch: str, trades: np.ndarray, partition: np.ndarray, offset: np.ndarray, index: np.ndarray
    ) -> "Rows":
        """Trades and their places in Kafka, not enriched."""
        skipped = np.full(len(trades), ENRICHMENT_SKIPPED, np.int32)
        return Rows(topic, epoch, trades, partition, offset, index, skipped, REFERENCE.empty(0))

    @staticmethod
    def empty(topic: str, epoch: str) -> "Rows":
        """No rows."""
        numbers = np.zeros(0, np.int32)
        return Rows.of(topic, epoch, TRADE.empty(0), numbers, np.zeros(0, np.int64), numbers)

    @staticmethod
    def concatenate(parts: Sequence["Rows"]) -> "Rows":
        """Several batches as one; the newest reference table serves them all."""
        return Rows.joined(list(parts))

    @staticmethod
    def joined(parts: list["Rows"]) -> "Rows":
        """The same of batches that nobody else holds: each is dropped as soon as it is copied, so that rows are held
        once. The list is empty then."""
        if len(parts) == 1:
            return parts.pop()
        references, bases = _joined_references(parts)
        count, at = sum(map(len, parts)), 0
        partition, index, reference = (np.empty(count, np.int32) for _ in range(3))
        trades, offset = np.empty(count, TRADE.message), np.empty(count, np.int64)
        whole = Rows(parts[0].topic, parts[0].epoch, trades, partition, offset, index, reference, references)
        parts.reverse()
        for base in bases:
            part = parts.pop()
            to = slice(at, at + len(part))
            at = to.stop
            trades.view(WHOLE_TRADE)[to] = part.trades.view(WHOLE_TRADE)
            partition[to], offset[to], index[to] = part.partition, part.offset, part.index
            reference[to] = np.where(part.reference >= 0, part.reference + base, part.reference)
        return whole

    def to_arrow(self, committed_us: int | None = None) -> pa.Table:
        """The rows as `arrow_schema()` says, texts dictionary-encoded.

        committed_us: the time of their commit; None while they are in Kafka alone.
        """
        trades, count, fields = self.trades, len(self), TradeColumns(self.trades)
        known = self.reference >= 0
        found = self.references[np.where(known, self.reference, 0)] if len(self.references) else None
        sequence = fields.number("source_sequence")
        event, event_nanos = _instants(fields.number("event_ns"))
        received, received_nanos = _instants(fields.number("received_ns"))
        columns: dict[str, Any] = {
            "message_id": _uuids(trades["message_id"]),
            "trade_id": pa.array(fields.number("trade_id").astype(np.int64)),
            "symbol": texts(fields.text("symbol")),
            "exchange": texts(fields.text("exchange")),
            "asset_class": _named(fields.code("asset_class"), ASSET_CLASSES),
            "timestamp": event,
            "timestamp_nanos": event_nanos,
            "ingestion_timestamp": received,
            "ingestion_timestamp_nanos": received_nanos,
            "price": to_arrow(trades["price"]),
            "quantity": to_arrow(trades["quantity"]),
            "currency": texts(fields.text("currency")),
            "side": _named(fields.code("side"), SIDES),
            "trade_conditions": lists(fields.text("trade_conditions")),
            "action": _named(fields.code("action"), ACTIONS),
            "refers_to": _referred(trades),
            "source_sequence": pa.array(sequence.astype(np.int64), mask=sequence == NO_SEQUENCE),
            "kafka_topic": _constant(self.topic, count),
            "kafka_epoch": _constant(self.epoch, count),
            "kafka_partition": pa.array(self.partition),
            "kafka_offset": pa.array(self.offset),
            "kafka_index": pa.array(self.index),
            "committed_at": _committed(committed_us, count),
        }
        if found is None:
            for name in ("sector", "tick_size", "lot_size"):
                columns[name] = pa.nulls(count, arrow_schema().field(name).type)
        else:
            columns["sector"] = texts(found["sector"], missing=~known)
            columns["tick_size"] = to_arrow(found["tick_size"], missing=~known)
            columns["lot_size"] = to_arrow(found["lot_size"], missing=~known)
        columns["enriched"] = pa.array(known, mask=self.reference == ENRICHMENT_SKIPPED)
        kinds = ((field, columns[field.name].type) for field in arrow_schema())
        # The declared type of a list has the field id of its elements.
        schema = pa.schema([field if kind == field.type else field.with_type(kind) for field, kind in kinds])
        return pa.table([columns[name] for name in schema.names], schema=schema)


def as_declared(trades: pa.Table) -> pa.Table:
    """The same rows, each column of the type that `arrow_schema()` declares; most have it already."""
    schema = arrow_schema()
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(trades.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _joined_references(parts: Sequence[Rows]) -> tuple[np.ndarray, list[int]]:
    """One reference table for several batches, and by batch where its own begins in it. Batches mostly share one table,
    which is then kept as it is."""
    tables: list[np.ndarray] = []
    bases: list[int] = []
    found = []
    for part in parts:
        at = next((i for i, table in enumerate(tables) if table is part.references), None)
        if at is None:
            at = len(tables)
            bases.append(sum(map(len, tables)))
            tables.append(part.references)
        found.append(bases[at])
    return (tables[0] if len(tables) == 1 else np.concatenate(tables)), found


def symbol_order(rows: Rows) -> np.ndarray:
    """int64[n]: the order of hour and `SORTED_BY` in which files of the table are written; equals stay in order."""
    return np.concatenate([np.zeros(0, np.int64), *hours_in_order(rows)])


def hours_in_order(rows: Rows) -> list[np.ndarray]:
    """Of each hour of `timestamp` the positions of its rows, by `SORTED_BY`; equals stay in order.

    A symbol's trades mostly come in order of time, and then sorting by hour and symbol is all there is to do.
    """
    if not len(rows):
        return []
    codes, names = codes_of(rows.trades["symbol"])
    time_ns = np.ascontiguousarray(rows.trades["event_ns"])
    first, last = int(time_ns.min()) // HOUR_NS, int(time_ns.max()) // HOUR_NS
    rank = np.empty(len(names), np.int64)
    rank[np.argsort(names)] = np.arange(len(names))
    # numpy sorts numbers of up to two bytes by radix, seven times as fast.
    kind = np.min_scalar_type((last - first + 1) * len(names))
    if first == last:
        return [_sorted(rank.astype(kind)[codes], time_ns)]
    hours = time_ns // HOUR_NS - first
    order = _sorted((hours * len(names) + rank[codes]).astype(kind), time_ns)
    return np.split(order, np.flatnonzero(np.diff(hours[order])) + 1)


def _sorted(major: np.ndarray, time_ns: np.ndarray) -> np.ndarray:
    """int64[n]: the order of `major` and time; equals stay in order."""
    order = np.argsort(major, kind="stable")
    falls = np.flatnonzero(np.diff(time_ns[order]) < 0)
    if (major[order[falls]] == major[order[falls + 1]]).any():
        by_time = np.argsort(time_ns, kind="stable")
        order = by_time[np.argsort(major[by_time], kind="stable")]
    return order


def texts(column: np.ndarray | Texts, missing: np.ndarray | None = None) -> pa.DictionaryArray:
    """Fixed-width UTF-8, zero-padded, as a dictionary of strings; null where `missing`."""
    codes, distinct = codes_of(column)
    values = pa.array([text.decode("utf-8", "replace") for text in distinct.tolist()], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32(), mask=missing), values)


def _uuids(column: np.ndarray) -> pa.Array:
    return pa.ExtensionArray.from_storage(pa.uuid(), fixed_binary(column))


def _instants(nanoseconds: np.ndarray) -> tuple[pa.Array, pa.Array]:
    """Microseconds as timestamps, and the nanoseconds beyond them: no reader of Iceberg's v2 knows finer ones."""
    microseconds = nanoseconds // 1000
    nanos = (nanoseconds - microseconds * 1000).astype(np.int32)
    return pa.array(microseconds).cast(pa.timestamp("us", "UTC")), pa.array(nanos)


def _referred(trades: np.ndarray) -> pa.Array:
    """The ids that trades refer to; null where there is none."""
    absent = ~refer(trades)
    if absent.all():
        return pa.nulls(len(trades), pa.uuid())
    storage = fixed_binary(trades["refers_to"])
    referred = pc.if_else(pa.array(absent), pa.scalar(None, storage.type), storage)
    return pa.ExtensionArray.from_storage(pa.uuid(), referred)


def _committed(at_us: int | None, count: int) -> pa.Array:
    if at_us is None:
        return pa.nulls(count, pa.timestamp("us", "UTC"))
    return pa.array(np.full(count, at_us)).cast(pa.timestamp("us", "UTC"))


def _named(codes: np.ndarray, names: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(names))


def _constant(text: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text]))


TIMES: Final = {"timestamp": "event_ns", "ingestion_timestamp": "received_ns"}
"""Columns of microseconds, each with another one of nanoseconds behind it, and the trade's field."""

TRADE_COLUMNS: Final = (
    "message_id", "trade_id", "symbol", "exchange", "asset_class", "timestamp", "timestamp_nanos",
    "ingestion_timestamp", "ingestion_timestamp_nanos", "price", "quantity", "currency", "side", "trade_conditions",
    "source_sequence", "action", "refers_to",
)  # fmt: skip


def trades_of(batch: pa.RecordBatch) -> np.ndarray:
    """The trades (dtype `TRADE.message`) of n rows, with those of `TRADE_COLUMNS` that the rows have."""
    trades, there = TRADE.empty(len(batch)), set(batch.schema.names)
    if not len(batch):
        return trades
    if "message_id" in there:
        trades["message_id"] = ids_of(batch["message_id"])
    if "trade_id" in there:
        trades["trade_id"] = batch["trade_id"].to_numpy(zero_copy_only=False)
    for name, field in TIMES.items():
        if name in there:
            nanos = f"{name}_nanos"
            trades[field] = nanoseconds(batch[name], batch[nanos] if nanos in there else None)
    for name in there.intersection(("price", "quantity")):
        trades[name] = from_arrow(batch[name])
    if "trade_conditions" in there:
        trades["trade_conditions"] = packed(batch["trade_conditions"])
    if "refers_to" in there and batch["refers_to"].null_count < len(batch):
        absent = batch["refers_to"].is_null().to_numpy(zero_copy_only=False)
        trades["refers_to"] = np.where(absent, NO_ID, ids_of(batch["refers_to"]))
    for name in there.intersection(("symbol", "exchange", "currency")):
        texts, codes = _dictionary(batch[name])
        trades[name] = np.array([_fitting(text, TRADE.message[name].itemsize) for text in texts], TRADE.message[name])[
            codes
        ]
    for name, known in (("asset_class", ASSET_CLASSES), ("side", SIDES), ("action", ACTIONS)):
        if name in there:
            texts, codes = _dictionary(batch[name])
            trades[name] = np.array([known.index(text) if text in known else 255 for text in texts], np.uint8)[codes]
    if "source_sequence" in there:
        sequence = batch["source_sequence"]
        numbers = sequence.fill_null(0).to_numpy(zero_copy_only=False).astype(np.uint64)
        trades["source_sequence"] = np.where(sequence.is_null().to_numpy(zero_copy_only=False), NO_SEQUENCE, numbers)
    return trades


def _fitting(text: str, size: int) -> bytes:
    """The bytes of a text; of one that is too long for its field, bytes that no trade has: it is not cut to fit."""
    raw = text.encode()
    return raw if len(raw) <= size else b"\xff" * size


def ids_of(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The message ids of a column of uuids or of fixed-size binaries, V16[n]."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not len(column):
        return np.zeros(0, "V16")
    storage = column.storage if isinstance(column, pa.ExtensionArray) else column
    raw = np.frombuffer(storage.buffers()[1], "V16")
    return raw[storage.offset : storage.offset + len(storage)]


def identity_numbers(offset: np.ndarray, index: np.ndarray) -> np.ndarray:
    """One number for each (offset, index) of a partition; an index is below 2^16."""
    return np.asarray((offset.astype(np.int64) << 16) | index.astype(np.int64))


def nanoseconds(instants: pa.Array | pa.ChunkedArray, nanos: pa.Array | pa.ChunkedArray | None = None) -> np.ndarray:
    """int64[n] since the Unix epoch, of timestamps in microseconds and what is beyond them."""
    whole = instants.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy(zero_copy_only=False) * 1000
    return np.asarray(whole if nanos is None else whole + nanos.to_numpy(zero_copy_only=False))


def _dictionary(column: pa.Array) -> tuple[list[str], np.ndarray]:
    encoded: Any = column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False)


def reference_schema() -> pa.Schema:
    """The columns of the table; each carries its Iceberg field id where Parquet looks for it."""
    columns = [
        ("symbol", pa.string()),
        ("exchange", pa.string()),
        ("asset_class", pa.string()),
        ("currency", pa.string()),
        ("sector", pa.string()),
        ("tick_size", DECIMAL_TYPE),
        ("lot_size", DECIMAL_TYPE),
        ("tier", pa.int32()),
        ("timestamp", pa.timestamp("us", "UTC")),
    ]
    return pa.schema(
        [
            pa.field(name, kind, nullable=False, metadata={"PARQUET:field_id": str(number)})
            for number, (name, kind) in enumerate(columns, 1)
        ]
    )
