"""Numbers of a venue's counter that are missing between the trades of an answer."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from k2ctl.query.answer import Answer
from k2ctl.query.session import Session
from k2ctl.query.window import Window

ROWS_MOST = 1_000_000


def gaps_of(session: Session, symbols: Sequence[str], window: Window, limit: int) -> Answer:
    """The gaps of `symbols` in `window`, at most `limit`, by symbol and number; what is put aside looks like one.

    A counter that begins anew at 1 begins a new run. Past `ROWS_MOST` trades only the newest are looked at, and the
    evidence says that there are more.
    """
    answer = session.recent(symbols, window, ROWS_MOST)
    table = answer.table
    found: list[tuple[str, str, int, int]] = []
    names = [table.column(name).to_pylist() for name in ("exchange", "symbol")] if len(table) else [[], []]
    keys = np.array([f"{exchange}\t{symbol}" for exchange, symbol in zip(*names, strict=True)])
    numbers = table.column("source_sequence").fill_null(0).to_numpy()[::-1]
    for key in np.unique(keys):
        exchange, symbol = str(key).split("\t")
        of_key = numbers[keys[::-1] == key]
        found += [(exchange, symbol, first, last) for first, last in missing_numbers(of_key[of_key > 0])]
    kept = found[:limit]
    columns = list(zip(*kept, strict=True)) or [(), (), (), ()]
    kinds = (pa.string(), pa.string(), pa.int64(), pa.int64())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    counted = pa.array([last - first + 1 for _, _, first, last in kept], pa.int64())
    gaps = pa.table([*arrays, counted], names=["exchange", "symbol", "first_missing", "last_missing", "missing"])
    return Answer(gaps, replace(answer.evidence, more=answer.evidence.more or len(found) > limit))


def missing_numbers(numbers: np.ndarray) -> list[tuple[int, int]]:
    """(first, last) of each stretch that is not there; `numbers` in the order of time, restarting at 1."""
    starts = [0, *(np.flatnonzero(numbers[1:] == 1) + 1).tolist(), len(numbers)]
    gaps = []
    for start, end in itertools.pairwise(starts):
        run = np.unique(numbers[start:end])
        at = np.flatnonzero(np.diff(run) > 1)
        gaps += [(int(run[i]) + 1, int(run[i + 1]) - 1) for i in at]
    return gaps
