"""Rows of DuckDB that Arrow can carry."""

import itertools
from typing import Any, Final

import duckdb
from duckdb.sqltypes import DuckDBPyType

_AS_TEXT: Final = frozenset({"uhugeint", "bit", "bignum", "variant", "geometry", "time with time zone"})
"""Arrow has no type for these; what DuckDB hands over is cut, or bytes that only DuckDB reads."""
_LONGEST_HOURS: Final = 2_562_046
"""Arrow counts an interval's time in nanoseconds of 64 bits; DuckDB passes on what remains of a longer one."""


def carried(rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The same rows: types that Arrow lacks as texts, no two columns of one name, no interval that is too long."""
    names, kinds = distinct_names(rows.columns), rows.types
    wanted = [_expression(at, kind) for at, kind in enumerate(kinds, 1)]
    if names == rows.columns and not any(wanted):
        return rows
    chosen = [expression or f"#{at}" for at, expression in enumerate(wanted, 1)]
    columns = (f"{expression} AS {_quoted(name)}" for expression, name in zip(chosen, names, strict=True))
    return rows.project(", ".join(columns))


def distinct_names(names: list[str]) -> list[str]:
    """Names of which no two are the same: `a`, `a_1`."""
    distinct: list[str] = []
    for name in names:
        numbered = (f"{name}_{number}" for number in itertools.count(1))
        taken = {*distinct, *names}
        distinct.append(name if name not in distinct else next(other for other in numbered if other not in taken))
    return distinct


def _expression(at: int, kind: DuckDBPyType) -> str:
    """The expression to select instead of a column; empty where it can stay."""
    if kind.id == "interval":
        return (
            f"CASE WHEN abs(hour(#{at})) > {_LONGEST_HOURS} THEN error('an interval of more than 292 years of hours;"
            f" cast it to VARCHAR') ELSE #{at} END"
        )
    wanted = _type(kind)
    return "" if wanted == str(kind) else f"CAST(#{at} AS {wanted})"


def _type(kind: DuckDBPyType) -> str:
    """The same type, made of what Arrow has."""
    if kind.id in _AS_TEXT:
        return "VARCHAR"
    parts: dict[str, Any] = dict(kind.children) if kind.id in {"list", "array", "struct", "union", "map"} else {}
    made = {name: _type(part) for name, part in parts.items() if name and isinstance(part, DuckDBPyType)}
    if all(made[name] == str(parts[name]) for name in made):
        return str(kind)
    if kind.id == "list":
        return f"{made['child']}[]"
    if kind.id == "array":
        return f"{made['child']}[{parts['size']}]"
    if kind.id == "map":
        return f"MAP({made['key']}, {made['value']})"
    members = ", ".join(f"{_quoted(name)} {part}" for name, part in made.items())
    return f"{kind.id.upper()}({members})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
