"""The stack of this machine, asked without a service."""

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pyarrow as pa

from k2ctl.client.answer import ClientAnswer
from k2ctl.client.asking import BarsWanted, KindOfTrades, Reach
from k2ctl.clock import SystemClock
from k2ctl.domain.days import BarLength, day_rule
from k2ctl.domain.trade import WHOLE_HISTORY, Window, micros_of
from k2ctl.endpoints import Endpoints, require_endpoints
from k2ctl.errors import UsageError
from k2ctl.home import Home
from k2ctl.query.session import Session
from k2ctl.query.sql import sql as run_sql

_Found = TypeVar("_Found")


class StackSource:
    """One session, opened by the first question, and again where the stack is another by then. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: tuple[Endpoints, Session] | None = None

    def close(self) -> None:
        """Close the session."""
        with self._lock:
            self._close()

    def recent(self, symbols: list[str], reach: Reach, limit: int | None, kind: KindOfTrades) -> ClientAnswer:
        """See `Client.recent`."""
        window, known_us = _window(reach), _micros(kind.known_at)
        answer = self._ask(lambda session: session.recent(symbols, window, limit, raw=kind.raw, known_at_us=known_us))
        return ClientAnswer(answer.table, answer.evidence)

    def bars(self, symbols: list[str], wanted: BarsWanted, reach: Reach, kind: KindOfTrades) -> ClientAnswer:
        """See `Client.bars`."""
        length, days = BarLength.parse(wanted.bar), day_rule(wanted.zone, wanted.session)
        window, known_us = _window(reach), _micros(kind.known_at)
        answer = self._ask(
            lambda session: session.bars(
                symbols, length, window, days=days, all_prints=wanted.all_prints, raw=kind.raw, known_at_us=known_us
            )
        )
        return ClientAnswer(answer.table, answer.evidence)

    def sql(self, text: str, parameters: Mapping[str, Any]) -> ClientAnswer:
        """See `Client.sql`."""

        def answer(session: Session) -> ClientAnswer:
            with run_sql(session, text, parameters=parameters) as found:
                rows = pa.Table.from_batches(list(found.rows), found.rows.schema)
            return ClientAnswer(rows, found.evidence, counted=False)

        return self._ask(answer)

    def symbols(self) -> ClientAnswer:
        """See `Client.symbols`."""
        answer = self._ask(Session.symbols)
        return ClientAnswer(answer.table, answer.evidence, counted=False)

    def _ask(self, question: Callable[[Session], _Found]) -> _Found:
        with self._lock:
            endpoints = require_endpoints(Home.of_user())
            if self._opened is None or self._opened[0] != endpoints:
                self._close()
                self._opened = (endpoints, Session.at(endpoints))
            return question(self._opened[1])

    def _close(self) -> None:
        if self._opened is not None:
            self._opened[1].close()
            self._opened = None


def _window(reach: Reach) -> Window:
    if reach.seconds is not None:
        return Window(SystemClock().now_us() - round(reach.seconds * 1e6))
    since_us, until_us = _micros(reach.since), _micros(reach.until)
    if since_us is not None and until_us is not None and until_us <= since_us:
        raise UsageError("since is not before until.", "Turn them round.")
    return WHOLE_HISTORY if since_us is None and until_us is None else Window(since_us, until_us)


def _micros(moment: str | None) -> int | None:
    try:
        return None if moment is None else micros_of(moment)
    except ValueError as error:
        raise UsageError(f"'{moment}' is {error}.", "Write 2014-03-10 or 2014-03-10T00:15:00.") from error
