"""Errors as Flight has them: a status, a text for people, and kind, message and hint for programs."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import orjson
from pyarrow import flight

from k2ctl.api.problems import UNFORESEEN, Refused, kind_of
from k2ctl.errors import K2Error
from k2ctl.flight.messages import NotFlightSql
from k2ctl.flight.workers import Cancelled

_LOG: Final = logging.getLogger("k2ctl.flight")
_BY_KIND: Final[Mapping[str, type[flight.FlightError]]] = {
    "no-key": flight.FlightUnauthenticatedError,
    "method-not-allowed": flight.FlightUnauthorizedError,
    "too-many": flight.FlightUnavailableError,
    "stream-unavailable": flight.FlightUnavailableError,
    "lake-unavailable": flight.FlightUnavailableError,
    "too-long": flight.FlightTimedOutError,
    "failed": flight.FlightInternalError,
}


def flight_error(kind: str, message: str, hint: str = "") -> flight.FlightError:
    """The error of a problem. Errors of Python's own would carry a traceback to the client."""
    details = orjson.dumps({"kind": kind, "message": message, "hint": hint})
    return _BY_KIND.get(kind, flight.FlightServerError)("\n".join(filter(None, (message, hint))), extra_info=details)


def read_only() -> flight.FlightError:
    """Of whatever would write."""
    return flight_error("method-not-allowed", "This can only be read.", "Ask a single SELECT.")


@contextmanager
def as_flight_errors() -> Iterator[None]:
    """Our errors as Flight's; what was not foreseen says nothing of the inside."""
    try:
        yield
    except flight.FlightError:
        raise
    except Refused as error:
        raise flight_error(error.kind, str(error)) from None
    except K2Error as error:
        raise flight_error(kind_of(error), str(error), error.hint) from None
    except NotFlightSql as error:
        raise flight_error("invalid-request", str(error)) from None
    except Cancelled:
        raise flight.FlightCancelledError("The query was cancelled.") from None
    except Exception:
        _LOG.exception("a call failed in a way that was not foreseen")
        raise flight_error("failed", UNFORESEEN) from None
