"""Spill files: trades deferred on disk, in frames that are checked one by one.

A frame is a magic word, the length and the CRC-32 of what follows, and an Arrow IPC stream with the trades' bytes and
their identity in Kafka. A frame that is torn or flipped is passed over; the ones around it are good.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.domain.rows import ENRICHMENT_SKIPPED, Rows
from k2ctl.domain.texts import fixed_binary
from k2ctl.domain.trade import REFERENCE, TRADE

MAGIC: Final = b"K2SPILL1"
FRAME_ROWS: Final = 10_000
SUFFIX: Final = "k2spill"

_HEADER: Final = struct.Struct("<8sII")
_SCHEMA: Final = pa.schema(
    [
        pa.field("trade", pa.binary(TRADE.message.itemsize), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("index", pa.int32(), nullable=False),
    ]
)


def encode_spill(rows: Rows) -> bytes:
    """The content of a spill file."""
    frames = (rows.take(np.arange(at, min(at + FRAME_ROWS, len(rows)))) for at in range(0, len(rows), FRAME_ROWS))
    return b"".join(map(_frame, frames))


def decode_spill(content: bytes, topic: str, epoch: str) -> tuple[Rows, bool]:
    """The rows of every good frame, and whether the whole file was good."""
    parts, intact = [], True
    for batch in _good_frames(content):
        if batch is None:
            intact = False
        else:
            parts.append(_rows(batch, topic, epoch))
    return (Rows.concatenate(parts) if parts else Rows.empty(topic, epoch)), intact


def _frame(rows: Rows) -> bytes:
    batch = pa.record_batch(
        [fixed_binary(rows.trades), pa.array(rows.partition), pa.array(rows.offset), pa.array(rows.index)],
        schema=_SCHEMA,
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _SCHEMA, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(batch)
    payload: bytes = sink.getvalue().to_pybytes()
    return _HEADER.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def _good_frames(content: bytes) -> Iterator[pa.RecordBatch | None]:
    """Each good frame; None for each stretch of damage."""
    at = 0
    while at < len(content):
        payload = _payload(content, at)
        if payload is None:
            yield None
            found = content.find(MAGIC, at + 1)
            at = len(content) if found < 0 else found
        else:
            with pa.ipc.open_stream(payload) as reader:
                yield reader.read_next_batch()
            at += _HEADER.size + len(payload)


def _payload(content: bytes, at: int) -> bytes | None:
    """The Arrow stream of the frame at a position, if there is a whole one."""
    if len(content) - at < _HEADER.size:
        return None
    magic, length, checksum = _HEADER.unpack_from(content, at)
    payload = content[at + _HEADER.size : at + _HEADER.size + length]
    good = magic == MAGIC and len(payload) == length and zlib.crc32(payload) == checksum
    return payload if good else None


def _rows(batch: pa.RecordBatch, topic: str, epoch: str) -> Rows:
    count, size = len(batch), TRADE.message.itemsize
    stored = batch.column("trade")
    trades = np.frombuffer(stored.buffers()[1], TRADE.message, count, stored.offset * size)
    partition, offset, index = (batch.column(name).to_numpy() for name in ("partition", "offset", "index"))
    return Rows(
        topic, epoch, trades, partition, offset, index, np.full(count, ENRICHMENT_SKIPPED, np.int32), REFERENCE.empty(0)
    )
