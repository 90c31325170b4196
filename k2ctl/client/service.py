"""A service, asked over HTTP for trades and bars, and over Arrow Flight SQL for SQL."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import pyarrow as pa
import requests
from pyarrow import flight

from k2ctl.api.render import ARROW
from k2ctl.api.settings import MOST_ROWS
from k2ctl.client.answer import ClientAnswer
from k2ctl.client.asking import BarsWanted, KindOfTrades, Reach
from k2ctl.client.problems import error_of, of_flight, of_problem
from k2ctl.errors import StackError, UsageError, first_line
from k2ctl.flight.messages import Statement, packed
from k2ctl.query.proof import evidence_in, without_evidence

_PATIENCE_S: Final = (5.0, 60.0)


class ServiceSource:
    """`k2ctl api` at a URL. Thread-safe; connections are kept."""

    def __init__(self, url: str, key: str = "") -> None:
        """Raises:
        UsageError: it is no URL.
        """
        self._parts = urlsplit(url)
        if self._parts.scheme not in ("http", "https") or not self._parts.hostname:
            raise UsageError(f"'{url}' is no URL of a service.", "For instance: http://127.0.0.1:8700")
        self._url, self._key = url.rstrip("/"), key
        self._http = requests.Session()
        self._http.headers["Accept"] = ARROW
        if key:
            self._http.headers["Authorization"] = f"Bearer {key}"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        if "_flight" in self.__dict__:
            self._flight.close()

    def recent(self, symbols: list[str], reach: Reach, limit: int | None, kind: KindOfTrades) -> ClientAnswer:
        """See `Client.recent`; page by page, which are together what the first one could see."""
        asked, pages, cursor = _asked(symbols, reach, kind), list[ClientAnswer](), None
        left = limit
        while True:
            rows = MOST_ROWS if left is None else min(left, MOST_ROWS)
            page, cursor = self._rows("/v1/trades/recent", {**asked, "limit": rows, "cursor": cursor})
            pages.append(page)
            left = None if left is None else left - len(page)
            if cursor is None or left == 0:
                return _joined(pages)

    def bars(self, symbols: list[str], wanted: BarsWanted, reach: Reach, kind: KindOfTrades) -> ClientAnswer:
        """See `Client.bars`."""
        of_bars = {"bar": wanted.bar, "session": wanted.session, "zone": wanted.zone, "all_prints": wanted.all_prints}
        return self._rows("/v1/ohlcv", {**_asked(symbols, reach, kind), **of_bars})[0]

    def symbols(self) -> ClientAnswer:
        """See `Client.symbols`."""
        return replace(self._rows("/v1/symbols", {})[0], counted=False)

    def sql(self, text: str, parameters: Mapping[str, Any]) -> ClientAnswer:
        """See `Client.sql`."""
        ticket = packed("TicketStatementQuery", statement_handle=Statement.of(text, _row(parameters)).handle())
        headers = [(b"authorization", f"Bearer {self._key}".encode())] if self._key else []
        options = flight.FlightCallOptions(timeout=sum(_PATIENCE_S), headers=headers)
        try:
            table = self._flight.do_get(flight.Ticket(ticket), options).read_all()
        except (flight.FlightError, pa.ArrowException) as error:
            raise of_flight(error, self._url) from error
        return _answer(table, counted=False)

    @cached_property
    def _flight(self) -> flight.FlightClient:
        port = orjson.loads(self._get("/v1/status", {}).content).get("flight_port")
        if port is None:
            raise StackError(f"{self._url} serves no SQL.", "Start it without --no-flight: k2ctl api")
        scheme = "grpc+tls" if self._parts.scheme == "https" else "grpc"
        host = self._parts.hostname or ""
        return flight.connect(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")

    def _rows(self, path: str, asked: Mapping[str, Any]) -> tuple[ClientAnswer, str | None]:
        """Rows with their proof, and the cursor of what is behind them."""
        response = self._get(path, asked)
        try:
            table = pa.ipc.open_stream(response.content).read_all()
        except pa.ArrowException as error:
            raise StackError(f"{self._url} is no service of K2.", "Name the one that k2ctl api shows.") from error
        return _answer(table), response.headers.get("K2-Next-Cursor")

    def _get(self, path: str, asked: Mapping[str, Any]) -> requests.Response:
        texts = {name: str(value).lower() if isinstance(value, bool) else value for name, value in asked.items()}
        try:
            response = self._http.get(self._url + path, params=texts, timeout=_PATIENCE_S)
        except requests.RequestException as error:
            raise StackError(f"{self._url} does not answer: {first_line(error)}", "Start it: k2ctl api") from error
        if response.status_code != requests.codes.ok:
            raise of_problem(response, self._url)
        return response


def _asked(symbols: list[str], reach: Reach, kind: KindOfTrades) -> dict[str, Any]:
    """The parameters of a request; those that are None are left out."""
    if not symbols:
        raise error_of("invalid-request", "No symbol was named.", 'Name one: recent("BHP", "15m")')
    window = None if reach.seconds is None else f"{round(reach.seconds * 1000)}ms"
    if window is None and reach.since is None:
        raise UsageError("A service answers up to 31 days at once.", 'Say from when: since="2026-11-01"')
    of_time = {"window": window, "since": reach.since, "until": reach.until, "known_at": kind.known_at}
    return {"symbol": symbols, **of_time, "raw": kind.raw}


def _row(parameters: Mapping[str, Any]) -> pa.RecordBatch | None:
    try:
        return pa.record_batch({name: pa.array([value]) for name, value in parameters.items()}) if parameters else None
    except (pa.ArrowException, TypeError) as error:
        raise UsageError(f"A value cannot be sent: {first_line(error)}", "Give texts, numbers or times.") from error


def _answer(table: pa.Table, *, counted: bool = True) -> ClientAnswer:
    evidence = evidence_in(table.schema)
    if evidence is None:
        raise StackError("The service gave no proof of its rows.", "Bring it and this client to the same version.")
    return ClientAnswer(without_evidence(table), evidence, counted)


def _joined(pages: list[ClientAnswer]) -> ClientAnswer:
    """The pages as one answer."""
    proofs = [page.evidence for page in pages]
    evidence = replace(
        proofs[0],
        lake_rows=sum(proof.lake_rows for proof in proofs),
        tail_rows=sum(proof.tail_rows for proof in proofs),
        duplicates_removed=sum(proof.duplicates_removed for proof in proofs),
        missing=tuple(dict.fromkeys(reason for proof in proofs for reason in proof.missing)),
        more=proofs[-1].more,
    )
    return ClientAnswer(pa.concat_tables([page.table for page in pages]), evidence)
