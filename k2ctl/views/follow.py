"""Trades as they arrive, a line each, so that columns stay where they are."""

from typing import Final

import pyarrow as pa
from rich.text import Text

from k2ctl.console import visible
from k2ctl.query.formats import text_column
from k2ctl.query.texts import with_nanoseconds
from k2ctl.views.style import counted

HEADING: Final = f"{'time (UTC)':<26}  {'symbol':<10} {'price':>8}{'':7}{'quantity':>8}{'':5}side exchange"
_SIDES: Final = {"BUY": "green", "SELL": "red"}
_PRINTED: Final = "NEW"
"""The action of a trade that neither corrects nor cancels another."""
_PLACES: Final = {"price": (8, 5), "quantity": (8, 3)}
"""Cells before and behind the decimal point."""


def trade_lines(trades: pa.Table) -> list[Text]:
    """One line per trade, in their order."""
    shown = with_nanoseconds(trades)
    names = ("timestamp", "symbol", "price", "quantity", "side", "exchange", "action")
    columns = [[value or "" for value in text_column(shown[name])] for name in names]
    return [_line(*map(visible, row)) for row in zip(*columns, strict=True)]


def _line(at: str, symbol: str, price: str, quantity: str, side: str, exchange: str, action: str) -> Text:
    time = at.removesuffix("Z").replace("T", " ")
    numbers = f"{_at_point(price, *_PLACES['price'])} {_at_point(quantity, *_PLACES['quantity'])}"
    line = Text(f"{time:<26}  {symbol:<10} {numbers} ", no_wrap=True)
    line.append(f"{side:<4}", style=_SIDES.get(side, ""))
    line.append(f" {exchange}")
    if action != _PRINTED:
        line.append(f" {action}", style="yellow")
    return line


def _at_point(number: str, before: int, behind: int) -> str:
    """A number whose decimal point is where that of others is."""
    whole, point, fraction = number.partition(".")
    return f"{whole:>{before}}{point}{fraction:<{behind + (not point)}}"


def skipped(number: int) -> Text:
    """What is said of trades that a terminal does not show."""
    return Text(f"… {counted(number, 'more trade')}", style="dim")


def ended(number: int, left_out: int, seconds: float) -> str:
    """The last line."""
    bad = f"; {left_out:,} records or trades that no consumer takes were left out" if left_out else ""
    return f"{counted(number, 'trade')} in {seconds:.0f} s{bad}"
