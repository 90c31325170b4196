"""Which of some trades the table holds already: the verdict on what deduplication suspects.

One query for all suspects of a batch. Hours and symbols bound the files (by their manifests) and the scan; the query
compares what makes a copy or a reprint (`k2ctl.domain.copies`).
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from pyiceberg.expressions import AlwaysFalse, BooleanExpression

from k2ctl.clock import Clock
from k2ctl.domain.rows import HOUR_US, Rows
from k2ctl.errors import LakeUnanswered, first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.scan import EXPRESSIONS, TableScan, instant
from k2ctl.retry import RetryPolicy, retry

if TYPE_CHECKING:
    from k2ctl.lake.stored_query import StoredQuery

GIVE_UP_AFTER_S: Final = 60.0
"""How long a look-up is repeated: a catalog or a store may restart, and a compaction may remove a planned file."""

LOG: Final = logging.getLogger("k2ctl.lake")
_POLICY: Final = RetryPolicy(GIVE_UP_AFTER_S, 0.1)
_AGAIN: Final = (OSError, LakeUnanswered)
"""Errors that another attempt may not meet."""

SYMBOLS_IN_PLAN: Final = 200
"""Beyond so many, pyiceberg compares a list with no statistics."""

RANGES_IN_PLAN: Final = 24


@dataclass(frozen=True)
class Stored:
    """What the table holds of n trades, bool[n] each."""

    # A row like it has another identity in Kafka: the trade is a copy.
    elsewhere: np.ndarray
    # The very row is stored: the trade was read again.
    itself: np.ndarray
    # A row of the same trade was printed otherwise.
    reprinted: np.ndarray
    # The rows that are elsewhere; None where nobody asked.
    rows: "StoredRows | None" = None


@dataclass(frozen=True)
class StoredRows:
    """Of n trades that are stored elsewhere, one of these rows: its topic (object[n]) and its receive time."""

    topic: np.ndarray
    received_ns: np.ndarray


class SuspectLookup:
    """Asks one table. Not thread-safe. DuckDB, with its 13 MiB, comes with the first suspect; most drains have none."""

    def __init__(self, lake: Lake, clock: Clock) -> None:
        self._lake = lake
        self._clock = clock
        self._query: StoredQuery | None = None

    def find(self, rows: Rows) -> Stored:
        """What the newest snapshot holds of `rows`.

        Raises:
            LakeUnanswered: the catalog or the files did not answer for GIVE_UP_AFTER_S. LakeError: one is damaged.
        """
        logged = False

        def again(error: Exception) -> bool:
            nonlocal logged
            if isinstance(error, _AGAIN) and not logged:
                LOG.warning("a look-up of suspected copies is tried again", extra={"error": first_line(error)})
                logged = True
            return isinstance(error, _AGAIN)

        try:
            return retry(lambda: self._found(rows), policy=_POLICY, again=again, clock=self._clock)
        except _AGAIN as error:
            raise LakeUnanswered(
                f"Suspected copies cannot be looked up: {first_line(error)}",
                "Nothing is lost: what is not judged is not stored. See: k2ctl lake status",
            ) from error

    def _found(self, rows: Rows) -> Stored:
        where = StoredRows(np.full(len(rows), "", object), np.zeros(len(rows), np.int64))
        elsewhere, itself, reprinted = (np.zeros(len(rows), np.bool_) for _ in range(3))
        found = Stored(elsewhere, itself, reprinted, where)
        if not len(rows):
            return found
        scan = TableScan.newest(self._lake.table(), _bounds(rows.trades), deletes_ignored=True)
        paths = scan.paths()
        if paths:
            if self._query is None:
                from k2ctl.lake.stored_query import StoredQuery

                self._query = StoredQuery(self._lake)
            self._mark(found, rows, self._query.matches(rows, paths, scan.columns()))
        return found

    def close(self) -> None:
        if self._query is not None:
            self._query.close()

    @staticmethod
    def _mark(found: Stored, rows: Rows, matches: pa.Table) -> None:
        at = matches["at"].to_numpy()
        same, topics = np.ones(len(at), np.bool_), np.array(matches["topic"].to_pylist(), object)
        for name, ours in (("partition", rows.partition), ("offset", rows.offset), ("index", rows.index)):
            same &= matches[name].to_numpy() == ours[at]
        same &= (topics == rows.topic) & (np.array(matches["epoch"].to_pylist(), object) == rows.epoch)
        copies = matches["copies"].to_numpy(zero_copy_only=False).astype(np.bool_)
        found.itself[at[same]] = True
        found.elsewhere[at[~same & copies]] = True
        if found.rows is not None:
            found.rows.topic[at[~same & copies]] = topics[~same & copies]
            found.rows.received_ns[at[~same & copies]] = matches["received_ns"].to_numpy()[~same & copies]
        found.reprinted[at[~same & ~copies]] = True


def _bounds(trades: np.ndarray) -> BooleanExpression:
    """What the files are pruned by: the hours that the trades are in, and their symbols if they are few."""
    wanted: BooleanExpression = AlwaysFalse()
    for since_us, until_us in _hour_ranges(trades["event_ns"] // 1000):
        within = EXPRESSIONS.And(
            EXPRESSIONS.GreaterThanOrEqual("timestamp", instant(since_us)),
            EXPRESSIONS.LessThan("timestamp", instant(until_us)),
        )
        wanted = EXPRESSIONS.Or(wanted, within)
    symbols = np.unique(trades["symbol"])
    if len(symbols) <= SYMBOLS_IN_PLAN:
        names = [symbol.decode("utf-8", "replace") for symbol in symbols.tolist()]
        wanted = EXPRESSIONS.And(wanted, EXPRESSIONS.In("symbol", names))
    return wanted


def _hour_ranges(times: np.ndarray) -> Iterator[tuple[int, int]]:
    """The hours of some times as ranges [since, until) in µs; one range for all when they are scattered."""
    hours = np.unique(times // HOUR_US)
    breaks = np.flatnonzero(np.diff(hours) != 1) + 1
    if len(breaks) >= RANGES_IN_PLAN:
        breaks = breaks[:0]
    for part in np.split(hours, breaks):
        yield int(part[0]) * HOUR_US, (int(part[-1]) + 1) * HOUR_US
