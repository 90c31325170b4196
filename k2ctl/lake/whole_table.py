"""Every row of a snapshot as trades, batch by batch, each with its place in Kafka: to be held to what was sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.domain.stored_rows import TRADE_COLUMNS, trades_of
from k2ctl.errors import LakeError, first_line
from k2ctl.lake.named import open_named
from k2ctl.lake.snapshots import Pinned
from k2ctl.lake.stored import Listed
from k2ctl.lake.stored_identities import identity_numbers

BATCH_ROWS: Final = 200_000
_COLUMNS: Final = [*TRADE_COLUMNS, "kafka_topic", "kafka_offset", "kafka_index"]
_TEXTS: Final = ["symbol", "exchange", "asset_class", "currency", "side", "trade_conditions", "kafka_topic"]


@dataclass(frozen=True)
class Placed:
    """n trades (dtype `TRADE.message`) and int64[n], a number that grows with the place in the partition's log."""

    trades: np.ndarray
    place: np.ndarray


def stored_trades(pinned: Pinned, topic: str, symbols: Sequence[str] | None) -> Iterator[Placed]:
    """The rows of a topic, of some symbols (None: all); some 400 bytes a row of one batch are in memory at once.

    Raises:
        LakeError: a data file is gone or damaged.
    """
    for file in pinned.plan(symbols).files:
        for batch in _batches(pinned, file):
            wanted = pc.equal(batch["kafka_topic"], topic)
            if symbols is not None:
                wanted = pc.and_(wanted, pc.is_in(batch["symbol"], pa.array(list(symbols))))
            rows = batch.filter(wanted)
            places = identity_numbers(rows["kafka_offset"].to_numpy(), rows["kafka_index"].to_numpy())
            yield Placed(trades_of(rows), places)


def _batches(pinned: Pinned, file: Listed) -> Iterator[pa.RecordBatch]:
    try:
        with open_named(pinned.table, file, _COLUMNS, _TEXTS) as opened:
            yield from opened.batches(BATCH_ROWS)
    except OSError as error:
        raise LakeError(
            f"A data file of the table cannot be read: {file.path}: {first_line(error)}", "See: k2ctl doctor"
        ) from error
