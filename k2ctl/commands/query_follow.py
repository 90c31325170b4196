"""`k2ctl query follow`: trades as they arrive."""

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final, Protocol

import typer

from k2ctl import known_names
from k2ctl.commands.answers import JsonFormatOption, LinesOption, format_of
from k2ctl.errors import UsageError
from k2ctl.options import parse_count, parse_span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyarrow import Table

    from k2ctl.query.follow import Follower

_WAIT_S: Final = 0.1
_SHOWN_AT_ONCE: Final = 200
"""On a terminal: nobody reads more in a tenth of a second, and it would fall behind."""


def follow(
    symbols: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SYMBOL]...", help="Of these.", show_default="of all", autocompletion=known_names.symbols
        ),
    ] = None,
    where: Annotated[
        str,
        typer.Option(
            "--where",
            metavar="CONDITION",
            help="Only those, in SQL.",
            show_default="all",
            autocompletion=known_names.columns,
        ),
    ] = "",
    window: Annotated[
        str,
        typer.Option("--window", metavar="DURATION", help="Begin with what came in the last 1m.", show_default="now"),
    ] = "",
    limit: Annotated[str, typer.Option("--limit", metavar="N", help="End after N trades.", show_default="none")] = "",
    form: LinesOption = "table",
    as_json: JsonFormatOption = False,
) -> None:
    """Trades as they arrive in Kafka, a line each, until Ctrl-C: before a consumer has stored them.

    What comes is shown as it was printed: copies, corrections and cancellations are lines of their own. The condition
    is one over the columns of trades. On a terminal the space bar pauses and goes on, and q ends; with --format json
    each line is an object with all columns, with --format csv a row below the names of the columns.

    Examples:

    k2ctl query follow BHP

    k2ctl query follow BHP RIO --where "quantity >= 1000 AND side = 'BUY'"

    k2ctl query follow --format json --window 1m --limit 100
    """
    back_s, most = (parse_span(window) if window else 0.0), (parse_count(limit) if limit else None)
    if most is not None and most < 1:
        raise UsageError("--limit 0 would show nothing.", "Leave it out, or write --limit 1")

    from k2ctl.clock import SystemClock
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.profiles import load_profile
    from k2ctl.query.follow import Follower
    from k2ctl.query.names import named

    named(symbols or None)
    endpoints = require_endpoints(Home.of_user())
    profile = load_profile(endpoints.profile)
    shown = _SHOWN[format_of(form, as_json)]()
    with Follower(endpoints, profile, SystemClock(), symbols or (), where, back_s) as follower:
        _say_strange(symbols or [])
        _follow(follower, shown, most)


def _say_strange(symbols: list[str]) -> None:
    """A symbol that nobody has seen yet may be mistyped; it is followed all the same."""
    from k2ctl.console import say
    from k2ctl.domain.trade import WHOLE_HISTORY
    from k2ctl.endpoints import require_endpoints
    from k2ctl.errors import K2Error
    from k2ctl.home import Home
    from k2ctl.query.names import UnknownSymbol
    from k2ctl.query.session import Session

    if not symbols:
        return
    with Session.at(require_endpoints(Home.of_user())) as session:
        for symbol in symbols:
            try:
                session.recent([symbol], WHOLE_HISTORY, 1)
            except UnknownSymbol as error:
                say(f"{error} It is followed all the same. {error.hint}")
            except K2Error:  # of the lake; what arrives does not depend on it
                return


def _follow(follower: "Follower", shown: "_Shown", most: int | None) -> None:
    """Until the limit, q or Ctrl-C, which is how it ends."""
    from k2ctl.commands.paused import as_they_come
    from k2ctl.console import say
    from k2ctl.views.follow import ended

    begun_s, number, arrivals = time.monotonic(), 0, _Arrivals(follower)
    with suppress(KeyboardInterrupt):
        shown.begin()
        for trades in as_they_come(arrivals, "trade"):
            part = trades if most is None else trades.slice(0, most - number)
            if len(part):
                shown.trades(part)
            number += len(part)
            if number == most:
                break
    if isinstance(shown, _LinesOfTrades) or arrivals.left_out:
        say(ended(number, arrivals.left_out, time.monotonic() - begun_s))


class _Arrivals:
    """The trades of a follower, and how many it has left out."""

    def __init__(self, follower: "Follower") -> None:
        self._follower = follower
        self.left_out = 0

    def __iter__(self) -> "Iterator[Table]":
        from k2ctl.console import say

        while True:
            arrived = self._follower.fetch(_WAIT_S)
            self.left_out += arrived.left_out
            if arrived.lost:
                say(f"{arrived.lost:,} records were deleted by retention before they were read.")
            yield arrived.trades


class _Shown(Protocol):
    """Where trades go."""

    def begin(self) -> None: ...

    def trades(self, trades: "Table") -> None: ...


class _LinesOfTrades:
    """Lines for people."""

    def begin(self) -> None:
        from k2ctl.console import out
        from k2ctl.views.follow import HEADING

        out().print(HEADING, style="bold", soft_wrap=True)

    def trades(self, trades: "Table") -> None:
        from k2ctl.console import out
        from k2ctl.views.follow import skipped, trade_lines

        cut = max(0, len(trades) - _SHOWN_AT_ONCE) if out().is_terminal else 0
        if cut:
            out().print(skipped(cut))
        for line in trade_lines(trades.slice(cut)):
            out().print(line, soft_wrap=True)


class _JsonLines:
    """JSON for programs, an object a line, at once."""

    def begin(self) -> None:
        pass

    def trades(self, trades: "Table") -> None:
        from k2ctl.query.formats import json_objects
        from k2ctl.query.texts import with_nanoseconds

        _write(json_objects(with_nanoseconds(trades), b"\n") + b"\n")


class _CsvLines:
    """CSV for programs, a row a line, at once."""

    def begin(self) -> None:
        from k2ctl.domain.rows import arrow_schema
        from k2ctl.query.formats import csv_header
        from k2ctl.query.texts import with_nanoseconds

        _write(csv_header(with_nanoseconds(arrow_schema().empty_table()).schema))

    def trades(self, trades: "Table") -> None:
        from k2ctl.query.formats import csv_lines
        from k2ctl.query.texts import with_nanoseconds

        _write(csv_lines(with_nanoseconds(trades)))


def _write(lines: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()


_SHOWN: "Final[dict[str, Callable[[], _Shown]]]" = {"table": _LinesOfTrades, "json": _JsonLines, "csv": _CsvLines}
