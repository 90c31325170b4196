"""The SQL of what is corrected, and of rows of the stream that are new; `k2ctl.query.history` runs it.

The tables that it names are registered for one query: `tail`, rows of the stream, and `changes` (`CHANGES_SCHEMA`).
"""

from typing import Final

import duckdb

from k2ctl.domain.copies import PRINT_SQL, TRADE_KEY
from k2ctl.domain.corrections import CORRECTED_COLUMNS, LOG_COLUMNS

NO_EVENT: Final = "refers_to IS NULL"
"""The rows that are trades as they were first printed."""

KEY: Final = ", ".join(TRADE_KEY)
_ARRIVAL: Final = "ORDER BY kafka_partition, kafka_offset, kafka_index"

NEW_TRADES: Final = f"""
    SELECT {{columns}} FROM tail {{unless}}
    QUALIFY row_number() OVER (PARTITION BY {KEY} {_ARRIVAL}) = 1
"""  # noqa: S608
"""The rows of trades that are not in the lake, of each trade one."""

_PRINTED: Final = ", ".join(f"{column} AS printed{at}" for at, column in enumerate(PRINT_SQL))
_PRINTED_NAMES: Final = ", ".join(f"printed{at}" for at in range(len(PRINT_SQL)))
_SAME_PRINT: Final = " AND ".join(f"t.printed{at} IS NOT DISTINCT FROM f.printed{at}" for at in range(len(PRINT_SQL)))
_SAME_TRADE: Final = " AND ".join(f"t.{name} = f.{name}" for name in TRADE_KEY)

NEW_PRINTS: Final = f"""
    WITH t AS (SELECT *, {_PRINTED} FROM tail), f AS (SELECT {KEY}, {_PRINTED} FROM ({{stored}})),
    fresh AS (
        SELECT t.*, EXISTS (SELECT 1 FROM f WHERE {_SAME_TRADE}) AS known FROM t
        WHERE NOT EXISTS (SELECT 1 FROM f WHERE {_SAME_TRADE} AND {_SAME_PRINT})
        QUALIFY row_number() OVER (PARTITION BY {KEY}, {_PRINTED_NAMES} {_ARRIVAL}) = 1
    ),
    marked AS (
        SELECT * REPLACE (
            CASE WHEN action = 'NEW' AND (known OR row_number() OVER (PARTITION BY {KEY} {_ARRIVAL}) > 1)
            THEN message_id ELSE refers_to END AS refers_to
        ) FROM fresh
    )
    SELECT {{columns}} FROM marked
"""  # noqa: S608
"""The rows that are not in the lake, of each print one; reprints are marked, as the consumer will mark them."""


_JOINED: Final = "r.message_id = c.message_id AND r.symbol = c.symbol AND r.exchange = c.exchange"
_PLACE: Final = "((r.kafka_offset << 16) + r.kafka_index)"
_SAME_LOG: Final = " AND ".join(f"c.{name} = r.{name}" for name in LOG_COLUMNS)
_OWN: Final = f"c.place IS NULL OR (c.first_reprint < {_PLACE} AND c.place < {_PLACE} AND {_SAME_LOG}) IS TRUE"
"""A trade's own print stands if a reprint that was sent before it, and was stored late, is all that corrects it."""

_CORRECTED: Final = ", ".join(
    f"CASE WHEN {_OWN} THEN r.{name} ELSE c.{name} END AS {name}" for name in CORRECTED_COLUMNS
)
_STANDING: Final = f"r.{NO_EVENT} AND c.cancelled IS NOT TRUE"


def as_corrected(source: str) -> str:
    """The trades of `source` as the table `changes` corrects them, as SQL."""
    joined = f"({source}) r LEFT JOIN changes c ON {_JOINED}"
    return f"SELECT r.* REPLACE ({_CORRECTED}) FROM {joined} WHERE {_STANDING}"  # noqa: S608


def corrected(source: duckdb.DuckDBPyRelation, changes: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The same of relations, which have no names."""
    joined = source.set_alias("r").join(changes.set_alias("c"), _JOINED, how="left")
    return joined.filter(_STANDING).project(f"r.* REPLACE ({_CORRECTED})")
