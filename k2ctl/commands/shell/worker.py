"""The process that answers: its connections stay, and a query that does not end is ended with it."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Final

from k2ctl.commands.answers import Format, show_footer, write_limited
from k2ctl.commands.shell.completion import KnownNames
from k2ctl.ending import accept_any_text, concluded
from k2ctl.errors import ExitCode
from k2ctl.log import LogSettings, configure
from k2ctl.signals import end_with, interrupt, leave_to_parent, on_signals

if TYPE_CHECKING:
    from k2ctl.endpoints import Endpoints
    from k2ctl.query.session import Session
    from k2ctl.query.warm_sessions import WarmSessions

_COLUMNS: Final = "SELECT table_name, list(column_name ORDER BY column_index) FROM duckdb_columns() GROUP BY ALL"


@dataclass(frozen=True)
class AskedQuery:
    """A query, and how its answer is shown."""

    text: str
    form: Format
    # Rows; None: all.
    limit: int | None
    # By name; those that the query does not have are left out.
    parameters: dict[str, str]
    seconds: float
    memory_mb: int
    # Whether it is said where the rows come from.
    footer: bool = True


@dataclass(frozen=True)
class AskNames:
    """For completion: the columns and, if wanted, the symbols."""

    symbols: bool


@dataclass(frozen=True)
class QueryBegun:
    """The preparations of a question are done: its time and memory count from here."""


@dataclass(frozen=True)
class Answered:
    """A question has ended."""

    code: int
    seconds: float


def answer_all(pipe: Connection, log: LogSettings, parent: int) -> None:
    """Answer question after question, until the pipe is closed. Signals are the parent's, but while one is answered."""
    leave_to_parent()
    end_with(parent)
    accept_any_text()
    configure(log)
    worker = _Worker(pipe)
    with suppress(EOFError, OSError):
        while True:
            asked = pipe.recv()
            pipe.send(worker.names(asked) if isinstance(asked, AskNames) else worker.answered(asked))


class _Worker:
    """A session that lasts as long as the stack's endpoints are the same, and no query of it was ended.

    The tail is followed in memory from the first answer or the first Tab on: a script of one query reads Kafka once.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._endpoints: Endpoints | None = None
        self._warm: WarmSessions | None = None
        self._session: Session | None = None

    def answered(self, asked: AskedQuery) -> Answered:
        """Show the rows of one query, or why there are none."""
        begun_s = time.monotonic()
        code = self._code_of(lambda: self._show(asked))
        return Answered(code, time.monotonic() - begun_s)

    def _code_of(self, work: Callable[[], None]) -> int:
        try:
            with on_signals(interrupt, signal.SIGINT):
                code = concluded(work, "k2ctl query shell")
        except KeyboardInterrupt:  # between the end of the work and that of the block
            code = ExitCode.INTERRUPTED
        if code == ExitCode.INTERRUPTED:
            self._leave()
        return code

    def _show(self, asked: AskedQuery) -> None:
        from k2ctl.query.sql import SqlLimits, sql
        from k2ctl.query.statements import parameters_of

        wanted = parameters_of(asked.text)
        given = {name: value for name, value in asked.parameters.items() if name in wanted}
        limits = SqlLimits(asked.memory_mb, asked.seconds)
        with sql(self._opened(), asked.text, limits, parameters=given, begun=self._say_begun) as found:
            cut = write_limited(found.rows, asked.limit, asked.form, None)
        if asked.footer:
            show_footer(found.evidence, cut)
        self._follow()

    def _say_begun(self) -> None:
        self._pipe.send(QueryBegun())

    def _opened(self) -> "Session":
        from k2ctl.endpoints import require_endpoints
        from k2ctl.home import Home

        endpoints = require_endpoints(Home.of_user())
        if self._warm is None or endpoints != self._endpoints:
            self._warm, self._endpoints = self._begun(endpoints), endpoints
        if self._session is None:
            self._session = self._warm.session()
        return self._session

    def _begun(self, endpoints: "Endpoints") -> "WarmSessions":
        from k2ctl.garbage import spare_what_is_there
        from k2ctl.profiles import load_profile
        from k2ctl.query.warm_sessions import WarmSessions

        self.close()
        begun = WarmSessions(endpoints, load_profile(endpoints.profile))
        spare_what_is_there()
        return begun

    def _follow(self) -> None:
        if self._warm is not None:
            self._warm.follow()

    def close(self) -> None:
        """Close the connections."""
        self._leave()
        if self._warm is not None:
            self._warm.close()

    def _leave(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None

    def names(self, asked: AskNames) -> KnownNames:
        """None where they cannot be had: the next query says why."""
        from k2ctl.errors import K2Error

        try:
            return self._names(asked)
        except K2Error:
            return KnownNames()

    def _names(self, asked: AskNames) -> KnownNames:
        from k2ctl.query.refusals import VIEWS
        from k2ctl.query.sql import sql

        session = self._opened()
        self._follow()
        with sql(session, _COLUMNS) as found:
            columns = dict(zip(*found.rows.read_all().to_pydict().values(), strict=True))
        symbols = session.symbols().table["symbol"].to_pylist() if asked.symbols else None
        return KnownNames({view: columns.get(view, []) for view in VIEWS}, symbols)
