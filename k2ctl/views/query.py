"""What `k2ctl query` shows: the trades as a table, and under them where they come from."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import pyarrow as pa
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from k2ctl.console import visible
from k2ctl.query.answer import Evidence
from k2ctl.query.formats import text_column
from k2ctl.views.style import count, counted, facts, seconds

_WIDE: Final = 110
_VALUES_CUT: Final = "long values shortened (whole: --format csv)"
_GAP: Final = 2
"""Cells between two columns of a table without a box."""


class Drawn(NamedTuple):
    """A table as it is shown, and what of the rows it does not show."""

    table: Table
    cut: list[str]


def trades_table(trades: pa.Table, width: int) -> Drawn:
    """Newest first; narrow terminals get the columns that matter most."""
    columns = {"time (UTC)": _times(trades), "symbol": text_column(trades.column("symbol"))}
    columns["price"] = _aligned(text_column(trades.column("price")))
    columns["quantity"] = _aligned(text_column(trades.column("quantity")))
    columns["side"] = text_column(trades.column("side"))
    if width >= _WIDE:
        for name in ("exchange", "currency", "trade_conditions", "sector"):
            columns[name.removeprefix("trade_")] = text_column(trades.column(name))
        columns["partition/offset"] = [
            f"{partition}/{offset}"
            for partition, offset in zip(
                trades.column("kafka_partition").to_pylist(), trades.column("kafka_offset").to_pylist(), strict=True
            )
        ]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in ("price", "quantity") else "left", no_wrap=True)
    shown = {name: [visible(value or "") for value in values] for name, values in columns.items()}
    for row in zip(*shown.values(), strict=True):
        table.add_row(*map(Text, row))
    used = sum(_width(name, values) for name, values in shown.items())
    return Drawn(table, [_VALUES_CUT] if used - _GAP > width else [])


def rows_table(rows: pa.Table, width: int) -> Drawn:
    """Any rows, every column as it is called, numbers to the right; columns that do not fit are counted."""
    texts = [_shown(column) for column in rows.columns]
    table = Table(box=None, pad_edge=False, header_style="bold")
    used, cut = 0, list[str]()
    cells: list[list[str]] = []
    names = [visible(field.name) for field in rows.schema]
    fit = sum(map(_width, names, texts)) - _GAP <= width
    for field, name, column in zip(rows.schema, names, texts, strict=True):
        used += _width(name, column)
        if used > width - 10 and cells and not fit:
            left_out = len(texts) - len(cells)
            table.add_column(f"+ {left_out} more", style="dim", no_wrap=True)
            cells.append([""] * len(rows))
            cut.append(f"{counted(left_out, 'column')} left out (all: --format csv)")
            break
        if used - _GAP > width:
            cut.append(_VALUES_CUT)
        number = any(test(field.type) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal))
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
        cells.append(column)
    for row in zip(*cells, strict=True):
        table.add_row(*map(Text, row))
    return Drawn(table, cut)


def _width(name: str, values: Sequence[str]) -> int:
    """Cells that a column takes."""
    return max(map(cell_len, (name, *values))) + _GAP


def cut_by(limit: int) -> str:
    """What is said of rows that the limit cut off."""
    return f"there are more than {counted(limit, 'row')} (all: --limit 0)"


def _shown(column: pa.ChunkedArray) -> list[str]:
    values = text_column(column)
    aligned = _aligned(values) if pa.types.is_decimal(column.type) else values
    return ["" if value is None else visible(value) for value in aligned]


def plan_table(evidence: Evidence, rows: int) -> Table:
    """What `query explain` shows."""
    pruned = evidence.of_files - evidence.files
    return facts(
        [
            ("rows", _rows_line(evidence, rows)),
            ("sources", _source_line(evidence)),
            *_topic_facts(evidence),
            ("stream", f"{evidence.tail_records:,} records of all symbols between them"),
            ("files", f"{evidence.files:,} read, {pruned:,} pruned by symbol and time, of {evidence.of_files:,}"),
            ("bytes", f"{evidence.file_bytes:,} in the files read, of {evidence.of_bytes:,}"),
            ("ms", _stages(evidence)),
            ("answer", _verdict(evidence)),
        ]
    )


def footer(evidence: Evidence, rows: int | None = None, cut: Sequence[str] = ()) -> list[Text]:
    """Where the rows come from, how fresh they are, and whether they are all there are.

    rows: how many, if known. cut: what of them the display leaves out; that the data is complete is another thing.
    """
    lines = [] if rows is None else [_rows_line(evidence, rows)]
    lines += [*_silent_lines(evidence), _source_line(evidence)]
    lines.append(Text("ms: " + _stages(evidence), style="dim"))
    left_out = _left_out(evidence)
    if left_out:
        lines.append(Text(left_out, style="yellow"))
    if evidence.lost:
        lines.append(Text(f"lost before they were read, times unknown: {evidence.lost:,} trades of the topic", "red"))
    lines += [Text(note, style="yellow") for note in evidence.notes]
    all_cut = [*([cut_by(rows)] if evidence.more and rows else []), *cut]
    if all_cut:
        lines.append(Text("not all is shown: " + "; ".join(all_cut), style="yellow"))
    return [*lines, _verdict(evidence, cut=bool(all_cut))]


def _stages(evidence: Evidence) -> str:
    return "  ".join(f"{name} {ms:.0f}" for name, ms in evidence.stages_ms.items())


def _verdict(evidence: Evidence, *, cut: bool = False) -> Text:
    if evidence.complete:
        return Text("the data is complete, what is shown is cut" if cut else "complete", style="green")
    return Text("incomplete: " + "; ".join(evidence.missing), style="bold red")


def _rows_line(evidence: Evidence, number: int) -> Text:
    line = counted(number, "row")
    if evidence.more:
        line += " (older ones cut by the limit)"
    unit = "" if number >= evidence.lake_rows + evidence.tail_rows else " trades"
    line += f": {evidence.lake_rows:,}{unit} from the lake, {evidence.tail_rows:,} from the stream"
    if evidence.duplicates_removed:
        line += f", {evidence.duplicates_removed:,} second copies removed"
    if evidence.newest_age_s is not None:
        age = evidence.newest_age_s
        line += f"; newest {seconds(age)} old" if age >= 0 else "; newest is ahead of this clock"
    return Text(line)


def _silent_lines(evidence: Evidence) -> list[Text]:
    return [
        Text(
            f"{symbol}: no trade in this window; its last was at {_moment(last_us)} UTC (see --window, --since)",
            "yellow",
        )
        for symbol, last_us in evidence.last_trade_us.items()
    ]


def _source_line(evidence: Evidence) -> Text:
    if evidence.snapshot_id is None:
        lake = "no snapshot yet"
    else:
        age_s = (evidence.asked_at_us - (evidence.committed_at_us or 0)) / 1e6
        lake = f"snapshot {evidence.snapshot_id}, {seconds(max(0.0, age_s))} old"
    if not evidence.ends:
        return Text(lake, style="dim")
    behind = f"the lake is {count(evidence.behind_records)} records behind"
    boundary = _range([offset for span in evidence.spans for offset in span.boundary.values()])
    ends = [offset for span in evidence.spans for offset in span.watermarks.values()]
    of = f" of {len(evidence.ends)} topics" if len(evidence.ends) > 1 else ""
    return Text(
        f"{lake}; {behind} ({len(ends)} partitions{of}: stored up to offset {boundary}, log ends at {_range(ends)})",
        style="dim",
    )


def _topic_facts(evidence: Evidence) -> list[tuple[str, str]]:
    """Of each topic where it was read from and to."""
    if not evidence.spans:
        return [("topic", f"{topic}, not read") for topic in evidence.topics]
    found = []
    for span in evidence.spans:
        found.append(("topic", f"{span.topic}, epoch {span.epoch}" if span.epoch else f"{span.topic}, not there"))
        found.append(("boundary", "  ".join(f"{p}:{offset:,}" for p, offset in sorted(span.boundary.items()))))
        found.append(("watermarks", "  ".join(f"{p}:{offset:,}" for p, offset in sorted(span.watermarks.items()))))
    return found


def _range(offsets: Sequence[int]) -> str:
    low, high = min(offsets, default=0), max(offsets, default=0)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _left_out(evidence: Evidence) -> str:
    parts = []
    if evidence.undecodable:
        parts.append(f"{evidence.undecodable:,} records that cannot be decoded")
    if evidence.invalid:
        parts.append(f"{evidence.invalid:,} invalid trades")
    return "left out, as the consumer will: " + ", ".join(parts) if parts else ""


def _times(trades: pa.Table) -> list[str | None]:
    """Times to the precision that the rows use: seconds, milliseconds, microseconds or nanoseconds."""
    texts = [(text or "").removesuffix("Z").replace("T", " ") for text in text_column(trades.column("timestamp"))]
    width = max(map(len, texts), default=0)
    texts = [text.ljust(width, "0") if text else "" for text in texts]
    for zeros in (".000000", "000"):
        if all(text.endswith(zeros) for text in texts):
            return [text.removesuffix(zeros) for text in texts]
    return list(texts)


def _aligned(texts: list[str | None]) -> list[str | None]:
    """Decimals with the same number of digits behind the point, as many as any of them needs."""
    places = max((len(text.partition(".")[2]) for text in texts if text), default=0)
    if not places:
        return texts
    return [text and f"{text.partition('.')[0]}.{text.partition('.')[2]:0<{places}}" for text in texts]


def _moment(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
