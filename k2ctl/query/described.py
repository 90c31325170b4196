"""What a query gives and takes, without running it: for programs that prepare a statement before they bind values."""

import re
from typing import Final

import duckdb
import pyarrow as pa

from k2ctl.domain.trade import WHOLE_HISTORY
from k2ctl.query.locked import LockedTables
from k2ctl.query.refusals import as_errors
from k2ctl.query.seam import Question
from k2ctl.query.session import Session
from k2ctl.query.statements import check
from k2ctl.timing import Stopwatch

_NAMED: Final = re.compile(r"\$(\w+)")


def parameters_of(text: str) -> tuple[str, ...]:
    """The names of a query's parameters, in their order; `?` are called by their numbers.

    Raises:
        SqlError: it is not a single query.
    """
    with as_errors():
        statements = duckdb.extract_statements(text)
    names = {name for statement in statements for name in statement.named_parameters}
    if all(name.isdigit() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(dict.fromkeys(name for name in _NAMED.findall(text) if name in names))


def described(session: Session, text: str, memory_mb: int) -> pa.Schema:
    """The columns of a query over the views `VIEWS`. A product may come with other decimal places, when it is run.

    Raises:
        SqlError: it is not a single query, or names what is not there.
    """
    values = dict.fromkeys(parameters_of(text))
    check(text, values)
    now_us = session.seam.clock.now_us()
    # The stream has no column that the table has not.
    question = Question(None, WHOLE_HISTORY, now_us, known_at_us=now_us)
    sources = session.seam.take(question, Stopwatch(session.seam.clock))
    tables = LockedTables(session.seam.lake, sources, memory_mb, None)
    try:
        with as_errors():
            return tables.columns(text, values)
    finally:
        tables.close()
