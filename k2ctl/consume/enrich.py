"""Step 5: join reference data (sector, tick size, lot size) by symbol; skipped when the level says so."""

import numpy as np

from k2ctl.domain.rows import NOT_IN_REFERENCE, Rows
from k2ctl.domain.texts import codes_of
from k2ctl.domain.trade import REFERENCE
from k2ctl.kafka.reader import Fetched


class ReferenceTable:
    """The newest reference data of each symbol. Small: a venue has thousands of symbols, not millions."""

    def __init__(self) -> None:
        self._newest: dict[bytes, np.void] = {}
        self._table = REFERENCE.empty(0)
        self._position: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._table)

    def update(self, fetched: Fetched) -> None:
        """Take in records of the reference topic, oldest first; records that are not reference data are passed over."""
        for value in fetched.values:
            for entry in reference_entries(value):
                self._newest[entry["symbol"]] = entry
        if len(fetched):
            self._table = np.array(list(self._newest.values()), REFERENCE.message)
            self._position = {symbol: at for at, symbol in enumerate(self._newest)}

    @property
    def entries(self) -> np.ndarray:
        """The newest entry of each symbol (dtype `REFERENCE.message`)."""
        return self._table

    def step(self, rows: Rows) -> Rows:
        """The same rows, each pointing at its symbol's reference data."""
        codes, symbols = codes_of(rows.trades["symbol"])
        where = np.array([self._position.get(symbol, NOT_IN_REFERENCE) for symbol in symbols.tolist()], np.int32)
        return Rows(
            rows.topic,
            rows.epoch,
            rows.trades,
            rows.partition,
            rows.offset,
            rows.index,
            where[codes] if len(rows) else rows.reference,
            self._table,
        )


def reference_entries(value: bytes) -> np.ndarray:
    """The entries (dtype `REFERENCE.message`) of a record; none where it is not reference data."""
    size = REFERENCE.message.itemsize
    if not value or len(value) % size:
        return REFERENCE.empty(0)
    entries = np.frombuffer(value, REFERENCE.message)
    ours = (entries["template_id"] == REFERENCE.header[1]) & (entries["schema_id"] == REFERENCE.header[2])
    return np.asarray(entries[ours])
