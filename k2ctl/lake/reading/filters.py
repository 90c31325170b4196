"""What Iceberg prunes files by, and what is said when a snapshot holds more than data files."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pyiceberg import expressions

from k2ctl.errors import LakeError

EXPRESSIONS: Final[Any] = expressions
"""Untyped: the constructors take a column's name, which pydantic's generated signatures do not know."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant(microseconds: int) -> str:
    """A time as Iceberg's filters take it: ISO 8601, UTC."""
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()


def delete_files_found() -> LakeError:
    """The error of a table that another program has deleted rows of, in files that our readers do not apply."""
    return LakeError(
        "The table has delete files, which K2 does not write; their deletes would not be applied.",
        "Rewrite the table without them (rewrite_data_files in Spark), then try again.",
    )
