"""PostgreSQL as a catalog: connections that do not wait for ever, by parts of psycopg that it does not promise to keep.

A server that refuses says so at once. One that hangs says nothing, so its own settings, such as `statement_timeout`, do
not help; while its machine acknowledges packets, TCP's do not either. The client ends the wait.

A test in `tests/contract/test_library_overrides.py` fails when psycopg changes one of the two parts:

| part of psycopg | reason |
|---|---|
| `Connection.wait` | no setting of the client bounds how long an answer may take |
| `errors._WaitTimeout` | what `wait` raises when its `timeout` has passed |
"""

from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout
from sqlalchemy import Engine, event

CONNECT_WITHIN_S: Final = 5
ANSWER_WITHIN_S: Final = 10.0
"""A thousand times what a catalog's statement takes, and a sixth of how long a commit is tried."""

Answer = TypeVar("Answer")


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed when an answer does not come: whether the statement was carried out is not known."""

    def wait(self, gen: PQGen[Answer], interval: float = 0.1, timeout: float | None = None) -> Answer:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, ANSWER_WITHIN_S)
        except _WaitTimeout as error:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"PostgreSQL has not answered for {ANSWER_WITHIN_S:g} s") from error


def bound_waits(engine: Engine) -> None:
    """Let an engine connect so, from its first connection on."""
    event.listen(engine, "do_connect", _connect)


def _connect(_: Any, __: Any, arguments: list[Any], named: dict[str, Any]) -> BoundedConnection:
    return BoundedConnection.connect(*arguments, **{"connect_timeout": CONNECT_WITHIN_S, **named})
