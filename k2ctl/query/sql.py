"""SQL over the one table."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from k2ctl.domain.trade import WHOLE_HISTORY
from k2ctl.errors import OffsetsDiffer, RolledBack
from k2ctl.query.answer import Evidence, evidence_of, gap_table
from k2ctl.query.locked import LockedTables
from k2ctl.query.products import DOUBLES, ROUNDED
from k2ctl.query.refusals import as_errors
from k2ctl.query.seam import AsOf, Question, Sources
from k2ctl.query.session import Session
from k2ctl.query.statements import NO_PARAMETERS, check, named
from k2ctl.timing import Stopwatch

_GAPS: Final = re.compile(r"\bgaps\b", re.IGNORECASE)
"""The gap report is made only for a query that names it."""


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


@contextmanager
def sql(
    session: Session,
    text: str,
    limits: SqlLimits | None = None,
    *,
    parameters: Mapping[str, Any] = NO_PARAMETERS,
    as_of: AsOf | None = None,
    known_at_us: int | None = None,
    begun: Callable[[], None] = lambda: None,
) -> Iterator[SqlAnswer]:
    """Run one query over the views `VIEWS`; rows are read within the block. `begun`: called when its time begins.

    parameters: the values of `$name` in the text, bound by DuckDB, which takes them for what they are compared with.
    known_at_us: `trades` and `trades_raw` have only what was committed by then.

    Raises:
        SqlError: it is not a single query, names what is not there, or needs what is not allowed.
        TooLong: its time was over.
        TooLarge: it needs more memory than it may have.
    """
    limits = limits or SqlLimits()
    check(text, parameters)
    stages = Stopwatch(session.seam.clock)
    question = Question(None, WHOLE_HISTORY, session.seam.clock.now_us(), as_of=as_of, known_at_us=known_at_us)
    sources = _sources(session, text, question, stages)

    def gaps(tail: pa.Table) -> pa.Table:
        return gap_table(session.gap_report(sources, tail).gaps)

    tables = LockedTables(session.seam.lake, sources, limits.memory_mb, gaps if _GAPS.search(text) else None)
    timer = threading.Timer(limits.seconds, tables.interrupt)
    timer.daemon = True
    begun()
    timer.start()
    try:
        with stages.timed("start"), as_errors():
            rows = tables.run(text, parameters)
        notes = (ROUNDED,) if tables.places == DOUBLES else ()
        evidence = evidence_of(sources, session.sides.outstanding(sources), tail_rows=tables.fresh_rows, notes=notes)
        with stages.timed("rows"), as_errors():
            yield SqlAnswer(rows, evidence)
    finally:
        timer.cancel()
        tables.close()


def _sources(session: Session, text: str, question: Question, stages: Stopwatch) -> Sources:
    """Both sides of the seam. Of a table whose offsets are not to be trusted only the snapshots can be queried."""
    try:
        return session.seam.take(question, stages)
    except (RolledBack, OffsetsDiffer) as error:
        if named(text) != {"snapshots"}:
            raise
        return session.seam.snapshots_alone(question, stages, str(error))
