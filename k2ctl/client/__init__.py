"""Trades in notebooks and scripts, each answer with the proof of where it comes from.

    import k2ctl.client as k2

    k2.recent("BHP", "15m")
    k2.bars(["BHP", "RIO"], "1h", "2d").to_polars()
    k2.sql("SELECT symbol, count(*) FROM trades WHERE quantity > $least GROUP BY symbol", {"least": 1000})

They ask the stack of this machine, as `k2ctl query` does; or the service that `K2CTL_API_URL` or
`k2ctl config set api_url` names, with the key in `K2CTL_API_KEY`. `connect("http://host:8700", key="…")` gives
a client with the same functions for another one.
Whatever goes wrong is a `K2Error`, whose `hint` says what to do.
"""

import os
from typing import Any, Final

from k2ctl.client.answer import ClientAnswer
from k2ctl.client.asking import Client, Moment, Parameters, Symbols
from k2ctl.errors import K2Error
from k2ctl.settings import value_of

__all__ = ["Client", "ClientAnswer", "K2Error", "bars", "connect", "recent", "sql", "symbols"]

KEY_VARIABLE: Final = "K2CTL_API_KEY"
_opened: dict[tuple[str, str], Client] = {}


def connect(url: str | None = None, key: str | None = None) -> Client:
    """A client of the service at a URL; without one of that which is set, or of the stack of this machine.

    key: of the service, where it needs one; else that in `K2CTL_API_KEY`.
    """
    url = url or value_of("api_url")
    key = key or os.environ.get(KEY_VARIABLE, "")
    if url:
        from k2ctl.client.service import ServiceSource

        return Client(ServiceSource(url, key))
    from k2ctl.client.stack import StackSource

    return Client(StackSource())


def _default() -> Client:
    """One for each service that was configured: connections are kept."""
    configured = (value_of("api_url"), os.environ.get(KEY_VARIABLE, ""))
    if configured not in _opened:
        _opened[configured] = connect()
    return _opened[configured]


def recent(
    symbols: Symbols,
    window: str | None = None,
    *,
    since: Moment = None,
    until: Moment = None,
    limit: int | None = None,
    raw: bool = False,
    known_at: Moment = None,
) -> ClientAnswer:
    """The newest trades of one symbol or several, newest first. See `Client.recent`."""
    return _default().recent(symbols, window, since=since, until=until, limit=limit, raw=raw, known_at=known_at)


def bars(symbols: Symbols, bar: str = "1m", window: str | None = None, **options: Any) -> ClientAnswer:
    """Open, high, low, close, volume and vwap of each bar, oldest first. See `Client.bars`."""
    return _default().bars(symbols, bar, window, **options)


def sql(text: str, parameters: Parameters = None) -> ClientAnswer:
    """One SELECT over trades, trades_raw, reference, snapshots and gaps. See `Client.sql`."""
    return _default().sql(text, parameters)


def symbols() -> ClientAnswer:
    """All symbols that were ever seen, by name."""
    return _default().symbols()
