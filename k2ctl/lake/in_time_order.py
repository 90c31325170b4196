"""What the table holds as one stream of trades in the order of the venue's time, as each was printed.

Files are of an hour each, so hours are read one after the other, and DuckDB sorts each of them: in little memory, and
on the disk where it is large. Corrections and cancellations are trades of their own and stand where the venue's time
puts them, those of one time in the order in which they came.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from k2ctl.domain.copies import without_marks
from k2ctl.domain.rows import HOUR_US, TRADE_COLUMNS, trades_of
from k2ctl.errors import LakeError, first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.duckdb_files import ASK_AGAIN, gone, refuse_damage, sorting, unreadable
from k2ctl.lake.live_files import by_stretch, live_files_of
from k2ctl.lake.snapshots import pin

MEMORY_MB: Final = 512
BATCH_ROWS: Final = 20_000
PLANNED: Final = 3
"""How often an hour is planned, where a merge has replaced its files in the meantime."""

_ORDER: Final = "timestamp, timestamp_nanos, kafka_topic, kafka_partition, kafka_offset, kafka_index"
_INSTANT: Final = "(epoch_us(timestamp) * 1000 + timestamp_nanos)"
_TRADES: Final = ", ".join(TRADE_COLUMNS)

Span = tuple[int, int]
"""Of the venue's time, µs [from, to)."""


@dataclass(frozen=True)
class StoredTrades:
    """The trades of some symbols (None: all) and some nanoseconds of the venue's time [since, until); None: no end."""

    lake: Lake
    since_ns: int | None = None
    until_ns: int | None = None
    symbols: Sequence[str] | None = None

    def ends_ns(self) -> tuple[int, int] | None:
        """The time of the first and of the last trade; None without any.

        Raises:
            LakeError: the table cannot be read.
        """
        spans = self._spans()
        first = next(filter(None, map(self._ends_of, spans)), None)
        last = next(filter(None, map(self._ends_of, reversed(spans))), None)
        return (first[0], last[1]) if first and last else None

    def in_order(self) -> Iterator[np.ndarray]:
        """The trades (dtype `TRADE.message`) as they were sent, some thousand at once.

        Raises:
            LakeError: the table cannot be read. DamagedFile: a file is not what was written.
        """
        for span in self._spans():
            for batch in self._sorted(span):
                yield without_marks(trades_of(batch))

    def _spans(self) -> list[Span]:
        """The times that the table's files are of, the oldest first, each to be sorted by itself."""
        pinned, found = pin(self.lake), list[Span]()
        if pinned is None or pinned.snapshot_id is None:
            return found
        for files in by_stretch(live_files_of(pinned.scan())):
            first_us = min(file.hour for file in files) * HOUR_US
            last_us = (max(file.last_hour for file in files) + 1) * HOUR_US
            since_us = first_us if self.since_ns is None else max(first_us, self.since_ns // 1000)
            until_us = last_us if self.until_ns is None else min(last_us, -(-self.until_ns // 1000))
            if since_us < until_us:
                found.append((since_us, until_us))
        return found

    def _ends_of(self, span: Span) -> tuple[int, int] | None:
        query = f"SELECT min({_INSTANT}) AS first, max({_INSTANT}) AS last FROM ({{}})"  # noqa: S608
        for batch in self._asked(span, query):
            first, last = (column[0].as_py() for column in batch.columns)
            return None if first is None else (first, last)
        return None

    def _sorted(self, span: Span) -> Iterator[pa.RecordBatch]:
        return self._asked(span, f"SELECT {_TRADES} FROM ({{}}) ORDER BY {_ORDER}")  # noqa: S608

    def _asked(self, span: Span, query: str) -> Iterator[pa.RecordBatch]:
        """The answer to a query over the rows of a span. What sorts has read all files before it gives the first row,
        so an hour whose files are gone by then is planned again."""
        for attempt in range(1, PLANNED + 1):
            some_given = False
            try:
                with _reading(self.lake) as connection:
                    source, parameters = self._source(span)
                    if not source:
                        return
                    answer = connection.sql(query.format(source), params=parameters)
                    for batch in answer.to_arrow_reader(BATCH_ROWS):
                        some_given = True
                        yield batch
                return
            except _FilesGone as error:
                if some_given or attempt == PLANNED:
                    raise LakeError(str(error), ASK_AGAIN) from error

    def _source(self, span: Span) -> tuple[str, dict[str, Any]]:
        """The newest snapshot's rows of a span, as SQL with its parameters; an empty text where there are no files."""
        pinned = pin(self.lake)
        plan = pinned.intact(self.symbols, *span) if pinned is not None else None
        if plan is None or not plan.paths:
            return "", {}
        condition = "timestamp >= make_timestamptz($since) AND timestamp < make_timestamptz($until)"
        parameters: dict[str, Any] = {"files": plan.paths, "since": span[0], "until": span[1]}
        for limit, nanoseconds in ((">= $since_ns", self.since_ns), ("< $until_ns", self.until_ns)):
            if nanoseconds is not None:
                condition += f" AND {_INSTANT} {limit}"
                parameters[limit.partition("$")[2]] = nanoseconds
        if self.symbols is not None:
            condition += " AND list_contains($symbols, symbol)"
            parameters["symbols"] = list(self.symbols)
        return f"SELECT * FROM {plan.columns.source('$files')} WHERE {condition}", parameters  # noqa: S608


class _FilesGone(Exception):
    """A planned file is no longer there."""


@contextmanager
def _reading(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection whose errors are said of the table's files."""
    try:
        with sorting(lake, 2, MEMORY_MB) as connection:
            yield connection
    except duckdb.Error as error:
        refuse_damage(error)
        said = f"The table's files cannot be read: {unreadable(error) or first_line(error)}"
        if gone(error):
            raise _FilesGone(said) from error
        raise LakeError(said, "Look at it with: k2ctl lake status") from error
