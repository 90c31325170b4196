"""Errors as RFC 9457 problems: a type, a title, a status, and what to do."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from k2ctl.errors import BrokerError, K2Error, LakeError, TooLong, UsageError
from k2ctl.mistakes import said
from k2ctl.query.names import UnknownSymbol

MEDIA_TYPE: Final = "application/problem+json"

TITLES: Final[dict[str, tuple[int, str]]] = {
    "invalid-request": (422, "A parameter is not right"),
    "unknown-symbol": (404, "There is no such symbol"),
    "not-found": (404, "There is nothing here"),
    "method-not-allowed": (405, "This can only be read"),
    "not-acceptable": (406, "No such representation"),
    "unknown-host": (421, "This service has another name"),
    "no-key": (401, "A key is needed"),
    "too-large": (413, "The request is too large"),
    "uri-too-long": (414, "The URL is too long"),
    "headers-too-long": (431, "The headers are too long"),
    "not-http": (400, "This is no HTTP request"),
    "too-slow": (408, "The request came too slowly"),
    "too-many": (503, "Too many requests at once"),
    "too-long": (504, "It took too long"),
    "stream-unavailable": (503, "Kafka does not answer"),
    "lake-unavailable": (503, "The lake does not answer"),
    "failed": (500, "It failed"),
}
"""Problem → status and title. The `type` of a problem is `urn:k2:problem:` and this name."""


_ANSWERED: Final = frozenset({401, 404, 406, 413, 414, 421, 422, 431, 500, 503, 504})
PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    code: {
        "description": "; or: ".join(title for status, title in TITLES.values() if status == code),
        "content": {MEDIA_TYPE: {"schema": {"type": "object"}}},
    }
    for code in sorted(_ANSWERED)
}
"""What an endpoint may answer instead of rows, for its description."""


UNFORESEEN: Final = "An error that was not foreseen; its trace is in the log."


class Refused(Exception):
    """A request that is not answered, as a problem."""

    def __init__(self, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.headers = dict(headers or {})


def kind_of(error: K2Error) -> str:
    """The problem that one of our errors is."""
    kinds: dict[type[K2Error], str] = {
        UnknownSymbol: "unknown-symbol",
        TooLong: "too-long",
        UsageError: "invalid-request",
        BrokerError: "stream-unavailable",
        LakeError: "lake-unavailable",
    }
    return next((name for kind, name in kinds.items() if isinstance(error, kind)), "failed")


def problem(
    kind: str, detail: str, correlation: str, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """The response; `more` are further members."""
    status, title = TITLES[kind]
    document = {
        "type": f"urn:k2:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": f"urn:k2:request:{correlation}",
        **more,
    }
    return Response(orjson.dumps(document, default=str), status, headers, MEDIA_TYPE)


def request_id(request: Request) -> str:
    """The correlation id of a request."""
    return str(request.scope.get("state", {}).get("correlation", ""))


def add_problems(app: FastAPI) -> None:
    """Every error as a problem; what was not foreseen says nothing of the inside."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return problem(error.kind, str(error), request_id(request), error.headers)

    @app.exception_handler(K2Error)
    async def foreseen(request: Request, error: K2Error) -> Response:
        return problem(kind_of(error), str(error), request_id(request), hint=error.hint)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        found: list[dict[str, Any]] = [
            {"where": ".".join(map(str, item["loc"])), "what": said(item)} for item in error.errors()
        ]
        what = "; ".join(f"{item['where']}: {item['what']}" for item in found)
        return problem("invalid-request", what, request_id(request), errors=found)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "failed")
        return problem(kind, str(error.detail), request_id(request), error.headers)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, _: Exception) -> Response:
        return problem("failed", UNFORESEEN, request_id(request))
