"""What a refused query is answered with: the near names."""

from collections.abc import Iterator

import duckdb
import pytest

from k2ctl.domain.rows import arrow_schema
from k2ctl.query.answer import GAPS_SCHEMA
from k2ctl.query.refusals import SqlError, as_errors


@pytest.fixture
def tables() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.from_arrow(arrow_schema().empty_table()).create_view("trades")
        connection.from_arrow(GAPS_SCHEMA.empty_table()).create_view("gaps")
        yield connection


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("SELECT symbl FROM trades", "Did you mean symbol"),
        ("SELECT count(*) FROM trades WHERE pirce > 3", "Did you mean price"),
        ("SELECT t.quantty FROM trades t", "Did you mean quantity"),
        ("SELECT SYMBL FROM trades", "Did you mean symbol"),
        ("SELECT * EXCLUDE (exchang) FROM trades", "Did you mean exchange"),
        ("SELECT first_mising FROM gaps", "Did you mean first_missing"),
        ("SELECT zzzz FROM trades", "DESCRIBE trades"),
        ("SELECT * FROM trade", "Did you mean trades?"),
        ("SELECT * FROM bananas", "The views are trades, "),
        ("SELECT avrg(price) FROM trades", "Did you mean avg?"),
        ("SELECT * FROM trades WHERE", "The views are trades, "),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_the_near_ones(
    tables: duckdb.DuckDBPyConnection, text: str, hint: str
) -> None:
    with pytest.raises(SqlError) as refused, as_errors():
        tables.sql(text).fetchall()
    assert hint in refused.value.hint
    assert "\n" not in str(refused.value)
    assert "Values list" not in str(refused.value)
