"""Why DuckDB does not answer a query, as errors with a hint."""

import difflib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import duckdb
import pyarrow as pa

from k2ctl.domain.rows import arrow_schema
from k2ctl.errors import K2Error, LakeError, TooLarge, TooLong, UsageError
from k2ctl.lake.duckdb_files import ASK_AGAIN, refuse_damage, unreadable

VIEWS: Final = ("trades", "trades_raw", "reference", "snapshots", "gaps")
_NO_COLUMN: Final = re.compile(r'^[^\n]*column(?: named)? "([^"]+)"(?: in \w+ list)?\s*(?:not found|$)', re.M | re.I)
_CANDIDATES: Final = "Candidate bindings:"
_COLUMNS: Final = 'Its columns: k2ctl query sql "DESCRIBE trades"'


class SqlError(UsageError):
    """The query is not one that can be answered."""


@contextmanager
def as_errors() -> Iterator[None]:
    """DuckDB's errors as errors with a hint; while rows are read they come through Arrow."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise TooLong from error
    except duckdb.Error as error:
        raise refused(error) from error
    except (pa.ArrowException, OSError) as error:
        if "INTERRUPT" in str(error):
            raise TooLong from error
        if "Error:" not in str(error):
            raise
        raise refused(error) from error


def refused(error: Exception) -> K2Error:
    refuse_damage(error)
    reason = unreadable(error)
    if reason:
        return LakeError(f"A data file of the table cannot be read: {reason}", ASK_AGAIN)
    message = str(error).splitlines()[0].replace('Values list "', 'Table "')
    if "Out of Memory" in message:
        return TooLarge()
    return SqlError(f"The query cannot be answered: {message}", _hint(str(error)))


def _hint(error: str) -> str:
    """What was meant, as far as names show it: DuckDB names candidates behind the first line, some of them far off."""
    column = _NO_COLUMN.search(error)
    if column is not None:
        offered = (name.rpartition(".")[2] for name in re.findall(r'"([^"]+)"', error.partition(_CANDIDATES)[2]))
        known = dict.fromkeys([*offered, *arrow_schema().names])
        near = difflib.get_close_matches(column[1].lower(), known, n=3)
        return f"Did you mean {', '.join(near)}?" if near else _COLUMNS
    meant = re.search(r'Did you mean "([^"]+)"', error)
    if meant is not None and (meant[1] in VIEWS or "Function" in error):
        return f"Did you mean {meant[1]}?"
    return f"The views are {', '.join(VIEWS)}."
