"""`k2ctl query follow`: trades as they arrive."""

import sys
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol

import typer

from k2ctl import known_names
from k2ctl.ending import require_reader
from k2ctl.errors import UsageError
from k2ctl.options import parse_count, parse_span

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyarrow import Table

    from k2ctl.query.follow import Follower

_WAIT_S: Final = 0.1
_HELD_TRADES: Final = 100_000
"""While paused; of more the oldest are not shown."""
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
        str, typer.Option("--where", metavar="CONDITION", help="Only those, in SQL.", show_default="all")
    ] = "",
    window: Annotated[
        str,
        typer.Option("--window", metavar="DURATION", help="Begin with what came in the last 1m.", show_default="now"),
    ] = "",
    limit: Annotated[str, typer.Option("--limit", metavar="N", help="End after N trades.", show_default="none")] = "",
    form: Annotated[Literal["table", "json"], typer.Option("--format", help="Lines to read, or JSON.")] = "table",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Trades as they arrive in Kafka, a line each, until Ctrl-C: before a consumer has stored them.

    What comes is shown as it was printed: copies, corrections and cancellations are lines of their own. The condition
    is one over the columns of trades. On a terminal the space bar pauses and goes on, and q ends; with --format json
    each line is an object with all columns.

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
    shown: _Shown = _JsonLines() if as_json or form == "json" else _LinesOfTrades()
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
    from k2ctl.commands.keys import keys
    from k2ctl.console import say
    from k2ctl.views.follow import ended

    begun_s, number, left_out, paused = time.monotonic(), 0, 0, _Paused()
    with suppress(KeyboardInterrupt), keys() as pressed:
        shown.begin(with_keys=pressed is not None)
        while most is None or number < most:
            require_reader()
            arrived = follower.fetch(_WAIT_S)
            left_out += arrived.left_out
            if arrived.lost:
                say(f"{arrived.lost:,} records were deleted by retention before they were read.")
            if not paused.takes(arrived.trades, pressed):
                break
            for trades in paused.released():
                part = trades if most is None else trades.slice(0, most - number)
                if len(part):
                    shown.trades(part)
                number += len(part)
    paused.clear()
    if not isinstance(shown, _JsonLines) or left_out:
        say(ended(number, left_out, time.monotonic() - begun_s))


class _Paused:
    """What waits while the reader does."""

    def __init__(self) -> None:
        self._held: deque[Table] = deque()
        self._dropped = 0
        self._is_paused = False

    def takes(self, trades: "Table", pressed: "Callable[[], str] | None") -> bool:
        """Take what has come, and the keys that were pressed; False when it is to end."""
        if len(trades):
            self._held.append(trades)
        while pressed is not None and (key := pressed()):
            if key in "qQ":
                return False
            if key in " pP":
                self._is_paused = not self._is_paused
                self.clear()
        if self._is_paused:
            from k2ctl.views.style import counted

            waiting = sum(map(len, self._held))
            while waiting > _HELD_TRADES and len(self._held) > 1:
                self._dropped += len(self._held[0])
                waiting -= len(self._held.popleft())
            sys.stderr.write(
                f"\r\x1b[Kpaused, {counted(waiting + self._dropped, 'trade')} waiting; the space bar goes on"
            )
            sys.stderr.flush()
        return True

    def released(self) -> "list[Table]":
        """What is to be shown now."""
        from k2ctl.console import say

        if self._is_paused:
            return []
        if self._dropped:
            say(f"{self._dropped:,} trades came while it was paused that are not shown.")
        found, self._held, self._dropped = list(self._held), deque(), 0
        return found

    def clear(self) -> None:
        """Take the line away that says how many wait."""
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


class _Shown(Protocol):
    """Where trades go."""

    def begin(self, *, with_keys: bool) -> None: ...

    def trades(self, trades: "Table") -> None: ...


class _LinesOfTrades:
    """Lines for people."""

    def begin(self, *, with_keys: bool) -> None:
        from k2ctl.console import out, say
        from k2ctl.views.follow import HEADING

        if with_keys:
            say("The space bar pauses, q ends.")
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

    def begin(self, *, with_keys: bool) -> None:
        pass

    def trades(self, trades: "Table") -> None:
        from k2ctl.query.formats import json_objects
        from k2ctl.query.texts import with_nanoseconds

        sys.stdout.flush()
        sys.stdout.buffer.write(json_objects(with_nanoseconds(trades), b"\n") + b"\n")
        sys.stdout.buffer.flush()
