"""Curves over an act as inline SVG: logarithmic, because waits and lags span orders of magnitude."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, pairwise
from typing import Final

WIDTH, HEIGHT = 480, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 26
STRIP: Final = 8
"""Height of the band that shows the level, below the curves."""

LEVEL_COLOURS: Final = ("#2e9e5b", "#2a9db0", "#d9a400", "#e07b1f", "#d43d3d")


@dataclass(frozen=True)
class Curve:
    """A name, a colour, and points of (seconds since the act began, value); None is unknown."""

    name: str
    colour: str
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True)
class CurveLine:
    """A value to compare with, and what it is called."""

    value: float
    name: str


class CurveScale:
    """Where a moment and a value are on the picture."""

    def __init__(self, end_s: float, floor: float, top: float) -> None:
        self.end_s, self.floor, self.top = max(end_s, 1.0), floor, max(top, floor * 10)

    def x(self, at_s: float) -> float:
        """From the left, in the picture's units."""
        return LEFT + min(at_s, self.end_s) / self.end_s * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """From above; what is below the floor lies on it."""
        share = math.log(max(value, self.floor) / self.floor) / math.log(self.top / self.floor)
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM - STRIP)

    def ticks(self) -> Iterator[float]:
        """Powers of ten from the floor to the top."""
        for power in range(math.ceil(math.log10(self.floor) - 1e-9), math.floor(math.log10(self.top) + 1e-9) + 1):
            yield 10.0**power


def curves_svg(
    curves: Sequence[Curve],
    lines: Sequence[CurveLine],
    levels: Sequence[tuple[float, int | None]],
    read: Callable[[float], str],
    floor: float,
) -> str:
    """A picture of curves with lines across.

    levels: (seconds, level) for the band below, None where unknown; read: a value as text.
    """
    values = [value for curve in curves for _, value in curve.points if value is not None]
    end_s = max((at_s for curve in curves for at_s, _ in curve.points), default=1.0)
    reached = max(values, default=floor)
    near = [line for line in lines if line.value <= reached * 3]
    scale = CurveScale(end_s, floor, max([reached, *(line.value for line in near)]) * 1.4)
    parts = [
        *(_tick(scale, value, read) for value in scale.ticks()),
        *(_across(scale, line) for line in near),
        *_strip(scale, levels),
        *(part for curve in curves for part in _curve(scale, curve)),
        _text(LEFT, HEIGHT - 6, "0 s", "start"),
        _text(WIDTH - RIGHT, HEIGHT - 6, f"{end_s:.0f} s", "end"),
    ]
    label = escape(", ".join(curve.name for curve in curves), quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _tick(scale: CurveScale, value: float, read: Callable[[float], str]) -> str:
    y = scale.y(value)
    rule = f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e3e6ea"/>'
    return rule + _text(LEFT - 6, y + 4, read(value), "end")


def _across(scale: CurveScale, line: CurveLine) -> str:
    y = scale.y(line.value)
    rule = f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#8a93a0" stroke-dasharray="5 4"/>'
    return rule + _text(LEFT + 4, y - 3, line.name, "start")


def _curve(scale: CurveScale, curve: Curve) -> Iterator[str]:
    """One path for each stretch without an unknown value."""
    for known, points in groupby(curve.points, key=lambda point: point[1] is not None):
        if known:
            steps = [f"{scale.x(at_s):.1f} {scale.y(value or 0.0):.1f}" for at_s, value in points]
            drawn = "M" + "L".join(steps if len(steps) > 1 else steps * 2)
            yield (
                f'<path d="{drawn}" fill="none" stroke="{curve.colour}" stroke-width="2.5" '
                'stroke-linejoin="round" stroke-linecap="round"/>'
            )


def _strip(scale: CurveScale, levels: Sequence[tuple[float, int | None]]) -> Iterator[str]:
    for (at_s, level), (end_s, _) in pairwise([*levels, (scale.end_s, None)]):
        if level is None:
            continue
        x, width = scale.x(at_s), scale.x(end_s) - scale.x(at_s)
        colour = LEVEL_COLOURS[min(level, len(LEVEL_COLOURS) - 1)]
        y = HEIGHT - BOTTOM - STRIP + 2
        yield f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{STRIP}" fill="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
