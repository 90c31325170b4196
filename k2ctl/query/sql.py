"""SQL over the one table: a DuckDB that can read the table's own files and nothing else."""

import itertools
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import duckdb
import pyarrow as pa
from duckdb.sqltypes import DuckDBPyType

from k2ctl.domain.rows import reference_schema
from k2ctl.domain.trade import WHOLE_HISTORY
from k2ctl.errors import K2Error, LakeError, OffsetsDiffer, RolledBack, TooLarge, TooLong, UsageError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.columns import Columns, all_columns, literal, quoted
from k2ctl.lake.duckdb_files import ASK_AGAIN, gone, lock, open_duckdb, refuse_damage, unreadable, written
from k2ctl.lake.snapshots import reference_plan
from k2ctl.query.answer import GAPS_SCHEMA, Evidence, evidence_of, gap_table
from k2ctl.query.changes import Events
from k2ctl.query.corrected import corrected
from k2ctl.query.history import History
from k2ctl.query.products import (
    AS_STORED,
    BOUNDS,
    DOUBLES,
    ROUNDED,
    Places,
    may_overflow,
    multiplies,
    places_of,
    too_wide,
    with_first,
)
from k2ctl.query.seam import AsOf, Question, Sources
from k2ctl.query.session import Session
from k2ctl.timing import Stopwatch

VIEWS: Final = ("trades", "trades_raw", "reference", "snapshots", "gaps")
_GAPS: Final = re.compile(r"\bgaps\b", re.IGNORECASE)
"""The gap report is made only for a query that names it."""

_BATCH_ROWS: Final = 50_000
_PARSED_BYTES: Final = 100_000


@dataclass(frozen=True)
class SqlLimits:
    """What one query may take."""

    # Of DuckDB.
    memory_mb: int = 1024
    # Until its last row.
    seconds: float = 60.0


@dataclass(frozen=True)
class SqlAnswer:
    """What a query gives."""

    # To be read once, as they are computed.
    rows: pa.RecordBatchReader
    # Of the sources; rows per source are not counted.
    evidence: Evidence


class SqlError(UsageError):
    """The query is not one that can be answered."""


@contextmanager
def sql(
    session: Session,
    text: str,
    limits: SqlLimits | None = None,
    *,
    as_of: AsOf | None = None,
    known_at_us: int | None = None,
    begun: Callable[[], None] = lambda: None,
) -> Iterator[SqlAnswer]:
    """Run one SELECT over the views `VIEWS`; rows are read within the block. `begun`: called when its time begins.

    known_at_us: `trades` and `trades_raw` have only what was committed by then.

    Raises:
        SqlError: it is not a single SELECT, names what is not there, or needs what is not allowed.
        TooLong: its time was over.
        TooLarge: it needs more memory than it may have.
    """
    limits = limits or SqlLimits()
    check(text)
    stages = Stopwatch(session.seam.clock)
    question = Question(None, WHOLE_HISTORY, session.seam.clock.now_us(), as_of=as_of, known_at_us=known_at_us)
    sources = _sources(session, text, question, stages)

    def gaps(tail: pa.Table) -> pa.Table:
        return gap_table(session.gap_report(sources, tail).gaps)

    tables = LockedTables(session.seam.lake, sources, limits, gaps if _GAPS.search(text) else None)
    timer = threading.Timer(limits.seconds, tables.interrupt)
    timer.daemon = True
    begun()
    timer.start()
    try:
        with stages.timed("start"), _as_errors():
            rows = tables.run(text)
        notes = (ROUNDED,) if tables.places == DOUBLES else ()
        evidence = evidence_of(sources, session.outstanding(sources), tail_rows=tables.fresh_rows, notes=notes)
        with stages.timed("rows"), _as_errors():
            yield SqlAnswer(rows, evidence)
    finally:
        timer.cancel()
        tables.close()


def _sources(session: Session, text: str, question: Question, stages: Stopwatch) -> Sources:
    """Both sides of the seam. Of a table whose offsets are not to be trusted only the snapshots can be queried."""
    try:
        return session.seam.take(question, stages)
    except (RolledBack, OffsetsDiffer) as error:
        if _named(text) != {"snapshots"}:
            raise
        return session.seam.snapshots_alone(question, stages, str(error))


def _named(text: str) -> set[str]:
    """The tables that a query names, in lower case. The parser reads files, so it is locked as well."""
    with _as_errors(), duckdb.connect(config={"enable_external_access": "false"}) as parser:
        return {name.lower() for name in parser.get_table_names(text)}


def check(text: str) -> None:
    """Accept exactly one SELECT.

    Raises:
        SqlError: anything else.
    """
    if len(text) > _PARSED_BYTES:
        raise SqlError("The query is longer than 100,000 characters.", "Ask a shorter one.")
    with _as_errors():
        statements = duckdb.extract_statements(text)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise SqlError("Only a single SELECT is run.", 'For instance: k2ctl query sql "SELECT count(*) FROM trades"')


class LockedTables:
    """The views of one query. No file but the table's own, no network, no extension, no setting can be reached."""

    def __init__(
        self,
        lake: Lake,
        sources: Sources,
        limits: SqlLimits,
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
        self._connection.register("snapshots", sources.pinned.snapshots() if sources.pinned else _NO_SNAPSHOTS)
        self._connection.register("gaps", gaps(fresh) if gaps else GAPS_SCHEMA.empty_table())
        lock(self._connection, [*plan.paths, *references.paths], limits.memory_mb)
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

    def run(self, text: str) -> pa.RecordBatchReader:
        """The rows of one SELECT, as they are computed: the first are there, and so show whether digits are enough."""
        refused: Exception | None = None
        for places in self._tries(text):
            self._show(places)
            self.places = places
            try:
                rows = carried(self._connection.sql(text)).to_arrow_reader(_BATCH_ROWS)
                return with_first(next(iter(rows), None), rows)
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                if "*" not in text or not too_wide(error):
                    raise
                refused = refused or error
        raise refused or AssertionError("no try")

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


@contextmanager
def _as_errors() -> Iterator[None]:
    """DuckDB's errors as errors with a hint; while rows are read they come through Arrow."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise TooLong from error
    except duckdb.Error as error:
        raise _refused(error) from error
    except (pa.ArrowException, OSError) as error:
        if "INTERRUPT" in str(error):
            raise TooLong from error
        if "Error:" not in str(error):
            raise
        raise _refused(error) from error


def _refused(error: Exception) -> K2Error:
    refuse_damage(error)
    reason = unreadable(error)
    if reason:
        return LakeError(f"A data file of the table cannot be read: {reason}", ASK_AGAIN)
    message = str(error).splitlines()[0]
    if "Out of Memory" in message:
        return TooLarge()
    return SqlError(f"The query cannot be answered: {message}", f"The views are {', '.join(VIEWS)}.")


_AS_TEXT: Final = frozenset({"uhugeint", "bit", "bignum", "variant", "geometry", "time with time zone"})
"""Arrow has no type for these; what DuckDB hands over is cut, or bytes that only DuckDB reads."""
_LONGEST_HOURS: Final = 2_562_046
"""Arrow counts an interval's time in nanoseconds of 64 bits; DuckDB passes on what remains of a longer one."""


def carried(rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The same rows: types that Arrow lacks as texts, no two columns of one name, no interval that is too long."""
    names, kinds = distinct_names(rows.columns), rows.types
    wanted = [_expression(at, kind) for at, kind in enumerate(kinds, 1)]
    if names == rows.columns and not any(wanted):
        return rows
    chosen = [expression or f"#{at}" for at, expression in enumerate(wanted, 1)]
    columns = (f"{expression} AS {_quoted(name)}" for expression, name in zip(chosen, names, strict=True))
    return rows.project(", ".join(columns))


def distinct_names(names: list[str]) -> list[str]:
    """Names of which no two are the same: `a`, `a_1`."""
    distinct: list[str] = []
    for name in names:
        numbered = (f"{name}_{number}" for number in itertools.count(1))
        taken = {*distinct, *names}
        distinct.append(name if name not in distinct else next(other for other in numbered if other not in taken))
    return distinct


def _expression(at: int, kind: DuckDBPyType) -> str:
    """The expression to select instead of a column; empty where it can stay."""
    if kind.id == "interval":
        return (
            f"CASE WHEN abs(hour(#{at})) > {_LONGEST_HOURS} THEN error('an interval of more than 292 years of hours;"
            f" cast it to VARCHAR') ELSE #{at} END"
        )
    wanted = _type(kind)
    return "" if wanted == str(kind) else f"CAST(#{at} AS {wanted})"


def _type(kind: DuckDBPyType) -> str:
    """The same type, made of what Arrow has."""
    if kind.id in _AS_TEXT:
        return "VARCHAR"
    parts: dict[str, Any] = dict(kind.children) if kind.id in {"list", "array", "struct", "union", "map"} else {}
    made = {name: _type(part) for name, part in parts.items() if name and isinstance(part, DuckDBPyType)}
    if all(made[name] == str(parts[name]) for name in made):
        return str(kind)
    if kind.id == "list":
        return f"{made['child']}[]"
    if kind.id == "array":
        return f"{made['child']}[{parts['size']}]"
    if kind.id == "map":
        return f"MAP({made['key']}, {made['value']})"
    members = ", ".join(f"{_quoted(name)} {part}" for name, part in made.items())
    return f"{kind.id.upper()}({members})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
