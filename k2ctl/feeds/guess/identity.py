"""What identifies a trade of a sample, and what its numbers are."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from k2ctl.feeds.guess.fields import Chosen, Fields
from k2ctl.feeds.guess.naming import Naming

_ENOUGH: Final = 10
"""Steps from one number to the next, from which on it is believed that a counter is dense."""
_DENSE: Final = 0.95
"""The part of steps of one: a sample begins and ends in the middle, and trades may be missing."""


@dataclass(frozen=True)
class SeenNumbers:
    """How the numbers of a sample go on."""

    # As `sequence.numbers` has it.
    kind: str
    why: str
    # False where there are too few to see it.
    sure: bool = True


def identify(fields: Fields, naming: Naming) -> Chosen:
    """The identity of trades, as YAML writes it."""
    symbols = _symbols(fields)
    for name in ("trade_id", "text_id", "source_sequence"):
        column = fields.columns.get(name)
        if column is None:
            continue
        rows = set(zip(symbols, column.values, *_of_print(fields), strict=True))
        if None not in column.values and len({row[:2] for row in rows}) == len(rows):
            every = len(column.values) - len(rows)
            why = "no two trades of a symbol have the same" + (f"; {every} are there twice" if every else "")
            why = why if len(rows) > 1 else "there is one trade only"
            return Chosen(f"[{_listed(naming.expression(column))}]", why)
    return Chosen("look-alikes", "no column identifies a trade")


def _listed(expression: str) -> str:
    return f"'{expression}'" if expression.startswith('"') else expression


def _of_print(fields: Fields) -> Iterable[Sequence[str | None]]:
    """What a trade that was sent twice has in common with itself."""
    return (fields.columns[name].values for name in ("price", "quantity", "timestamp") if name in fields.columns)


def _symbols(fields: Fields) -> Sequence[str | None]:
    column = fields.columns.get("symbol")
    if column is not None:
        return column.values
    return [""] * len(next(iter(fields.columns.values())).values)


def number(fields: Fields, naming: Naming) -> SeenNumbers | None:
    """What the sequence numbers are; trade ids that are dense are numbers, too. None where there are none."""
    symbols = _symbols(fields)
    column = fields.columns.get("source_sequence")
    if column is None:
        ids = fields.columns.get("trade_id")
        found = numbers_of(symbols, ids.values) if ids is not None else None
        if ids is None or found is None or found.kind != "dense-per-symbol":
            return None
        fields.chosen["source_sequence"] = Chosen(naming.expression(ids), "the ids are dense")
        return found
    found = numbers_of(symbols, column.values)
    if found is None:
        del fields.chosen["source_sequence"], fields.columns["source_sequence"]
    return found


def numbers_of(symbols: Sequence[object], values: Sequence[str | int | None]) -> SeenNumbers | None:
    """What numbers are, by how they go on; None where they say nothing."""
    known = [(symbol, int(value)) for symbol, value in zip(symbols, values, strict=True) if value not in (None, "")]
    if len({value for _, value in known}) < 2 and len(known) > 1:
        return None
    by_symbol = defaultdict[object, set[int]](set)
    for symbol, value in known:
        by_symbol[symbol].add(value)
    of_symbols, of_all = _steps(by_symbol.values()), _steps([{value for _, value in known}])
    if _is_dense(of_symbols):
        return SeenNumbers("dense-per-symbol", _said(of_symbols))
    if len(by_symbol) > 1 and _is_dense(of_all):
        return SeenNumbers("dense-per-channel", _said(of_all))
    few = len(of_symbols) < _ENOUGH
    if few:
        return SeenNumbers("ordered", "too few to see whether they are dense", sure=False)
    return SeenNumbers("ordered", "they rise, and leave numbers out")


def _steps(numbers: Iterable[set[int]]) -> list[int]:
    steps = list[int]()
    for some in numbers:
        ordered = sorted(some)
        steps += [after - before for before, after in pairwise(ordered)]
    return steps


def _said(steps: list[int]) -> str:
    return f"{sum(step == 1 for step in steps):,} of {len(steps):,} steps are 1"


def _is_dense(steps: list[int]) -> bool:
    return len(steps) >= _ENOUGH and sum(step == 1 for step in steps) >= _DENSE * len(steps)
