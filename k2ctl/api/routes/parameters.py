"""What a request may say. Whatever a client sends becomes a bound parameter or a refusal, never a piece of SQL."""

import re
from contextlib import suppress
from typing import Annotated, Final

from fastapi import Header, Query, Request
from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from k2ctl.api.problems import Refused
from k2ctl.api.settings import MOST_ROWS, Limits
from k2ctl.domain.days import BarLength
from k2ctl.domain.trade import Window, micros_of
from k2ctl.domain.validity import symbol_reason
from k2ctl.errors import UsageError

_DURATION: Final = r"^[0-9]{1,9}(ms|s|m|h|d)?$"
_UNIT_US: Final = {"ms": 1_000, "s": 1_000_000, "": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


def _digits(text: object) -> object:
    """Digits alone: pydantic reads `1_000`, ` 5 ` and `5.0` too."""
    if isinstance(text, str) and not re.fullmatch("[0-9]{1,9}", text):
        raise PydanticCustomError("digits", "not a whole number of up to nine digits")
    return text


Count = Annotated[int, BeforeValidator(_digits)]


def _stored_name(symbol: str) -> str:
    reason = symbol_reason(symbol)
    if reason:
        raise PydanticCustomError("symbol", "{reason}", {"reason": reason})
    return symbol


Symbol = Annotated[str, AfterValidator(_stored_name)]
"""Whatever a trade may have."""

Symbols = Annotated[
    list[Symbol],
    Query(alias="symbol", min_length=1, max_length=20, description="One symbol, or the parameter several times."),
]
Duration = Annotated[
    str | None, Query(pattern=_DURATION, description="How far back from now: 15m, 300 (seconds), 2h. Default 15m.")
]
Moment = Annotated[
    str | None,
    Query(
        max_length=64,
        description="ISO 8601, to the microsecond; UTC unless it says otherwise.",
        json_schema_extra={"format": "date-time"},
    ),
]
Bar = Annotated[
    str, Query(pattern=r"^[0-9]{1,9}(ms|s|m|h|d|w|mo)?$", description="Length of a bar: 1s, 1m, 1h, 1d, 1w, 1mo.")
]
Zone = Annotated[
    str | None,
    Query(max_length=64, description="Days of a time zone: Australia/Sydney. Default: the market's, or UTC."),
]
Sessions = Annotated[
    str | None, Query(alias="session", max_length=32, description="Trading days of a venue, by its MIC: XASX, XNYS.")
]
AllPrints = Annotated[bool, Query(description="Count every print, whatever its conditions say.")]
Rows = Annotated[Count, Query(ge=1, le=MOST_ROWS, description="Rows of one page.")]
Raw = Annotated[bool, Query(description="What was printed: corrections and cancellations are not applied.")]
KnownAt = Annotated[
    str | None, Query(max_length=64, description="ISO 8601: only what was committed by then; the stream is left out.")
]
Cursor = Annotated[str | None, Query(max_length=8192, description="From `next` of the page before.")]


async def only_known(request: Request) -> None:
    """Every parameter of a request is one of its endpoint's, and each is given once, but for symbols.

    A parameter that is passed over would have another question answered than the one that was asked.

    Raises:
        Refused: one is unknown, or given twice.
    """
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    for name, _ in request.query_params.multi_items():
        if name not in known:
            takes = ", ".join(known) or "no parameter"
            raise Refused("invalid-request", f"There is no parameter {ascii(name)[:80]} here; known: {takes}.")
        if name != "symbol" and len(request.query_params.getlist(name)) > 1:
            raise Refused("invalid-request", f"`{name}` is given twice.")


def window_of(window: str | None, since: str | None, until: str | None, now_us: int, limits: Limits) -> Window:
    """The window, within the limit; without `until` it ends now.

    Raises:
        Refused: it is longer than that, empty, or given twice.
    """
    if window is not None and (since is not None or until is not None):
        raise Refused("invalid-request", "`window` and `since`/`until` exclude each other.")
    if since is None and until is not None:
        raise Refused("invalid-request", "`until` needs a `since`.")
    try:
        first_us = now_us - us_of(window or "15m") if since is None else micros_of(since)
        last_us = None if until is None else micros_of(until)
    except ValueError as error:
        raise Refused("invalid-request", f"A time is {error}.") from error
    if last_us is not None and last_us <= first_us:
        raise Refused("invalid-request", "`since` is not before `until`.")
    if (now_us if last_us is None else last_us) - first_us > limits.window_s * 1e6:
        raise Refused("invalid-request", f"The window is longer than {limits.window_s / 86_400:g} days.")
    return Window(first_us, last_us)


def known_us_of(known_at: str | None) -> int | None:
    """`known_at` in microseconds.

    Raises:
        Refused: it is not a time of the table.
    """
    try:
        return None if known_at is None else micros_of(known_at)
    except ValueError as error:
        raise Refused("invalid-request", f"`known_at` is {error}.") from error


def bar_of(bar: str, limits: Limits) -> BarLength:
    """The length of a bar.

    Raises:
        Refused: shorter than a millisecond, or longer than a window may be.
    """
    with suppress(UsageError):
        length = BarLength.parse(bar)
        if length.at_least_us <= limits.window_s * 1e6:
            return length
    raise Refused("invalid-request", f"`bar` is between 1ms and {limits.window_s / 86_400:g}d.")


def us_of(duration: str) -> int:
    """`15m` in microseconds."""
    number, unit = re.fullmatch(r"([0-9]+)([a-z]*)", duration).groups()  # type: ignore[union-attr]
    return int(number) * _UNIT_US[unit]


Accept = Annotated[str, Header(max_length=500)]
Known = Annotated[str, Header(alias="If-None-Match", max_length=500)]
