"""Which of some trades the table holds already: the verdict on what deduplication suspects.

All suspects of a batch in one query. Hours and symbols bound the files (as the manifests know them) and the scan; what
tells a copy (`k2ctl.domain.copies`) is compared inside.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
from pyiceberg.expressions import AlwaysFalse, BooleanExpression

from k2ctl.clock import Clock
from k2ctl.domain.copies import COPY_COLUMNS
from k2ctl.domain.rows import HOUR_US, Rows, texts
from k2ctl.domain.texts import fixed_binary
from k2ctl.errors import LakeError, LakeUnanswered, first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.columns import Columns, our_columns
from k2ctl.lake.filters import EXPRESSIONS, instant
from k2ctl.lake.intact import checked
from k2ctl.lake.manifests import files_met
from k2ctl.lake.opened import damaged
from k2ctl.lake.scan import open_duckdb, refuse_damage, unreadable
from k2ctl.lake.stored import Listed

GIVE_UP_AFTER_S: Final = 60.0
"""How long is asked again: a catalog or a store may be restarted, a compaction take away a file that was planned."""

PAUSE_S: Final = 0.1

_AGAIN: Final = (duckdb.IOException, duckdb.HTTPException, OSError, LakeUnanswered)
"""What may come out otherwise when it is asked again."""

SYMBOLS_IN_PLAN: Final = 200
"""Beyond so many, pyiceberg compares a list with no statistics."""

RANGES_IN_PLAN: Final = 24

_QUERY: Final = """
    SELECT s.at AS at, f.kafka_topic AS topic, f.kafka_epoch AS epoch, f.kafka_partition AS partition,
           f.kafka_offset AS offset, f.kafka_index AS index
    FROM {source} f JOIN suspects s ON {copies}
    WHERE f.timestamp BETWEEN make_timestamptz($since_us) AND make_timestamptz($until_us)
"""


@dataclass(frozen=True)
class Stored:
    """What the table holds of n trades. elsewhere: a row of the same id with another identity in Kafka, so that the
    trade is a copy; itself: the very row, so that it was read again. bool[n] each.
    """

    elsewhere: np.ndarray
    itself: np.ndarray


class SuspectLookup:
    """Asks one table, with a DuckDB connection of its own. Not thread-safe."""

    def __init__(self, lake: Lake, clock: Clock) -> None:
        self._lake = lake
        self._clock = clock
        self._connection: duckdb.DuckDBPyConnection | None = None

    def find(self, rows: Rows) -> Stored:
        """What the newest snapshot holds of `rows`.

        Raises:
            LakeError: the catalog or the files did not answer for GIVE_UP_AFTER_S.
        """
        started_s = self._clock.monotonic_s()
        while True:
            try:
                return self._found(rows)
            except _AGAIN as error:
                refuse_damage(error)
                if self._clock.monotonic_s() - started_s >= GIVE_UP_AFTER_S:
                    raise LakeError(
                        f"Suspected copies cannot be looked up: {unreadable(error) or first_line(error)}",
                        "Nothing is lost: what is not judged is not stored. See: k2ctl lake status",
                    ) from error
                self._clock.sleep(PAUSE_S)
            except duckdb.Error as error:
                refuse_damage(error)
                raise damaged("A data file of the table", error) from error

    def _found(self, rows: Rows) -> Stored:
        found = Stored(np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_))
        if not len(rows):
            return found
        table = self._lake.table()
        files = files_met(table, table.metadata.current_snapshot(), _bounds(rows.trades), deleted_too=True)
        if files:
            paths = checked(table.io, map(Listed.of, files))
            self._mark(found, rows, self._matches(rows, paths, our_columns(table)))
        return found

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()

    def _matches(self, rows: Rows, files: list[str], columns: Columns) -> pa.Table:
        if self._connection is None:
            self._connection = open_duckdb(self._lake)
        times = rows.trades["timestamp"].astype(np.int64)
        suspects = pa.table(
            {
                "at": pa.array(np.arange(len(rows))),
                "message_id": pa.ExtensionArray.from_storage(pa.uuid(), fixed_binary(rows.trades["message_id"])),
                "symbol": texts(rows.trades["symbol"]),
                "exchange": texts(rows.trades["exchange"]),
                "timestamp": pa.array(times, pa.timestamp("us", "UTC")),
            }
        )
        self._connection.register("suspects", suspects)
        try:
            copies = " AND ".join(f"f.{name} = s.{name}" for name in COPY_COLUMNS)
            query = _QUERY.format(source=columns.source("$files"), copies=copies)
            bounds = {"since_us": int(times.min()), "until_us": int(times.max())}
            return self._connection.sql(query, params={"files": files, **bounds}).to_arrow_table()
        finally:
            self._connection.unregister("suspects")

    @staticmethod
    def _mark(found: Stored, rows: Rows, matches: pa.Table) -> None:
        at = matches["at"].to_numpy()
        same = np.ones(len(at), np.bool_)
        for name, ours in (("partition", rows.partition), ("offset", rows.offset), ("index", rows.index)):
            same &= matches[name].to_numpy() == ours[at]
        for name, our_name in (("topic", rows.topic), ("epoch", rows.epoch)):
            same &= np.array(matches[name].to_pylist(), object) == our_name
        found.itself[at[same]] = True
        found.elsewhere[at[~same]] = True


def _bounds(trades: np.ndarray) -> BooleanExpression:
    """What the files are pruned by: the hours that the trades are in, and their symbols if they are few."""
    wanted: BooleanExpression = AlwaysFalse()
    for since_us, until_us in _hour_ranges(trades["timestamp"]):
        within = EXPRESSIONS.And(
            EXPRESSIONS.GreaterThanOrEqual("timestamp", instant(since_us)),
            EXPRESSIONS.LessThan("timestamp", instant(until_us)),
        )
        wanted = EXPRESSIONS.Or(wanted, within)
    symbols = np.unique(trades["symbol"])
    if len(symbols) <= SYMBOLS_IN_PLAN:
        names = [symbol.decode("ascii", "replace") for symbol in symbols.tolist()]
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
