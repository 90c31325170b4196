"""What a client can be asked, whatever answers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import typer

from k2ctl.client.answer import ClientAnswer
from k2ctl.errors import UsageError
from k2ctl.options import parse_span

Symbols = str | Sequence[str]
Moment = str | datetime | None
Parameters = Mapping[str, Any] | Sequence[Any] | None
"""By the names that the query has them under (`$name`), or in their order (`?`)."""


@dataclass(frozen=True)
class Reach:
    """Which trades are asked for: a time back from now, or what is between two ISO times; neither for all."""

    seconds: float | None = None
    since: str | None = None
    until: str | None = None

    @staticmethod
    def of(window: str | None, since: Moment, until: Moment) -> "Reach":
        """What was asked for; the last 15 minutes where nothing was.

        Raises:
            UsageError: it is no duration, or both were given.
        """
        if since is not None or until is not None:
            if window is not None:
                raise UsageError("window and since/until exclude each other.", "Leave one of them out.")
            return Reach(None, text_of(since), text_of(until))
        if window == "all":
            return Reach()
        try:
            return Reach(parse_span(window or "15m"))
        except typer.BadParameter as error:
            raise UsageError(f"window: {error.message}.", 'For instance: recent("BHP", "15m")') from error


def text_of(moment: Moment) -> str | None:
    """A time as ISO text."""
    return moment.isoformat() if isinstance(moment, datetime) else moment


@dataclass(frozen=True)
class BarsWanted:
    """How bars are made; see `Client.bars`."""

    bar: str
    session: str | None = None
    zone: str | None = None
    all_prints: bool = False


@dataclass(frozen=True)
class KindOfTrades:
    """Printed or corrected, and what was known when."""

    raw: bool = False
    known_at: str | None = None


class AnswerSource(Protocol):
    """Who answers: the stack of this machine, or a service."""

    def recent(self, symbols: list[str], reach: Reach, limit: int | None, kind: KindOfTrades) -> ClientAnswer:
        """See `Client.recent`."""
        ...

    def bars(self, symbols: list[str], wanted: BarsWanted, reach: Reach, kind: KindOfTrades) -> ClientAnswer:
        """See `Client.bars`."""
        ...

    def sql(self, text: str, parameters: Mapping[str, Any]) -> ClientAnswer:
        """See `Client.sql`."""
        ...

    def symbols(self) -> ClientAnswer:
        """See `Client.symbols`."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class Client:
    """Asks one source. Thread-safe; keeps connections until `close`, or the end of a `with`."""

    def __init__(self, source: AnswerSource) -> None:
        self._source = source

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._source.close()

    def recent(
        self,
        symbols: Symbols,
        window: str | None = None,
        *,
        since: Moment = None,
        until: Moment = None,
        limit: int | None = None,
        raw: bool = False,
        known_at: Moment = None,
    ) -> ClientAnswer:
        """The newest trades of one symbol or several, newest first: stored and on their way, each exactly once.

        window: how far back, "15m" or "2h30m", or "all"; or since and until, ISO texts (UTC unless they say otherwise)
        or datetimes. limit: so many at most; all without it. raw: what was printed, without corrections. known_at: only
        what was committed by then; the stream is left out.

        Raises:
            K2Error: with a hint.
        """
        if limit is not None and limit < 1:
            raise UsageError(f"limit is {limit}.", "Give one row at least, or leave it out for all.")
        kind = KindOfTrades(raw, text_of(known_at))
        return self._source.recent(_listed(symbols), Reach.of(window, since, until), limit, kind)

    def bars(
        self,
        symbols: Symbols,
        bar: str = "1m",
        window: str | None = None,
        *,
        since: Moment = None,
        until: Moment = None,
        session: str | None = None,
        zone: str | None = None,
        all_prints: bool = False,
        raw: bool = False,
        known_at: Moment = None,
    ) -> ClientAnswer:
        """Open, high, low, close, volume, vwap and trades of each bar, oldest first; the last one may still grow.

        bar: "1m", "1h", "1d", "1w", "1mo". session, zone: whose days bars of a day and more follow. all_prints: count
        every print, whatever its conditions say. The others are as of `recent`.

        Raises:
            K2Error: with a hint.
        """
        wanted, kind = BarsWanted(bar, session, zone, all_prints), KindOfTrades(raw, text_of(known_at))
        return self._source.bars(_listed(symbols), wanted, Reach.of(window, since, until), kind)

    def sql(self, text: str, parameters: Parameters = None) -> ClientAnswer:
        """One SELECT, in DuckDB's SQL, over trades, trades_raw, reference, snapshots and gaps.

        parameters: values for `$name` by their names, or for `?` in their order; they are never part of the text.

        Raises:
            K2Error: with a hint.
        """
        if not isinstance(parameters, Mapping):
            values = () if parameters is None else parameters
            parameters = {str(number): value for number, value in enumerate(values, 1)}
        return self._source.sql(text, parameters)

    def symbols(self) -> ClientAnswer:
        """All symbols that were ever seen, by name.

        Raises:
            K2Error: with a hint.
        """
        return self._source.symbols()


def _listed(symbols: Symbols) -> list[str]:
    return [symbols] if isinstance(symbols, str) else list(symbols)
