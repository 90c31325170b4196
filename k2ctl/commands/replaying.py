"""The options of a replay: which trades, how fast, and what means nothing to it."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from k2ctl.errors import UsageError
from k2ctl.options import at_most_one

if TYPE_CHECKING:
    from k2ctl.feeds.files.reading import WantedTrades

MAX_SPEED: Final = "max"
_SLOWEST, _FASTEST = 0.001, 1_000_000.0

_OF_FILES: Final = ("--feed", "--now", "--column")
_OF_A_REPLAY: Final = ("--speed", "--now", "--feed", "--since", "--until", "--symbols", "--column")
_OF_A_MARKET: Final = (
    "--rate", "--ramp-to", "--duration", "--shape", "--workers", "--seed", "--duplicates", "--gaps", "--out-of-order",
    "--corrections", "--cancels",
)  # fmt: skip


def check_said(said: Collection[str]) -> None:
    """said: the options that were typed.

    Raises:
        UsageError: something is missing, or was said that would be ignored.
    """
    at_most_one({option: option in said for option in ("--replay", "--from-lake")})
    from_lake = "--from-lake" in said
    if from_lake and "--topic" not in said:
        raise UsageError("--from-lake needs a topic to send to.", "It is made if it is missing: --topic backtest")
    if "--topic" in said and not from_lake:
        raise UsageError("--topic is for --from-lake.", "A load's own topic is that of its profile: --profile NAME")
    if from_lake:
        _refuse(said, _OF_FILES, "files", "What the table holds is sent as it is: leave it out.")
    if from_lake or "--replay" in said:
        hint = "A replay has its own trades and times: k2ctl load --replay FILE --speed 60x"
        _refuse(said, _OF_A_MARKET, "a synthetic market", hint)
    else:
        _refuse(said, _OF_A_REPLAY, "a replay", "Say of what: k2ctl load --replay FILE")


def _refuse(said: Collection[str], options: Collection[str], what: str, hint: str) -> None:
    named = [option for option in options if option in said]
    if named:
        raise UsageError(f"{named[0]} is for {what}.", hint)


def wanted_trades(since: str | None, until: str | None, symbols: str | None) -> "WantedTrades":
    """What `--since`, `--until` and `--symbols` ask for.

    Raises:
        UsageError: one is no time, or names nothing.
    """
    from k2ctl.feeds.files.reading import WantedTrades

    since_ns, until_ns = (_nanoseconds(option, text) for option, text in (("--since", since), ("--until", until)))
    names = tuple(name.strip() for name in symbols.split(",") if name.strip()) if symbols is not None else None
    if names is not None and not names:
        raise UsageError("--symbols names none.", "Example: --symbols BTCUSDT,ETHUSDT")
    return WantedTrades(since_ns, until_ns, names)


def _nanoseconds(option: str, text: str | None) -> int | None:
    from k2ctl.domain.trade import nanos_of

    if text is None:
        return None
    try:
        return nanos_of(text)
    except ValueError as error:
        raise UsageError(f"{option} {text[:40]}: {error}.", f"Example: {option} 2025-01-01T10:00:00Z") from error


def speed_of(text: str) -> float:
    """`1x`, `60x`, `2.5`, `max` as a factor.

    Raises:
        UsageError: it is none.
    """
    if text == MAX_SPEED:
        return float("inf")
    try:
        factor = float(text.removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not _SLOWEST <= factor <= _FASTEST:
        raise UsageError(f"'{text[:40]}' is not a speed.", "Write 1x, 60x or max.")
    return factor
