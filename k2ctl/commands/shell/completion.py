"""What the Tab key offers: pure, from what stands before the cursor and the names that there are."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from k2ctl.commands.shell.commands import COMMANDS

KEYWORDS: Final = (
    *("SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "HAVING", "LIMIT", "JOIN", "LEFT JOIN", "USING", "ON", "AS"),
    *("AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "IS NULL", "DISTINCT", "CASE", "WHEN", "THEN", "ELSE", "END"),
    *("WITH", "UNION ALL", "DESC", "ASC", "OVER", "PARTITION BY", "QUALIFY", "INTERVAL", "PIVOT", "EXPLAIN"),
    *("DESCRIBE", "SUMMARIZE", "EXCLUDE"),
)
FUNCTIONS: Final = (
    *("count(", "sum(", "min(", "max(", "avg(", "median(", "quantile_cont(", "arg_min(", "arg_max(", "first("),
    *("last(", "date_trunc(", "time_bucket(", "now()", "round(", "coalesce(", "strftime(", "lag(", "row_number()"),
)
_TABLE_NEXT: Final = re.compile(r"\b(?:from|join|describe|summarize|pivot)\s+\w*$", re.IGNORECASE)
_SYMBOL_NEXT: Final = re.compile(
    r"""\bsymbol\s*(?:=|<>|!=|in\s*\((?:\s*'[^']*'\s*,)*)\s*'(?P<begun>[^']*)$""", re.IGNORECASE
)
_WORD: Final = re.compile(r"\w*$")
_COMMAND: Final = re.compile(r"^\s*(?P<sign>[\\.])(?P<begun>\S*)$")
_VIEW_OF_COMMAND: Final = re.compile(r"^\s*(?:\\d|\.schema|\.tables)\s+\w*$")


@dataclass(frozen=True)
class KnownNames:
    """The names that there are."""

    # View → its columns.
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # None where nobody has asked for them yet.
    symbols: Sequence[str] | None = None


def wants_symbols(before: str) -> bool:
    """Whether a symbol is being written."""
    return _SYMBOL_NEXT.search(before) is not None


def offered(before: str, names: KnownNames) -> tuple[str, list[str]]:
    """What is written of a word by now, and the words that it can become. before: the text up to the cursor."""
    command = _COMMAND.match(before)
    if command:
        signed = [f"{command['sign']}{name}" for one in COMMANDS for name in one.names]
        return command[0].lstrip(), _beginning(command[0].strip(), signed)
    symbol = _SYMBOL_NEXT.search(before)
    if symbol:
        return symbol["begun"], [f"{one}'" for one in _beginning(symbol["begun"], names.symbols or ())]
    if before.count("'") % 2:
        return "", []
    begun = (_WORD.search(before) or [""])[0]
    if _TABLE_NEXT.search(before) or _VIEW_OF_COMMAND.match(before):
        return begun, _beginning(begun, names.columns)
    if not begun:
        return "", []
    named = [view for view in names.columns if re.search(rf"\b{view}\b", before, re.IGNORECASE)]
    columns = [column for view in named or names.columns for column in names.columns[view]]
    keywords = [word.lower() if begun.islower() else word for word in KEYWORDS]
    return begun, _beginning(begun, dict.fromkeys([*columns, *names.columns, *FUNCTIONS, *keywords]))


def _beginning(begun: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.lower().startswith(begun.lower())]
