"""The demo as one page that stands alone: no script, nothing fetched; readable on a phone and on paper."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, pairwise
from typing import Final

from k2ctl.demo.checks import LEVELS, DemoCheck
from k2ctl.demo.result import ActResult, Bars, DemoResult, Facts, Finding_, Sample
from k2ctl.views.style import count, seconds

WIDTH, HEIGHT = 480, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 26
STRIP: Final = 8
"""Height of the band that shows the level, below the curves."""

LEVEL_COLOURS: Final = ("#2e9e5b", "#2a9db0", "#d9a400", "#e07b1f", "#d43d3d")


@dataclass(frozen=True)
class Curve:
    """A line of an act's picture."""

    name: str
    colour: str
    # (seconds since the act began, value); None is unknown.
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
        """From above; what is below the floor is drawn on it."""
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
        *(part for curve in curves for part in _drawn(scale, curve)),
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


def _drawn(scale: CurveScale, curve: Curve) -> Iterator[str]:
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


OURS, THEIRS, LAG = "#2e9e5b", "#d43d3d", "#2f6fd0"

STYLE: Final = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #1b2430; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .3rem; border-top: 3px solid #1b2430; padding-top: .6rem; }
h3 { font-size: 1rem; margin: 0 0 .4rem; }
.held { color: #1c7a43; } .failed { color: #b3261e; }
.quiet, figcaption { color: #5a6675; font-size: .875rem; }
figure { margin: 1rem 0; padding: .8rem 1rem; border: 1px solid #d8dde3; border-radius: 6px; overflow-x: auto; }
svg { display: block; width: 100%; height: auto; font: 13px system-ui, sans-serif; fill: #5a6675; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .2rem .9rem .2rem 0; }
tbody th { font-weight: normal; color: #2b6a7c; white-space: nowrap; }
thead th { border-bottom: 1px solid #d8dde3; }
.number td, .number thead th + th { text-align: right; }
.bytes td { font-family: ui-monospace, monospace; font-size: .8rem; white-space: pre; }
.bar { height: .8rem; min-width: 2px; background: #2e9e5b; border-radius: 2px; }
ul.checks { list-style: none; margin: 1rem 0; padding: 0; }
ul.checks li { margin: .45rem 0; padding: .1rem 0 .1rem .8rem; border-left: 4px solid; }
ul.checks span { display: block; color: #1b2430; font-size: .9rem; overflow-wrap: anywhere; }
.key { white-space: nowrap; margin-right: .6rem; }
.key i { display: inline-block; width: .8rem; height: .8rem; margin-right: .3rem; border-radius: 2px; }
@media print {
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 11pt; } figure, li { break-inside: avoid; } h2 { break-after: avoid; }
}
"""


def report_page(result: DemoResult) -> str:
    """The whole page: the result, each act with its curves, assertions and findings, the machine."""
    parts = [*_head(result), *(part for act in result.acts for part in _act(act, result)), *_machine(result)]
    title = f"K2 demo, {result.began[:10]}"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n" + "\n".join(parts) + "\n</main>\n</body>\n</html>\n"
    )


def _head(result: DemoResult) -> Iterator[str]:
    held, all_of = sum(check.held for check in result.checks), len(result.checks)
    style = "held" if result.held else "failed"
    yield f'<h1>K2 demo: <span class="{style}">{held} of {all_of} checks held</span></h1>'
    yield (
        f"<p>{result.trades:,} trades, acknowledged by Kafka and reconciled, in {seconds(result.seconds)}. "
        f"Played on {escape(result.began)}, engine {escape(result.engine)}.</p>"
    )
    yield (
        '<p class="quiet">Every figure was measured in this run, except where it says extrapolated. K2 is L3: '
        "analytics, research, compliance; not execution (L1), not in-memory risk (L2).</p>"
    )


def _act(act: ActResult, result: DemoResult) -> Iterator[str]:
    billing = act.billing
    name = f"Act {billing.number}: {billing.title}" if billing.number else billing.title
    yield f'<section>\n<h2>{escape(name)} <span class="quiet">{seconds(act.seconds)}</span></h2>'
    yield f"<p>{escape(billing.headline)}</p>"
    yield _checks(act.checks)
    yield from _curves(act, result.thresholds)
    yield from map(_finding, act.findings)
    yield "</section>"


def _checks(checks: Sequence[DemoCheck]) -> str:
    lines = []
    for check in checks:
        style, mark = ("held", "✓") if check.held else ("failed", "✗")
        lines.append(f'<li class="{style}">{mark} {escape(check.claim)}<span>{escape(check.measured)}</span></li>')
    return f'<ul class="checks">{"".join(lines)}</ul>'


def _curves(act: ActResult, thresholds: Sequence[tuple[str, int]]) -> Iterator[str]:
    """How long CRITICAL trades waited; where the ladder was climbed, the lag that it was climbed by."""
    samples = act.samples
    ours = _curve("K2", OURS, samples, "critical_s")
    theirs = _curve("naive consumer", THEIRS, samples, "naive_critical_s")
    levels = [(sample.at_s, _level(sample)) for sample in samples]
    waits = [curve for curve in (theirs, ours) if _known(curve)]
    if waits:
        marks = (CurveLine(1.0, "1 s"), CurveLine(10.0, "10 s"))
        svg = curves_svg(waits, [] if len(waits) == 1 else marks, levels, seconds, 0.1)
        yield _figure("how long CRITICAL trades waited", svg, _keys(waits, samples))
    lag = _curve("lag, in trades", LAG, samples, "lag_trades")
    if _known(lag) and any(sample.level for sample in samples):
        entered = [CurveLine(float(value), name) for name, value in thresholds if value]
        yield _figure(
            "trades in Kafka that wait, and where each level begins",
            curves_svg([lag], entered, levels, count, 100.0),
            _keys([lag], samples),
        )


def _curve(name: str, colour: str, samples: Sequence[Sample], value: str) -> Curve:
    return Curve(name, colour, [(sample.at_s, getattr(sample, value)) for sample in samples])


def _level(sample: Sample) -> int | None:
    """Without a consumer that reports there is no lag, and no level."""
    return None if sample.lag_trades is None else sample.level


def _known(curve: Curve) -> bool:
    return sum(value is not None for _, value in curve.points) > 1


def _keys(curves: Sequence[Curve], samples: Sequence[Sample]) -> str:
    """What the colours mean: of the curves, and of the band below them."""
    seen = sorted({level for sample in samples if (level := _level(sample)) is not None})
    named = [(curve.colour, curve.name) for curve in curves] + [(LEVEL_COLOURS[level], LEVELS[level]) for level in seen]
    return " ".join(
        f'<span class="key"><i style="background:{colour}"></i>{escape(name)}</span>' for colour, name in named
    )


def _figure(title: str, body: str, note: str) -> str:
    caption = f"<figcaption>{note}</figcaption>" if note else ""
    return f"<figure><h3>{escape(title)}</h3>{body}{caption}</figure>"


def _finding(finding: Finding_) -> str:
    if isinstance(finding, Facts):
        body = _table((), finding.rows)
    else:
        body = _bars(finding) if isinstance(finding, Bars) else _table(finding.header, finding.rows)
    return _figure(finding.title, body, escape(finding.note))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [cell for row in rows for cell in row[1:]]
    style = "number" if header and all(cell.replace(",", "").replace(".", "").isdigit() for cell in cells) else ""
    if all(cell.count("  ") and cell[:2].isalnum() and cell[2:3] == " " for cell in cells):
        style = "bytes"
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return f'<table class="{style}">{f"<thead><tr>{head}</tr></thead>" if head else ""}<tbody>{body}</tbody></table>'


def _bars(bars: Bars) -> str:
    most = max((value for _, value, _ in bars.rows), default=0.0) or 1.0
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td style="width:50%">'
        f'<div class="bar" style="width:{value / most:.1%}"></div></td><td>{escape(read)}</td></tr>'
        for label, value, read in bars.rows
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _machine(result: DemoResult) -> Iterator[str]:
    yield "<section>\n<h2>The machine</h2>"
    yield _figure("measured on", _table((), result.machine), "")
    yield '<p class="quiet">Again, on yours: k2ctl demo --report demo.html</p>\n</section>'
