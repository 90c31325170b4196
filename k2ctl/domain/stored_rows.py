"""Rows as the table gives them, turned back into trades: the way of `Rows.to_arrow`, backwards."""

from typing import Any, Final

import numpy as np
import pyarrow as pa

from k2ctl.domain.trade import ASSET_CLASSES, NO_SEQUENCE, SIDES, TRADE

TRADE_COLUMNS: Final = (
    "message_id", "trade_id", "symbol", "exchange", "asset_class", "timestamp", "ingestion_timestamp", "price",
    "quantity", "currency", "side", "trade_conditions", "source_sequence",
)  # fmt: skip


def trades_of(batch: pa.RecordBatch) -> np.ndarray:
    """The trades (dtype `TRADE.message`) of n rows that have `TRADE_COLUMNS`."""
    trades = TRADE.empty(len(batch))
    if not len(batch):
        return trades
    trades["message_id"] = ids_of(batch["message_id"])
    trades["trade_id"] = batch["trade_id"].to_numpy(zero_copy_only=False)
    for name in ("timestamp", "ingestion_timestamp"):
        trades[name] = batch[name].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy(zero_copy_only=False)
    for name in ("price", "quantity"):
        trades[name] = mantissas(batch[name])
    for name in ("symbol", "exchange", "currency", "trade_conditions"):
        texts, codes = _dictionary(batch[name])
        trades[name] = np.array([_fitting(text, TRADE.message[name].itemsize) for text in texts], TRADE.message[name])[
            codes
        ]
    for name, known in (("asset_class", ASSET_CLASSES), ("side", SIDES)):
        texts, codes = _dictionary(batch[name])
        trades[name] = np.array([known.index(text) if text in known else 255 for text in texts], np.uint8)[codes]
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


def mantissas(column: pa.Array) -> np.ndarray:
    """int64[n]: decimal128(18, 8) as whole numbers of 10^-8, the low words; of nulls any number."""
    words = np.frombuffer(column.cast(pa.decimal128(18, 8)).buffers()[1], np.int64).reshape(-1, 2)
    return words[column.offset : column.offset + len(column), 0]


def _dictionary(column: pa.Array) -> tuple[list[str], np.ndarray]:
    encoded: Any = column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False)
