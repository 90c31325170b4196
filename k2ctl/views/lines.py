"""What `k2ctl gaps --lines` shows, and `k2ctl watch` of lines."""

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from k2ctl.domain.figure import Durations
from k2ctl.domain.line_status import LineCounts
from k2ctl.domain.texts import instant_text
from k2ctl.sequence.lines.report import LineFigures, LinesReport
from k2ctl.views.style import count, counted, listing, marked, seconds

_STEPS: Final = "▁▂▃▄▅▆▇█"
SILENT_S: Final = 60.0
"""A line whose last trade was received so long before that of another one is said to be silent."""


def lines_panel(report: LinesReport) -> RenderableType:
    """A line of text for each line, how far they are apart, and what is not compared."""
    table = listing(
        report.lines,
        ("=line", lambda one: one.line),
        (">trades", lambda one: f"{one.trades:,}"),
        (">first", lambda one: _share(one.first_percent)),
        (">missing", lambda one: marked(_share(one.missing_percent), "red", one.missing, "dim")),
        (">gaps", lambda one: "?" if one.gaps is None else count(one.gaps.gaps)),
        (">filled", lambda one: "?" if one.gaps is None else count(one.gaps.filled_gaps)),
        (">skew p50", lambda one: _skew(one.skew_p50_us)),
        (">p99", lambda one: _skew(one.skew_p99_us)),
        (f"={_label(report)}", lambda one: spark(one.skew)),
    )
    topics = Text("\n".join(f"{one.line}: {one.topic}" for one in report.lines), style="dim")
    return Group(_headline(report), topics, Text(), table, Text(), *map(Text, _notes(report)))


def _headline(report: LinesReport) -> Text:
    if not report.trades:
        return Text("There is no trade that every line could have by now.", style="bold yellow")
    whole = report.on_all == report.trades
    lines = "both lines" if len(report.lines) == 2 else f"all {len(report.lines)} lines"
    text = f"{report.trades:,} trades, {report.on_all:,} of them on {lines}"
    return Text(text, style="bold green" if whole else "bold yellow")


def _label(report: LinesReport) -> str:
    """Of the histograms: the bounds of the first and the last cell."""
    bounds = report.lines[0].skew.bounds_s
    return f"{bounds[0] * 1e6:.0f}µs…{bounds[-1]:.0f}s"


def spark(skew: Durations) -> Text:
    """How often each length of time occurs; what occurs at all shows."""
    most = max(skew.counts)
    bars = "".join(_STEPS[max(0, -(-cell * len(_STEPS) // most) - 1)] if cell else "·" for cell in skew.counts if most)
    return Text(bars, style="cyan", no_wrap=True)


def _share(percent: float | None) -> str:
    if percent is None:
        return "–"
    return f"{percent:.3g} %" if percent < 99.95 or percent == 100 else f"{percent:.3f} %"


def _skew(value_us: float | None) -> str:
    if value_us is None:
        return "–"
    if value_us < 1000:
        return f"{value_us:.3g} µs"
    return f"{value_us / 1000:.3g} ms" if value_us < 1_000_000 else seconds(value_us / 1e6)


def _notes(report: LinesReport) -> Iterator[str]:
    if any(one.trades for one in report.lines) and all(one.trades == one.alone for one in report.lines):
        yield (
            "The lines have no trade in common. A trade is known by its id, symbol, venue and time: the feeds have to "
            "make the same id of it."
        )
    yield from _numbers(report)
    if report.tied:
        yield f"{report.tied:,} trades came first on two lines at the same moment."
    yield f"Skew is how long after the first line a trade came on a later one, {_times(report)}."
    if report.no_longer_held:
        yield f"{counted(report.no_longer_held, 'trade')} not compared: Kafka no longer holds all lines of then."
    if report.unsettled:
        since = seconds(report.settle_s)
        yield f"{counted(report.unsettled, 'trade')} of the last {since} not compared: other lines may bring them yet."
    for line in report.lines:
        yield from _of_line(line, report)


def _numbers(report: LinesReport) -> Iterator[str]:
    nowhere = report.missing_on_all
    if nowhere is None:
        yield f"Gaps are unknown: {report.numbers}."
    elif nowhere.gaps:
        yield (
            f"On no line: {counted(nowhere.numbers, 'number')} of the venue, in {counted(nowhere.gaps, 'gap')} that "
            "nobody fills."
        )
    elif any(one.gaps and one.gaps.gaps for one in report.lines):
        yield "Together the lines have every number of the venue."


def _times(report: LinesReport) -> str:
    by_kafka = [one.line for one in report.lines if one.by_kafka_time]
    if not by_kafka:
        return "by the receive time that its record says"
    lines = "" if len(by_kafka) == len(report.lines) else f" on {', '.join(by_kafka)}"
    return (
        f"by the timestamp of its record in Kafka{lines}, as the feed says no receive time: in whole milliseconds, and "
        "with what the producer or the broker took"
    )


def _of_line(line: LineFigures, report: LinesReport) -> Iterator[str]:
    if line.repeated:
        yield f"{line.line}: {counted(line.repeated, 'copy').replace('copys', 'copies')} within the line."
    if line.gaps is not None and line.gaps.numbers:
        filled, numbers = line.gaps.filled_numbers, line.gaps.numbers
        yield f"{line.line}: {counted(numbers, 'number')} of the venue missing, {filled:,} of them on other lines."
    dead = counted(line.refused, "trade") if line.refused else counted(line.undecodable, "record")
    if line.refused or line.undecodable:
        more = f" and {counted(line.undecodable, 'record')}" if line.refused and line.undecodable else ""
        yield f"{line.line}: {dead}{more} not compared, as the consumer makes dead letters of them."
    if line.gone_records:
        yield f"{line.line}: Kafka no longer holds {counted(line.gone_records, 'record')} of {line.topic}."
    if line.unread:
        yield f"{line.line}: not read to its end: {line.unread}."
    newest = max((one.last_received_us or 0 for one in report.lines), default=0)
    if line.last_received_us is None:
        yield f"{line.line}: no trade at all in {line.topic}."
    elif newest - line.last_received_us > SILENT_S * 1e6:
        yield (
            f"{line.line}: silent since {instant_text(line.last_received_us * 1000)}, "
            f"{seconds((newest - line.last_received_us) / 1e6)} before the last trade of another line."
        )


def line_text(name: str, line: LineCounts) -> Text:
    """One line as consumers report it: how often it came first, and how far it was behind else."""
    behind_s = line.skew.quantile_s(0.99)
    first = f"first {line.first / line.compared:.1%}" if line.compared else "nothing to compare yet"
    behind = f"  p99 behind ≤ {_skew(behind_s * 1e6)}" if behind_s else ""
    return Text(f"line {name}  {count(line.trades)} trades  {first}{behind}", no_wrap=True, overflow="ellipsis")
