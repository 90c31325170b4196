"""Symbols as they are asked for: by the rules of what is stored, in another spelling, or unknown."""

import difflib
from collections.abc import Collection, Sequence
from typing import Final

from k2ctl.domain.validity import symbol_reason
from k2ctl.errors import K2Error, UsageError

_OFFERED: Final = 5
_SIMILARITY: Final = 0.5


class UnknownSymbol(K2Error):
    """Neither the lake nor the stream has a trade of this symbol."""


def nearest(symbol: str, known: Collection[str]) -> list[str]:
    """Up to five names like `symbol`: other spellings in upper and lower case first."""
    by_fold: dict[str, list[str]] = {}
    for name in sorted(known):
        by_fold.setdefault(name.casefold(), []).append(name)
    close = difflib.get_close_matches(symbol.casefold(), by_fold, n=_OFFERED, cutoff=_SIMILARITY)
    return [name for fold in close for name in by_fold[fold] if name != symbol][:_OFFERED]


def unknown(symbol: str, known: Collection[str], missing: tuple[str, ...], topic: str) -> UnknownSymbol:
    """The error for a symbol without a trade; says so if what was read is not everything."""
    escaped = ascii(symbol)[1:-1]
    # A letter of another script may look like one of ours.
    shown = f"{symbol}' ('{escaped}')" if symbol.isprintable() and not symbol.isascii() else f"{escaped}'"
    if not (known or missing):
        return UnknownSymbol(
            f"There are no trades yet: neither the table nor {topic} has any.", "Make some with: k2ctl load"
        )
    message = f"There is no trade of a symbol '{shown}"
    message += f" in what could be read: {'; '.join(missing)}." if missing else "."
    if not known:
        return UnknownSymbol(message, "See what is on its way: k2ctl watch --once")
    offered = nearest(symbol, known)
    if offered:
        return UnknownSymbol(message, f"Did you mean {', '.join(offered)}?")
    some = ", ".join(sorted(known)[:_OFFERED])
    return UnknownSymbol(message, f"{len(known):,} symbols are known, among them {some}.")


class OtherSpelling(Exception):
    """A symbol of a question is stored in one other spelling only, in upper and lower case."""

    def __init__(self, asked: str, stored: str) -> None:
        super().__init__(asked, stored)
        self._asked, self._stored = asked, stored

    def within(self, symbols: Sequence[str]) -> list[str]:
        """The symbols of the question as they are stored."""
        return list(dict.fromkeys(self._stored if symbol == self._asked else symbol for symbol in symbols))


def may_be_spelled_otherwise(symbol: str) -> bool:
    """Whether it has letters in lower case. Venues write in upper case, so the others are not looked up."""
    return symbol != symbol.upper()


def refuse(symbol: str, known: Collection[str], missing: tuple[str, ...], topic: str) -> K2Error | OtherSpelling:
    """Why a symbol without a trade is not answered: it is stored in another spelling, or unknown."""
    spellings = [name for name in known if name.casefold() == symbol.casefold()]
    if may_be_spelled_otherwise(symbol) and len(spellings) == 1:
        return OtherSpelling(symbol, spellings[0])
    return unknown(symbol, known, missing, topic)


def named(symbols: str | Sequence[str] | None) -> Sequence[str] | None:
    """The symbols of a question; None: all.

    Raises:
        UsageError: there is none, or one that no trade can have.
    """
    wanted = [symbols] if isinstance(symbols, str) else symbols
    if wanted is not None and not wanted:
        raise UsageError("No symbol was named.", "Name one: k2ctl query recent BHP")
    for reason in filter(None, map(symbol_reason, wanted or ())):
        raise UsageError(f"{reason}.", 'Symbols that there are: k2ctl query sql "SELECT DISTINCT symbol FROM trades"')
    return wanted
