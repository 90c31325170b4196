"""Which statements are run: DuckDB's own parser says what a text is."""

from typing import Final

import duckdb

from k2ctl.query.refusals import SqlError, as_errors

_PARSED_BYTES: Final = 100_000


def named(text: str) -> set[str]:
    """The tables that a query names, in lower case. The parser reads files, so it is locked as well."""
    with as_errors(), duckdb.connect(config={"enable_external_access": "false"}) as parser:
        return {name.lower() for name in parser.get_table_names(text)}


def check(text: str) -> None:
    """Accept exactly one SELECT.

    Raises:
        SqlError: anything else.
    """
    if len(text) > _PARSED_BYTES:
        raise SqlError("The query is longer than 100,000 characters.", "Ask a shorter one.")
    with as_errors():
        statements = duckdb.extract_statements(text)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise SqlError("Only a single SELECT is run.", 'For instance: k2ctl query sql "SELECT count(*) FROM trades"')
