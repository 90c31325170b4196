"""Arrow Flight SQL over the service's engine: statements and views, read only, and nothing kept between two calls."""

import socket as sockets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
from pyarrow import flight

from k2ctl.api.engine import WarmEngine
from k2ctl.api.settings import Settings
from k2ctl.errors import UsageError
from k2ctl.flight.access import Calls, KeyCheck, NoHandshake
from k2ctl.flight.catalog import SCHEMAS, answer_of, schema_of
from k2ctl.flight.messages import NotFlightSql, Statement, bare, packed, unpacked
from k2ctl.flight.refusals import as_flight_errors, flight_error, read_only
from k2ctl.flight.worker import AskedSql, Computed, Failed, QueriedStack
from k2ctl.flight.workers import SqlWorkers

_PREPARE: Final = "CreatePreparedStatement"
_CLOSE: Final = "ClosePreparedStatement"


@contextmanager
def serving_flight(engine: WarmEngine, settings: Settings) -> Iterator[Settings]:
    """Serve while the block lasts; yields the settings with the port that it has. Without one, nothing is served.

    Raises:
        UsageError: the port is taken.
    """
    if settings.flight_port is None:
        yield settings
        return
    server = FlightSqlServer(engine, settings)
    try:
        yield replace(settings, flight_port=server.port)
    finally:
        server.close()


class FlightSqlServer(flight.FlightServerBase):  # type: ignore[misc]
    """Listens from its making on; `close` ends it.

    GetSchema is left out: of its errors pyarrow makes a traceback, which is nothing for clients.
    """

    def __init__(self, engine: WarmEngine, settings: Settings) -> None:
        """Raises:
        UsageError: the port is taken.
        """
        host = "127.0.0.1" if settings.host == "localhost" else settings.host
        taken = UsageError(
            f"{settings.host}:{settings.flight_port} cannot be listened on for Flight SQL.",
            "Choose another: --flight-port N, or --no-flight",
        )
        try:
            _try_to_listen(host, settings.flight_port or 0)
            super().__init__(
                f"grpc://{f'[{host}]' if ':' in host else host}:{settings.flight_port or 0}",
                auth_handler=NoHandshake(),
                middleware={"key": KeyCheck(settings.keys)},
            )
        except (OSError, pa.ArrowException) as error:
            raise taken from error
        self._engine = engine
        self._workers = SqlWorkers(QueriedStack(engine.endpoints, settings.limits, engine.topic))
        self._calls = Calls(settings)

    def close(self) -> None:
        """End the processes, and the calls with them; what a client does not take is not waited for."""
        self._workers.close()
        ending = threading.Thread(target=self.shutdown, name="k2-flight-end", daemon=True)
        ending.start()
        ending.join(2.0)

    def get_flight_info(self, context: Any, descriptor: Any) -> flight.FlightInfo:
        """Where the rows of a command are: here, by a ticket that says all."""
        with self._calls.counted(context), as_flight_errors():
            name, command = unpacked(descriptor.command or b"")
            if name in SCHEMAS:
                schema, ticket = schema_of(name, command), descriptor.command
            elif command is None or name not in _STATEMENTS:
                raise read_only()
            else:
                # Before the query runs, it is not known with how many decimal places a product comes.
                schema, ticket = None, packed("TicketStatementQuery", statement_handle=_STATEMENTS[name](command))
            return flight.FlightInfo(schema, descriptor, [flight.FlightEndpoint(ticket, [])], -1, -1)

    def do_get(self, context: Any, ticket: Any) -> flight.FlightDataStream:
        """The rows of a ticket."""
        with self._calls.counted(context), as_flight_errors():
            name, command = unpacked(ticket.ticket)
            if name in SCHEMAS:
                columns_of = lambda view: self._described(context, f"SELECT * FROM {view}")[0]  # noqa: E731, S608
                return flight.RecordBatchStream(answer_of(name, command, columns_of))
            if command is None or name != "TicketStatementQuery":
                raise read_only()
            statement = Statement.of_handle(command.statement_handle)
            computed = self._run(context, AskedSql(statement.text, tuple(statement.values())))
            rows = pa.ipc.open_stream(computed.stream)
            return flight.GeneratorStream(rows.schema, self._calls.sent(context, _rows(rows, computed)))

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """The values of a statement's parameters, answered with the handle that has them; nothing is written."""
        with self._calls.counted(context), as_flight_errors():
            name, command = unpacked(descriptor.command or b"")
            if command is None or name != "CommandPreparedStatementQuery":
                raise read_only()
            statement = Statement.of_handle(command.prepared_statement_handle)
            values = _one_row(reader)
            handle = Statement.of(statement.text, values).handle()
            writer.write(pa.py_buffer(bare("DoPutPreparedStatementResult", prepared_statement_handle=handle)))

    def do_action(self, context: Any, action: Any) -> list[flight.Result]:
        """Prepare a statement, or close one, of which nothing is kept."""
        with self._calls.counted(context), as_flight_errors():
            if action.type == _CLOSE:
                return []
            if action.type != _PREPARE:
                raise read_only()
            name, asked = unpacked(action.body.to_pybytes())
            if name != "ActionCreatePreparedStatementRequest":
                raise NotFlightSql("This is no statement to prepare.")
            schema, parameters = self._described(context, asked.query)
            result = packed(
                "ActionCreatePreparedStatementResult",
                prepared_statement_handle=Statement(asked.query).handle(),
                dataset_schema=schema.serialize().to_pybytes(),
                parameter_schema=parameters.serialize().to_pybytes(),
            )
            return [flight.Result(pa.py_buffer(result))]

    def list_actions(self, context: Any) -> list[tuple[str, str]]:
        """The actions that there are."""
        return [(_PREPARE, "a SELECT, to bind values to"), (_CLOSE, "nothing is kept of one")]

    def list_flights(self, context: Any, criteria: bytes) -> Iterator[flight.FlightInfo]:
        """None: rows are found by a statement."""
        return iter(())

    def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Refused."""
        raise read_only()

    def _described(self, context: Any, text: str) -> tuple[pa.Schema, pa.Schema]:
        """The columns of a query, and its parameters, as texts: what they are compared with is only known to DuckDB."""
        computed = self._run(context, AskedSql(text, describe=True))
        parameters = pa.schema([(name, pa.string()) for name in computed.parameters])
        return pa.ipc.open_stream(computed.stream).schema, parameters

    def _run(self, context: Any, asked: AskedSql) -> Computed:
        with self._engine.turn():
            found = self._workers.answer(asked, context.is_cancelled)
        if isinstance(found, Failed):
            raise flight_error(found.kind, found.message, found.hint)
        return found


def _try_to_listen(host: str, port: int) -> None:
    """Fail as a socket does: gRPC would write lines of its own to stderr."""
    with sockets.socket(sockets.AF_INET6 if ":" in host else sockets.AF_INET) as socket:
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        socket.bind((host, port))


_STATEMENTS: Final[Mapping[str, Callable[[Any], bytes]]] = {
    "CommandStatementQuery": lambda command: Statement(command.query).handle(),
    "CommandPreparedStatementQuery": lambda command: command.prepared_statement_handle,
}
"""Command that asks for rows → the handle of its statement."""


def _rows(rows: pa.RecordBatchReader, computed: Computed) -> Iterator[pa.RecordBatch]:
    """The rows; an answer that had to be cut ends with an error, so that nobody takes it for all."""
    count = 0
    for batch in rows:
        count += len(batch)
        yield batch
    if computed.more:
        raise flight_error(
            "invalid-request",
            f"There are more rows than the {count:,} that one answer may have here.",
            "Ask for less: LIMIT, WHERE, GROUP BY. All: k2ctl query sql, on the machine of the stack",
        )


def _one_row(reader: Any) -> pa.RecordBatch:
    rows = reader.read_chunk().data
    if rows is None or len(rows) != 1:
        raise flight_error("invalid-request", "A statement takes one row of values.", "Run it once for each row.")
    return rows
