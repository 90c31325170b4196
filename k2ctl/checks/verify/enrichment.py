"""The enriched columns of stored rows, compared with what the reference topic holds."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.domain.stored_rows import mantissas
from k2ctl.domain.texts import codes_of

ENRICHED: Final = ("sector", "tick_size", "lot_size", "enriched")
_VALUES: Final = ENRICHED[:-1]


class References:
    """All entries that the reference topic holds (dtype `REFERENCE.message`), by symbol."""

    def __init__(self, entries: np.ndarray) -> None:
        self._by_symbol: dict[bytes, np.ndarray] = {}
        for entry in np.unique(entries["symbol"]).tolist():
            self._by_symbol[entry] = entries[entries["symbol"] == entry]

    def check(self, batch: pa.RecordBatch, trades: np.ndarray) -> tuple[dict[str, np.ndarray], int]:
        """Column → bool[n], the rows in which it was altered; and how many rows could not be judged.

        A trade from before the oldest entry may have had another, which the compacted topic no longer holds. A row
        without enrichment has none of the values, and may be so: a consumer skips enrichment under pressure.
        """
        enriched = pc.fill_null(batch["enriched"], False).to_numpy(zero_copy_only=False)
        absent = {name: batch[name].is_null().to_numpy(zero_copy_only=False) for name in _VALUES}
        none, complete = (
            np.logical_and.reduce(masks) for masks in (list(absent.values()), [~m for m in absent.values()])
        )
        altered = {name: enriched & absent[name] & ~none | ~enriched & ~absent[name] & ~complete for name in _VALUES}
        altered["enriched"] = enriched & none | ~enriched & complete
        judged = np.zeros(len(trades), np.bool_)
        sectors = batch["sector"].cast(pa.string()).to_numpy(zero_copy_only=False)
        stored = {"sector": sectors, **{name: mantissas(batch[name]) for name in _VALUES[1:]}}
        codes, symbols = codes_of(trades["symbol"])
        for code, symbol in enumerate(symbols.tolist()):
            entries = self._by_symbol.get(symbol)
            if entries is None:
                continue
            rows = np.flatnonzero((codes == code) & enriched & ~none)
            known, right = (
                trades["ingestion_timestamp"][rows] >= int(entries["timestamp"].min()),
                np.ones(len(rows), bool),
            )
            for name in _VALUES:
                valid = entries[name].astype(str).astype(object) if name == "sector" else entries[name]
                differs = ~np.isin(stored[name][rows], valid) & ~absent[name][rows]
                altered[name][rows] |= differs & known
                right &= ~differs
            judged[rows] = known | right
        return altered, int((~judged & enriched & ~none).sum())
