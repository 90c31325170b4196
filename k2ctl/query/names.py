"""Symbols that have no trades: known ones with their last trade, unknown ones with the nearest names."""

import difflib
from collections.abc import Collection
from typing import Final

from k2ctl.errors import K2Error

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
    shown = ascii(symbol)[1:-1]
    if not (known or missing):
        return UnknownSymbol(
            f"There are no trades yet: neither the table nor {topic} has any.", "Make some with: k2ctl load"
        )
    message = f"There is no trade of a symbol '{shown}'"
    message += f" in what could be read: {'; '.join(missing)}." if missing else "."
    if not known:
        return UnknownSymbol(message, "See what is on its way: k2ctl watch --once")
    offered = nearest(symbol, known)
    if offered:
        return UnknownSymbol(message, f"Did you mean {', '.join(offered)}?")
    some = ", ".join(sorted(known)[:_OFFERED])
    return UnknownSymbol(message, f"{len(known):,} symbols are known, among them {some}.")
