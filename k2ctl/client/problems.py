"""What a service refuses, as the errors that the stack itself would raise."""

from collections.abc import Mapping
from typing import Final

import orjson
import requests

from k2ctl.errors import BrokerUnanswered, K2Error, LakeUnanswered, StackError, TooLong, UsageError, first_line
from k2ctl.query.names import UnknownSymbol

_KINDS: Final[Mapping[str, type[K2Error]]] = {
    "unknown-symbol": UnknownSymbol,
    "invalid-request": UsageError,
    "no-key": UsageError,
    "stream-unavailable": BrokerUnanswered,
    "lake-unavailable": LakeUnanswered,
}
_OTHERWISE: Final = {
    "invalid-request": "What can be asked, and how: help(k2ctl.client.Client)",
    "unknown-symbol": "Symbols that there are: symbols()",
}
"""Where the service says nothing of what to do."""

_HINTS: Final = {
    "no-key": 'Give it: connect(url, key="…"), or K2CTL_API_KEY in the environment.',
    "too-many": "Ask again in a moment.",
}


def error_of(kind: str, message: str, hint: str) -> K2Error:
    """The error of a problem's kind; a service knows not how it was asked, so some hints are ours."""
    if kind == "too-long":
        return TooLong()
    return _KINDS.get(kind, K2Error)(
        message, _HINTS.get(kind) or hint or _OTHERWISE.get(kind, "See: k2ctl doctor, where it runs")
    )


def of_problem(response: requests.Response, url: str) -> K2Error:
    """The error that a response is, which has a problem (RFC 9457)."""
    try:
        found = response.json()
        kind = found["type"].rpartition(":")[2]
        message = f"{found['title']}." if kind == "no-key" else found["detail"]  # which says how to write its header
        return error_of(kind, message, found.get("hint", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        status = f"{response.status_code} {response.reason}"
        return StackError(f"{url} answers {status}, and is no service of K2.", "Name the one that k2ctl api shows.")


def of_flight(error: Exception, url: str) -> K2Error:
    """The error that Flight has raised; ours say more in their details."""
    try:
        found = orjson.loads(getattr(error, "extra_info", b""))
        return error_of(found["kind"], found["message"], found["hint"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return StackError(f"{url} does not answer in SQL: {first_line(error)}", "Start it: k2ctl api")
