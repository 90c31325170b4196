"""Prices and quantities that SQL can multiply: with as many decimal places as the data has.

A product of two decimals of 12 places has 24, and DuckDB then has 14 digits before the point. Where that is too few,
the views show price and quantity with fewer places, of which none is cut: exact, as long as 38 digits are enough. Which
rows a query reads is not known before it runs, so places are tried as the symbols have them, and a row that has more
ends the try. If no places are enough, price and quantity are DOUBLE, and the answer says so.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import duckdb
import pyarrow as pa

from k2ctl.domain.decimals import DECIMAL_SCALE

ROUNDED: Final = (
    "price and quantity were computed as DOUBLE, to 15 digits: exact results of this query have more than 38 digits"
)

_MORE_PLACES: Final = "a number has more decimal places"
_TOO_WIDE: Final = re.compile(f"Overflow in|Could not cast .*DECIMAL|out of range.*DECIMAL|{_MORE_PLACES}")
_TRIES: Final = 5
_HELD: Final = 10**14
"""A product of twice 12 places is below this."""


@dataclass(frozen=True)
class Places:
    """How many decimal places the views show of price and quantity; None: DOUBLE."""

    price: int | None
    quantity: int | None

    def shown(self, rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
        """Rows of trades with these places."""
        if self == AS_STORED:
            return rows
        return rows.project(f"* REPLACE ({_cast('price', self.price)}, {_cast('quantity', self.quantity)})")


AS_STORED: Final = Places(DECIMAL_SCALE, DECIMAL_SCALE)
DOUBLES: Final = Places(None, None)


def _cast(name: str, places: int | None) -> str:
    if places is None:
        return f"{name}::DOUBLE AS {name}"
    # `error` is only evaluated for rows that the query reads.
    exact = f"WHEN round({name}, {places}) = {name} THEN {name}::DECIMAL(38, {places})"
    return f"CASE {exact} ELSE error('{_MORE_PLACES}') END AS {name}"


def too_wide(error: Exception) -> bool:
    """Whether a query failed because a number has too many digits, or more places than were tried."""
    return _TOO_WIDE.search(str(error)) is not None


def multiplies(text: str) -> bool:
    """Whether a query may multiply price by quantity, row by row."""
    lower = text.lower()
    return "*" in lower and "price" in lower and "quantity" in lower


BOUNDS: Final = "max(price), min(price), max(quantity), min(quantity)"
"""DuckDB takes these from the statistics of data files."""


def may_overflow(bounds: Sequence[tuple[Decimal | None, ...]]) -> bool:
    """Whether a product may have too many digits. bounds: rows of `BOUNDS`."""
    price, quantity = (
        max((abs(value) for row in bounds for value in row[at : at + 2] if value is not None), default=Decimal(0))
        for at in (0, 2)
    )
    return price * quantity >= _HELD


_OF_SYMBOLS: Final = """
    SELECT DISTINCT max({price}) AS price, max({quantity}) AS quantity FROM {view} GROUP BY symbol
"""


def places_of(connection: duckdb.DuckDBPyConnection, view: str) -> list[Places]:
    """The places that symbols have, the fewest first, and those that all have together."""
    used = {name: f"len(rtrim(split_part({name}::VARCHAR, '.', 2), '0'))" for name in ("price", "quantity")}
    found = connection.sql(_OF_SYMBOLS.format(view=view, **used)).fetchall()
    if not found:
        return []
    pairs = sorted({Places(*pair) for pair in found}, key=lambda pair: (pair.price or 0) + (pair.quantity or 0))
    whole = Places(max(price for price, _ in found), max(quantity for _, quantity in found))
    return list(dict.fromkeys([*pairs[:_TRIES], whole]))


def with_first(first: pa.RecordBatch | None, rows: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """The rows of a reader of which the first were read."""
    if first is None:
        return rows

    def every() -> object:
        yield first
        yield from rows

    return pa.RecordBatchReader.from_batches(rows.schema, every())
