"""The views of a query on Spark: those of `query.sql`, made of the table at one snapshot, in Spark's own SQL.

What is corrected is found by k2ctl, which reads the few files with corrections and cancellations; Spark joins it.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa

from k2ctl.clock import Clock
from k2ctl.domain.corrections import CORRECTED_COLUMNS, LOG_COLUMNS
from k2ctl.domain.rows import arrow_schema
from k2ctl.domain.topics import REFERENCE_TABLE
from k2ctl.domain.trade import WHOLE_HISTORY
from k2ctl.errors import LakeError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.snapshots import Pinned, ScanPlan, pin, pin_as_of
from k2ctl.query.changes import Events
from k2ctl.query.history import History
from k2ctl.query.seam import AsOf, Question, Sources
from k2ctl.query.tail import NOTHING_READ
from k2ctl.spark.settings import quoted_name
from k2ctl.timing import Stopwatch

NO_STREAM: Final = "the stream is not in it (Spark reads the lake)"

View = dict[str, Any]


def sources_of(lake: Lake, clock: Clock, as_of: AsOf | None, known_at_us: int | None) -> Sources:
    """The lake's side, pinned; no file is looked at.

    Raises:
        LakeError: there is no table or no commit yet, or nothing of then.
    """
    question = Question(None, WHOLE_HISTORY, clock.now_us(), lake_only=True, as_of=as_of, known_at_us=known_at_us)
    pinned = pin(lake) if as_of is None else pin_as_of(lake, as_of.moment_us, as_of.snapshot_id)
    if pinned is None or pinned.snapshot_id is None:
        raise LakeError("The table has no rows yet.", "Fill it with: k2ctl consume --until-caught-up")
    tail = replace(NOTHING_READ, missing=(NO_STREAM,))
    return Sources(question, Stopwatch(clock), pinned, ScanPlan((), 0, 0), {}, {}, tail)


def views_of(lake: Lake, sources: Sources) -> list[View]:
    """trades_raw, trades, snapshots, and reference where there is such a table."""
    pinned = sources.pinned
    if pinned is None:
        return []
    views = [{"name": "trades_raw", "sql": printed(lake, pinned, sources.question.known_at_us)}]
    changes = _changes(lake, sources)
    if len(changes):
        views += [*_given("k2_changes", changes), {"name": "trades", "sql": _corrected(pinned)}]
    else:
        views.append({"name": "trades", "sql": "SELECT * FROM trades_raw"})
    views += _given("snapshots", pinned.snapshots())
    if lake.find_table(REFERENCE_TABLE) is not None:
        views.append({"name": "reference", "sql": f"SELECT * FROM {quoted_name(REFERENCE_TABLE)}"})  # noqa: S608
    return views


def _changes(lake: Lake, sources: Sources) -> pa.Table:
    history = History(lake)
    try:
        return Events(history, sources).changes(arrow_schema().empty_table())
    finally:
        history.close()


def printed(lake: Lake, pinned: Pinned, known_at_us: int | None) -> str:
    """The rows of a snapshot, as SQL."""
    known = "" if known_at_us is None else f" WHERE committed_at <= timestamp_micros({known_at_us})"
    return f"SELECT * FROM {quoted_name(lake.name)} VERSION AS OF {pinned.snapshot_id}{known}"  # noqa: S608


_PLACE: Final = "(r.kafka_offset * 65536 + r.kafka_index)"
_SAME_LOG: Final = " AND ".join(f"c.{name} = r.{name}" for name in LOG_COLUMNS)
_OWN: Final = f"c.place IS NULL OR (c.first_reprint < {_PLACE} AND c.place < {_PLACE} AND {_SAME_LOG}) IS TRUE"
_JOINED: Final = "r.message_id = c.message_id AND r.symbol = c.symbol AND r.exchange = c.exchange"


def _corrected(pinned: Pinned) -> str:
    """As `query.corrected`, which says it in DuckDB's SQL."""
    columns = ", ".join(
        f"CASE WHEN {_OWN} THEN r.{name} ELSE c.{name} END AS {name}" if name in CORRECTED_COLUMNS else f"r.`{name}`"
        for name in (field.name for field in pinned.table.schema().fields)
    )
    return (
        f"SELECT {columns} FROM trades_raw r LEFT JOIN k2_changes c ON {_JOINED} "  # noqa: S608
        "WHERE r.refers_to IS NULL AND c.cancelled IS NOT TRUE"
    )


def _given(name: str, table: pa.Table) -> list[View]:
    """Rows of ours as a view: they go to Spark as texts, and a second view has their types."""
    rows = [[_text(value) for value in row.values()] for row in table.to_pylist()]
    texts = ", ".join(f"`{column}` STRING" for column in table.schema.names)
    typed = ", ".join(f"{_typed(field)} AS `{field.name}`" for field in table.schema)
    return [
        {"name": f"{name}_texts", "rows": rows, "columns": texts},
        {"name": name, "sql": f"SELECT {typed} FROM {name}_texts"},  # noqa: S608
    ]


def _text(value: Any) -> str | None:
    return json.dumps(value) if isinstance(value, list) else None if value is None else str(value)


def _typed(field: pa.Field) -> str:
    kind, column = field.type, f"`{field.name}`"
    if pa.types.is_decimal(kind):
        return f"CAST({column} AS DECIMAL({kind.precision},{kind.scale}))"
    if pa.types.is_list(kind):
        return f"from_json({column}, 'ARRAY<STRING>')"
    names: Sequence[tuple[Any, str]] = (
        (pa.types.is_boolean, "BOOLEAN"),
        (pa.types.is_integer, "BIGINT"),
        (pa.types.is_timestamp, "TIMESTAMP"),
    )
    wanted = next((name for is_kind, name in names if is_kind(kind)), "STRING")
    return f"CAST({column} AS {wanted})"
