"""The names of columns, as expressions and YAML write them."""

import re
from typing import Final, Literal

import duckdb

from k2ctl.feeds.guess.columns import SampleColumn

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_SHORT: Final = 2
_FUNCTIONS: Final = {"user", "localtime", "localtimestamp"}

Kept = Literal["all", "plain", "telling"]
"""Which names of a source stay: all, where expressions quote them; those that need no quotes; or those that say more
than a letter or a number. Others are made plain, or become that of the field."""


class Naming:
    """Gives each column one name, of which no two are the same."""

    def __init__(self, columns: list[SampleColumn], kept: Kept) -> None:
        self._kept = kept
        self._names: dict[int, str] = {}
        self._keys = [column.name.lower() for column in columns]

    def name(self, column: SampleColumn, role: str = "column") -> str:
        """The name of a column."""
        if id(column) not in self._names:
            wanted = self._wanted(column, role)
            taken = {name.lower() for name in self._names.values()}
            numbered = (f"{wanted}_{number}" for number in range(2, 10_000))
            free = wanted if wanted.lower() not in taken else next(n for n in numbered if n.lower() not in taken)
            self._names[id(column)] = wanted if self._kept == "all" else free
        return self._names[id(column)]

    def expression(self, column: SampleColumn, role: str = "column") -> str:
        """The same as an expression writes it."""
        name = self.name(column, role)
        if column.sql:
            return column.sql
        return name if is_plain(name) else '"' + name.replace('"', '""') + '"'

    def named(self, column: SampleColumn) -> bool:
        """True if the column has been given a name."""
        return id(column) in self._names

    def _wanted(self, column: SampleColumn, role: str) -> str:
        if self._kept == "all" or (self._kept == "plain" and is_plain(column.name)):
            return column.name
        plain = re.sub(r"\W+", "_", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", column.name), flags=re.ASCII).strip("_")
        telling = len(plain) > _SHORT and not plain[0].isdigit() and not column.is_nameless
        if not telling or self._keys.count(column.name.lower()) > 1:
            return role
        return plain.lower()[:64] if is_plain(plain.lower()) else f"{plain.lower()[:60]}_"


def is_plain(name: str) -> bool:
    """True if an expression can have a name without quotes."""
    if not _PLAIN.fullmatch(name) or name.lower().startswith("current_") or name.lower() in _FUNCTIONS:
        return False
    try:
        duckdb.extract_statements(f"SELECT {name} FROM trades")  # noqa: S608
    except duckdb.Error:
        return False
    return True


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
