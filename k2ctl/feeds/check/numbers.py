"""What sequence numbers look like, by how those of a sample go on."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

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
