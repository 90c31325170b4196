"""Spill files: trades deferred on disk, in frames that are checked one by one, and the writing and reading of them.

A frame is a magic word, the length and the CRC-32 of what follows, and an Arrow IPC stream with the trades' bytes and
their identity in Kafka. A frame that is torn or flipped is skipped; the frames around it are good.
"""

import errno
import logging
import math
import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.clock import Clock
from k2ctl.deferred.admission import Admission
from k2ctl.domain.checked_file import bodies_of, framed
from k2ctl.domain.checkpoint import Tally
from k2ctl.domain.ledger import DeferredRange
from k2ctl.domain.rows import Rows
from k2ctl.domain.texts import fixed_binary
from k2ctl.domain.trade import TRADE
from k2ctl.errors import LakeError
from k2ctl.lake.side_folder import SPILL, SideFolder
from k2ctl.lake.snapshots import Pinned
from k2ctl.retry import RetryPolicy, retry

LOG: Final = logging.getLogger("k2ctl.deferred")

MAGIC: Final = b"K2SPILL3"
"""Its number changes with the layout of a trade, whose bytes a file holds."""

FRAME_ROWS: Final = 10_000
SUFFIX: Final = "k2spill"

_SCHEMA: Final = pa.schema(
    [
        pa.field("trade", pa.binary(TRADE.message.itemsize), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("index", pa.int32(), nullable=False),
    ]
)

TROUBLE_LASTS_S: Final = 10.0
RETRY_EVERY_S: Final = 0.5
_UNTIL_THERE_IS_ROOM: Final = RetryPolicy(math.inf, RETRY_EVERY_S)


class Spiller:
    """Writes spill files, on the committing thread. When it cannot, the rows are shed where Kafka holds them, else it
    waits."""

    def __init__(
        self, folder: SideFolder, admission: Admission, limit_bytes: int, clock: Clock, *, kafka_holds: bool
    ) -> None:
        """kafka_holds: whether what cannot be spilled may be left in Kafka, however much it is."""
        self._folder = folder
        self._admission = admission
        self._kafka_holds = kafka_holds
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._trouble: tuple[float, str] | None = None
        self._given_up = threading.Event()

    @property
    def trouble(self) -> str:
        """Why spilling failed lately; empty when it worked."""
        trouble = self._trouble
        if trouble is None or self._clock.monotonic_s() - trouble[0] > TROUBLE_LASTS_S:
            return ""
        return trouble[1]

    def spill(self, parts: Sequence[Rows], level: int, priorities: int, tally: Tally) -> list[DeferredRange]:
        """Make the spilled rows of a batch durable; returns their ledger entries and counts them.

        Raises:
            LakeError: the disk stays full, Kafka does not hold the rows either, and the consumer is to stop.
        """
        if not parts:
            return []
        rows = Rows.concatenate(parts)
        file = self._durable(rows)
        tally.add("spilled" if file else "shed", rows.partition)
        return self._admission.spill_entries(rows, level, priorities, file)

    def _durable(self, rows: Rows) -> str:
        """The file of the rows; empty where it cannot be written and Kafka holds them."""

        def again(error: Exception) -> bool:
            if not isinstance(error, OSError):
                return False
            said = error.strerror or str(error)
            if not self.trouble:
                LOG.warning("spilling %d trades failed: %s", len(rows), said)
            self._trouble = (self._clock.monotonic_s(), f"spill failed: {said}")
            return not self._kafka_holds and not self._given_up.is_set()

        try:
            file = retry(lambda: self._write(rows), policy=_UNTIL_THERE_IS_ROOM, again=again, clock=self._clock)
        except OSError as error:
            if self._kafka_holds:
                return ""
            raise LakeError(
                f"Trades could not be deferred on disk: {error.strerror or error}.",
                "Nothing is lost: they are not committed, and Kafka has them. Make room, then: k2ctl consume",
            ) from error
        LOG.info("spilled %d trades to %s", len(rows), file)
        return file

    def _write(self, rows: Rows) -> str:
        content = encode_spill(rows)
        if self._folder.used_bytes() + len(content) > self._limit_bytes:
            raise OSError(errno.ENOSPC, f"the limit of {self._limit_bytes // 1_000_000:,} MB is reached")
        return self._folder.write(SPILL, content, SUFFIX)

    def delete(self, files: set[str]) -> None:
        """Delete files that the ledger does not name any more."""
        for file in files:
            self._folder.delete(file)

    def give_up(self) -> None:
        """Stop waiting for room: the consumer ends, and trades that were not committed stay in Kafka."""
        self._given_up.set()


def read_spilled(pinned: Pinned, file: str, topic: str, epoch: str) -> tuple[Rows, bool]:
    """The rows of a spill file for a query, and whether all of it could be read."""
    try:
        content = SideFolder(pinned.table).read(file)
    except OSError:
        return Rows.empty(topic, epoch), False  # the answer reports it as incomplete
    return decode_spill(content, topic, epoch)


def encode_spill(rows: Rows) -> bytes:
    frames = (rows.take(np.arange(at, min(at + FRAME_ROWS, len(rows)))) for at in range(0, len(rows), FRAME_ROWS))
    return b"".join(map(_frame, frames))


def decode_spill(content: bytes, topic: str, epoch: str) -> tuple[Rows, bool]:
    """The rows of every good frame, and whether the whole file was good."""
    parts, intact = [], True
    for body in bodies_of(MAGIC, content):
        if body is None:
            intact = False
        else:
            with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
                parts.append(_rows(reader.read_next_batch(), topic, epoch))
    return (Rows.concatenate(parts) if parts else Rows.empty(topic, epoch)), intact


def what_is_wrong(content: bytes) -> str:
    """With a file that is not intact."""
    return "is damaged" if content.startswith(MAGIC) else "is damaged, or was written by another version of k2ctl"


def _frame(rows: Rows) -> bytes:
    batch = pa.record_batch(
        [fixed_binary(rows.trades), pa.array(rows.partition), pa.array(rows.offset), pa.array(rows.index)],
        schema=_SCHEMA,
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _SCHEMA, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(batch)
    payload: bytes = sink.getvalue().to_pybytes()
    return framed(MAGIC, payload)


def _rows(batch: pa.RecordBatch, topic: str, epoch: str) -> Rows:
    count, size = len(batch), TRADE.message.itemsize
    stored = batch.column("trade")
    trades = np.frombuffer(stored.buffers()[1], TRADE.message, count, stored.offset * size)
    partition, offset, index = (batch.column(name).to_numpy() for name in ("partition", "offset", "index"))
    return Rows.of(topic, epoch, trades, partition, offset, index)
