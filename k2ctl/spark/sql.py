"""`k2ctl query sql --engine spark`: one SELECT over the lake, for what one machine should not scan."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa

from k2ctl.clock import Clock
from k2ctl.errors import TooLong
from k2ctl.lake.catalog import Lake
from k2ctl.query.answer import evidence_of
from k2ctl.query.refusals import SqlError
from k2ctl.query.seam import AsOf
from k2ctl.query.sql import SqlAnswer
from k2ctl.spark.process import SparkError, SparkProcess
from k2ctl.spark.rows import batch_of, schema_of
from k2ctl.spark.views import sources_of, views_of

_VIEWS: Final = "The views are trades, trades_raw, reference and snapshots, the SQL is Spark's; gaps: k2ctl gaps"


@contextmanager
def sql_on_spark(
    spark: SparkProcess,
    lake: Lake,
    text: str,
    *,
    clock: Clock,
    as_of: AsOf | None = None,
    known_at_us: int | None = None,
    limit: int | None = None,
) -> Iterator[SqlAnswer]:
    """Run one query of Spark's SQL over the views; rows are read within the block.

    limit: no more rows than these, and one to know of more.

    Raises:
        SqlError: it is no query, or names what is not there. SparkError: Spark failed.
    """
    sources = sources_of(lake, clock, as_of, known_at_us)
    with sources.stages.timed("plan"):
        views = views_of(lake, sources)
    with sources.stages.timed("rows"), _as_sql_errors():
        rows = _Rows(spark, {"views": views, "text": text, "limit": None if limit is None else limit + 1})
        reader = rows.reader()
        yield SqlAnswer(reader, evidence_of(sources, ()))


def within(seconds: float | None) -> Callable[[], None]:
    """A tick of a `SparkProcess` that ends it after some time. Raises: TooLong."""
    until_s = None if seconds is None else time.monotonic() + seconds

    def tick() -> None:
        if until_s is not None and time.monotonic() > until_s:
            raise TooLong

    return tick


class _Rows:
    """The rows of an answer, as Spark computes them."""

    def __init__(self, spark: SparkProcess, command: dict[str, Any]) -> None:
        self._parts = spark.parts("sql", "running the query", **command)

    def reader(self) -> pa.RecordBatchReader:
        """To be read once. Whatever is wrong with the query is raised here: its columns come first."""
        schema = schema_of(next(self._parts)["columns"])
        return pa.RecordBatchReader.from_batches(schema, self._batches(schema))

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for part in self._parts:
            yield batch_of(schema, part["rows"])


@contextmanager
def _as_sql_errors() -> Iterator[None]:
    try:
        yield
    except SparkError as error:
        if error.kind in ("ParseException", "AnalysisException"):
            raise SqlError(f"The query cannot be answered: {error.reason}", _VIEWS) from error
        raise
