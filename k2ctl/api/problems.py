"""Errors as RFC 9457 problems: a type, a title, a status, and what to do."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from starlette.responses import Response

from k2ctl.errors import BrokerError, K2Error, LakeError, TooLong, UsageError
from k2ctl.query.answer import UnknownSymbol

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
