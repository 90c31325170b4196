"""The parameters of the endpoints, each typed and bounded."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Query, Request

from k2ctl.api.problems import Refused
from k2ctl.api.settings import Limits
from k2ctl.domain.trade import Window

_DURATION: Final = r"^[0-9]{1,9}(ms|s|m|h|d)?$"
_UNIT_US: Final = {"ms": 1_000, "s": 1_000_000, "": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(2262, 1, 1, tzinfo=UTC)
SYMBOL: Final = r"^[\x21-\x7e]{1,16}$"

SymbolText = Annotated[str, Query(pattern=SYMBOL)]
Symbols = Annotated[
    list[Annotated[str, Query(pattern=SYMBOL)]],
    Query(alias="symbol", min_length=1, max_length=20, description="One symbol, or the parameter several times."),
]
Duration = Annotated[
    str | None, Query(pattern=_DURATION, description="How far back from now: 15m, 300 (seconds), 2h. Default 15m.")
]
Moment = Annotated[datetime | None, Query(description="ISO 8601; UTC unless it says otherwise.")]
Bar = Annotated[str, Query(pattern=_DURATION, description="Length of a bar: 1s, 1m, 1h.")]
Rows = Annotated[int, Query(ge=1, le=50_000, description="Rows of one page.")]
Cursor = Annotated[str | None, Query(max_length=8192, description="From `next` of the page before.")]


def only_known(request: Request) -> None:
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


@dataclass(frozen=True)
class AskedSpan:
    """The window of a request."""

    window: Window
    # True if it ends now, so that the same request has another answer a moment later.
    moving: bool


def span_of(
    window: str | None, since: datetime | None, until: datetime | None, now_us: int, limits: Limits
) -> AskedSpan:
    """The window, within the limit.

    Raises:
        Refused: it is longer than that, empty, or given twice.
    """
    if window is not None and (since is not None or until is not None):
        raise Refused("invalid-request", "`window` and `since`/`until` exclude each other.")
    if since is None and until is not None:
        raise Refused("invalid-request", "`until` needs a `since`.")
    if since is None:
        first_us, last_us = now_us - us_of(window or "15m"), None
    else:
        first_us, last_us = _us(since), None if until is None else _us(until)
    end_us = now_us if last_us is None else last_us
    if since is not None and last_us is not None and end_us <= first_us:
        raise Refused("invalid-request", "`since` is not before `until`.")
    if end_us - first_us > limits.window_s * 1e6:
        raise Refused("invalid-request", f"The window is longer than {limits.window_s / 86_400:g} days.")
    return AskedSpan(Window(first_us, last_us), last_us is None)


def bar_of(bar: str, limits: Limits) -> int:
    """The length of a bar in microseconds.

    Raises:
        Refused: shorter than a millisecond, or longer than a window may be.
    """
    bar_us = us_of(bar)
    if not 1_000 <= bar_us <= limits.window_s * 1e6:
        raise Refused("invalid-request", f"`bar` is between 1ms and {limits.window_s / 86_400:g}d.")
    return bar_us


def us_of(duration: str) -> int:
    """`15m` in microseconds."""
    number, unit = re.fullmatch(r"([0-9]+)([a-z]*)", duration).groups()  # type: ignore[union-attr]
    return int(number) * _UNIT_US[unit]


def _us(moment: datetime) -> int:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not _FIRST <= moment < _LAST:
        raise Refused("invalid-request", "Times are between 1970 and 2262.")
    since = moment - _FIRST
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
