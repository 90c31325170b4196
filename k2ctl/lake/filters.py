"""What Iceberg prunes files by."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pyiceberg import expressions

EXPRESSIONS: Final[Any] = expressions
"""Untyped: the constructors take a column's name, which pydantic's generated signatures do not know."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant(microseconds: int) -> str:
    """A time as Iceberg's filters take it: ISO 8601, UTC."""
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()
