"""Why DuckDB does not answer a query, as errors with a hint."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import duckdb
import pyarrow as pa

from k2ctl.errors import K2Error, LakeError, TooLarge, TooLong, UsageError
from k2ctl.lake.duckdb_files import ASK_AGAIN, refuse_damage, unreadable

VIEWS: Final = ("trades", "trades_raw", "reference", "snapshots", "gaps")


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
    message = str(error).splitlines()[0]
    if "Out of Memory" in message:
        return TooLarge()
    return SqlError(f"The query cannot be answered: {message}", f"The views are {', '.join(VIEWS)}.")
