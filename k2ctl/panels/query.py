"""What `k2ctl query` shows: the trades as a table, and under them where they come from."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from k2ctl.panels.style import count, seconds
from k2ctl.query.answer import Answer, Evidence
from k2ctl.query.texts import text_column

_WIDE: Final = 110


def trades_table(trades: pa.Table, width: int) -> Table:
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
    for row in zip(*columns.values(), strict=True):
        table.add_row(*(Text(value or "") for value in row))
    return table


def footer(answer: Answer) -> list[Text]:
    """Where the rows come from, how fresh they are, and whether they are all there are."""
    evidence = answer.evidence
    lines = [_rows_line(answer), *_silent_lines(evidence), _source_line(evidence)]
    lines.append(Text("ms: " + "  ".join(f"{name} {ms:.0f}" for name, ms in evidence.stages_ms.items()), style="dim"))
    left_out = _left_out(evidence)
    if left_out:
        lines.append(Text(left_out, style="yellow"))
    if evidence.lost:
        lines.append(Text(f"lost before they were read, times unknown: {evidence.lost:,} trades of the topic", "red"))
    if evidence.complete:
        lines.append(Text("complete", style="green"))
    else:
        lines.append(Text("incomplete: " + "; ".join(evidence.missing), style="bold red"))
    return lines


def _rows_line(answer: Answer) -> Text:
    evidence = answer.evidence
    number = len(answer.table)
    line = f"{number:,} row{'' if number == 1 else 's'}"
    if evidence.more:
        line += " (older ones cut by the limit)"
    line += f": {evidence.lake_rows:,} from the lake, {evidence.tail_rows:,} from the stream"
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
    if not evidence.watermarks:
        return Text(lake, style="dim")
    behind = f"the lake is {count(evidence.behind_records)} records behind"
    boundary, ends = (_range(values) for values in (evidence.boundary, evidence.watermarks))
    return Text(
        f"{lake}; {behind} ({len(evidence.watermarks)} partitions: stored up to offset {boundary}, log ends at {ends})",
        style="dim",
    )


def _range(offsets: Mapping[int, int]) -> str:
    low, high = min(offsets.values(), default=0), max(offsets.values(), default=0)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _left_out(evidence: Evidence) -> str:
    parts = []
    if evidence.undecodable:
        parts.append(f"{evidence.undecodable:,} records that cannot be decoded")
    if evidence.invalid:
        parts.append(f"{evidence.invalid:,} invalid trades")
    return "left out, as the consumer will: " + ", ".join(parts) if parts else ""


def _times(trades: pa.Table) -> list[str | None]:
    """Times to the precision that the rows use: seconds, milliseconds or microseconds."""
    texts = [(text or "").removesuffix("Z").replace("T", " ") for text in text_column(trades.column("timestamp"))]
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
