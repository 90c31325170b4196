"""Prints that a condition makes cancellations."""

from dataclasses import replace

from k2ctl.domain.corrections import by_condition
from k2ctl.domain.trade import Decoded


def with_cancels(decoded: Decoded, cancels: tuple[str, ...]) -> Decoded:
    """Decoded trades, those cancelled that have one of some conditions."""
    trades = by_condition(decoded.trades, cancels)
    return decoded if trades is decoded.trades else replace(decoded, trades=trades)
