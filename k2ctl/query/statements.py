"""Which statements are run: queries, and EXPLAIN of one. DuckDB's own parser says what a text is.

PIVOT without IN is two statements for DuckDB: one that collects the values in a type of its own, and the SELECT over
it. So are CREATE, INSERT and COPY of such a PIVOT; only a query can stand between parentheses as a table.
"""

from collections.abc import Mapping
from typing import Any, Final

import duckdb

from k2ctl.query.refusals import SqlError, as_errors

_PARSED_BYTES: Final = 100_000
_QUERIES: Final = {duckdb.StatementType.SELECT, duckdb.StatementType.MULTI}
_OPTIONS: Final = (b"ANALYZE", b"ANALYSE", b"VERBOSE", b"FORMAT")
"""Of EXPLAIN, as words behind it or between parentheses."""
_LONGEST: Final = 8
_EXAMPLE: Final = 'For instance: k2ctl query sql "SELECT count(*) FROM trades"'
NO_PARAMETERS: Final[Mapping[str, Any]] = {}


def named(text: str) -> set[str]:
    """The tables that a query names, in lower case. The parser reads files, so it is locked as well."""
    with as_errors(), duckdb.connect(config={"enable_external_access": "false"}) as parser:
        return {name.lower() for name in parser.get_table_names(text)}


def check(text: str, parameters: Mapping[str, Any] = NO_PARAMETERS) -> None:
    """Accept exactly one SELECT, or PIVOT, DESCRIBE, SHOW, SUMMARIZE and the like, or EXPLAIN of one.

    parameters: their values by name, for each `$name` of the text and nothing else.

    Raises:
        SqlError: anything else.
    """
    if len(text) > _PARSED_BYTES:
        raise SqlError("The query is longer than 100,000 characters.", "Ask a shorter one.")
    with as_errors():
        statements = duckdb.extract_statements(text)
    if len(statements) != 1 or not _is_query(statements[0].type, text):
        raise SqlError("Only a single SELECT is run.", _EXAMPLE)
    _check_parameters(statements[0], parameters)


def parameters_of(text: str) -> set[str]:
    """The names of a query's parameters; none of what is no query."""
    try:
        return {name for statement in duckdb.extract_statements(text) for name in statement.named_parameters}
    except duckdb.Error:
        return set()


def _is_query(kind: duckdb.StatementType, text: str) -> bool:
    explained = _explained(text)
    if explained is not None:
        return _is_table(explained)
    return kind == duckdb.StatementType.SELECT or (kind in _QUERIES and _is_table(text))


def _is_table(text: str) -> bool:
    """Whether a text is one query by itself."""
    try:
        alone = duckdb.extract_statements(text)
        between = duckdb.extract_statements(f"SELECT * FROM (\n{_without_semicolons(text)}\n)")  # noqa: S608  only parsed
    except duckdb.Error:
        return False
    return all(len(found) == 1 and found[0].type in _QUERIES for found in (alone, between))


def _words(text: bytes) -> list[tuple[int, bytes]]:
    """Where each token of a statement begins, and how, in upper case; comments are none."""
    kept = [at for at, kind in duckdb.tokenize(text.decode()) if kind != duckdb.token_type.comment]
    return [(at, text[at : at + _LONGEST].upper()) for at in kept]


def _without_semicolons(text: str) -> str:
    """Of a single statement, the semicolons stand around it."""
    signs = bytearray(text.encode())
    for at, word in _words(bytes(signs)):
        if word.startswith(b";"):
            signs[at] = ord(" ")
    return signs.decode()


def _explained(text: str) -> str | None:
    """What EXPLAIN explains, without its options; None where it is another statement."""
    signs = text.encode()
    words = [(at, word) for at, word in _words(signs) if not word.startswith(b";")]
    if not words or not words[0][1].startswith(b"EXPLAIN"):
        return None
    rest = words[1:]
    if rest and rest[0][1].startswith(_OPTIONS):
        rest = rest[1:]
    if len(rest) > 1 and rest[0][1].startswith(b"(") and rest[1][1].startswith(_OPTIONS):
        closing = next((number for number, (_, word) in enumerate(rest) if word.startswith(b")")), len(rest))
        rest = rest[closing + 1 :]
    return signs[rest[0][0] :].decode() if rest else ""


def _check_parameters(statement: duckdb.Statement, parameters: Mapping[str, Any]) -> None:
    """Refuse a parameter without a value, and a value without a parameter."""
    wanted = set(statement.named_parameters)
    missing, strange = sorted(wanted - parameters.keys()), sorted(parameters.keys() - wanted)
    if parameters and statement.type == duckdb.StatementType.MULTI:
        raise SqlError(
            "A PIVOT that looks for its values takes no parameters.", "Name the values: PIVOT trades ON side IN (...)"
        )
    if missing:
        raise SqlError(f"${missing[0]} has no value.", f"Give it one: --param {missing[0]}=VALUE")
    if strange:
        raise SqlError(f"The query has no ${strange[0]}.", f"Write ${strange[0]} where its value belongs.")
