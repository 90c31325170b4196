"""The views of one query, in a DuckDB that can read the table's own files and nothing else."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

import duckdb
import pyarrow as pa

from k2ctl.domain.rows import reference_schema
from k2ctl.errors import LakeError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.columns import Columns, all_columns, literal, quoted
from k2ctl.lake.duckdb_files import ASK_AGAIN, gone, lock, open_duckdb, written
from k2ctl.lake.snapshots import reference_plan
from k2ctl.query.answer import GAPS_SCHEMA
from k2ctl.query.carried import carried
from k2ctl.query.changes import Events
from k2ctl.query.corrected import corrected
from k2ctl.query.history import History
from k2ctl.query.products import (
    AS_STORED,
    BOUNDS,
    DOUBLES,
    Places,
    may_overflow,
    multiplies,
    places_of,
    too_wide,
    with_first,
)
from k2ctl.query.seam import Sources
from k2ctl.query.statements import NO_PARAMETERS

_BATCH_ROWS: Final = 50_000


class LockedTables:
    """The views of one query. No file but the table's own, no network, no extension, no setting can be reached."""

    def __init__(
        self,
        lake: Lake,
        sources: Sources,
        memory_mb: int,
        gaps: Callable[[pa.Table], pa.Table] | None,
    ) -> None:
        """gaps: makes them of the rows of the stream that are not in the lake; None if the query names none."""
        plan, tail, references = sources.plan, sources.tail.to_arrow(), reference_plan(lake)
        columns = all_columns(sources.pinned.table) if sources.pinned else plan.columns
        history = History(lake)
        try:
            fresh = history.fresh(plan, tail)
            changes = Events(history, sources).changes(fresh)
        finally:
            history.close()
        self.fresh_rows = len(fresh)
        # How price and quantity were shown to the query that was run last.
        self.places = AS_STORED
        self._connection = open_duckdb(lake)
        snapshots = sources.pinned.snapshots() if sources.pinned else _NO_SNAPSHOTS
        self._connection.from_arrow(snapshots).create_view("snapshots")
        self._connection.from_arrow(gaps(fresh) if gaps else GAPS_SCHEMA.empty_table()).create_view("gaps")
        lock(self._connection, [*plan.paths, *references.paths], memory_mb)
        printed = self._rows(fresh, plan.paths, columns, sources.question.known_at_us)
        self._views = {"trades_raw": printed, "trades": self._corrected(printed, changes)}
        self._bounds = self._bounds_of(fresh, plan.paths, columns)
        reference = self._rows(reference_schema().empty_table(), references.paths, references.columns)
        reference.create_view("reference")

    def _corrected(self, printed: duckdb.DuckDBPyRelation, changes: pa.Table) -> duckdb.DuckDBPyRelation:
        """The trades as corrected. Those of symbols without changes take no part in the join."""
        if not len(changes):
            return printed
        symbols = ", ".join(literal(symbol) for symbol in changes["symbol"].unique().to_pylist())
        others = printed.filter(f"symbol NOT IN ({symbols})")
        return others.union(corrected(printed.filter(f"symbol IN ({symbols})"), self._connection.from_arrow(changes)))

    def _rows(
        self, rows: pa.Table, files: list[str], columns: Columns, known_at_us: int | None = None
    ) -> duckdb.DuckDBPyRelation:
        """Rows and data files as one, which have no name of their own that a query could bind.

        Columns that others have added to the files are null in the rows.
        """
        ours = [quoted(name) for name in rows.schema.names]
        added = [column for column in columns.every if column.name not in rows.schema.names]
        nulls = [f"CAST(NULL AS {column.type}) AS {quoted(column.name)}" for column in added]
        both = self._connection.from_arrow(rows).project(", ".join([*ours, *nulls]))
        known = "" if known_at_us is None else f" WHERE committed_at <= make_timestamptz({known_at_us})"
        try:
            if files:
                names = ", ".join([*ours, *(quoted(column.name) for column in added)])
                source = columns.source(written(files))
                both = both.union(self._connection.sql(f"SELECT {names} FROM {source}{known}"))  # noqa: S608
            return both
        except duckdb.PermissionException as error:
            raise LakeError(f"A data file of the table cannot be read: {gone(error)} is gone", ASK_AGAIN) from error

    def run(self, text: str, parameters: Mapping[str, Any] = NO_PARAMETERS) -> pa.RecordBatchReader:
        """The rows of one query, as they are computed: the first are there, and so show whether digits are enough."""
        refused: Exception | None = None
        for places in self._tries(text):
            self._show(places)
            self.places = places
            try:
                rows = carried(self._connection.sql(text, params=dict(parameters) or None)).to_arrow_reader(_BATCH_ROWS)
                return with_first(next(iter(rows), None), rows)
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                if "*" not in text or not too_wide(error):
                    raise
                refused = refused or error
        raise refused or AssertionError("no try")

    def columns(self, text: str, parameters: Mapping[str, Any]) -> pa.Schema:
        """The columns of one query, which is not run."""
        self._show(AS_STORED)
        return carried(self._connection.sql(text, params=dict(parameters) or None)).limit(0).to_arrow_table().schema

    def _tries(self, text: str) -> Iterator[Places]:
        """How price and quantity are shown, one after the other, until the digits are enough."""
        if not (multiplies(text) and may_overflow(self._bounds())):
            yield AS_STORED
        self._show(AS_STORED)
        yield from places_of(self._connection, "trades_raw")
        yield DOUBLES

    def _show(self, places: Places) -> None:
        for name, rows in self._views.items():
            places.shown(rows).create_view(name)

    def _bounds_of(
        self, rows: pa.Table, files: list[str], columns: Columns
    ) -> Callable[[], list[tuple[Decimal | None, ...]]]:
        sources = [self._connection.from_arrow(rows)]
        if files:
            sources.append(self._connection.sql(f"SELECT * FROM {columns.source(written(files))}"))  # noqa: S608
        return lambda: [found for source in sources for found in source.aggregate(BOUNDS).fetchall()]

    def interrupt(self) -> None:
        """End the query, from another thread."""
        self._connection.interrupt()

    def close(self) -> None:
        """Close the connection."""
        with suppress(duckdb.Error):
            self._connection.close()


_NO_SNAPSHOTS: Final = pa.table(
    {"snapshot_id": pa.array([], pa.int64()), "committed_at": pa.array([], pa.timestamp("us", "UTC"))}
)
