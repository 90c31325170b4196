"""Topics, and the records that lie in one."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from k2ctl.feeds.look import SeenRecord, TopicSummary
from k2ctl.views.feed import cut, trade_line, trade_of
from k2ctl.views.style import counted, listing, size

_BYTES: Final = re.compile(r"([0-9a-f]{2} ){8}")
"""What a record looks like that is no text; where its trades are shown, it says no more."""

SHOWN_TRADES: Final = 3
"""Of one record."""


def record_document(record: SeenRecord) -> dict[str, Any]:
    """A record for scripts."""
    return {
        "partition": record.partition,
        "offset": record.offset,
        "at": record.at,
        "key": record.key,
        "bytes": record.size,
        "text": record.text,
        "trades": [trade_of(trade) for trade in record.trades],
        "reasons": record.reasons,
    }


def topics_panel(topics: Sequence[TopicSummary]) -> RenderableType:
    """All topics, with what their records are."""
    if not topics:
        return Text("There is no topic.")
    table = listing(
        topics,
        ("topic", lambda one: one.topic),
        (">partitions", lambda one: f"{one.partitions:,}"),
        (">records", lambda one: f"{one.records:,}"),
        ("feed", lambda one: one.feed),
    )
    return Group(table, Text(), Text("Its newest records: k2ctl topic NAME"))


def records_panel(topic: str, records: Sequence[SeenRecord], *, decoded: bool) -> RenderableType:
    """The records, each with the trades that it is. decoded: false where nothing says what they are."""
    if not records:
        return Text(f"There is no record in {topic}.")
    parts = [part for record in records for part in _record(record, decoded=decoded)]
    if not decoded and not any(record.trades for record in records):
        parts.append(Text(f"Nothing says what these records are. A feed for them:\nk2ctl feed guess {topic}"))
    return Group(*parts)


def _record(record: SeenRecord, *, decoded: bool) -> Iterator[RenderableType]:
    key = f"  key {record.key}" if record.key else ""
    head = f"{record.partition}:{record.offset}  {record.at or 'no time'}  {size(record.size)}{key}"
    yield Text(head, style="dim")
    if not record.trades or not _BYTES.match(record.text):
        yield Padding(Text(cut(record.text)), (0, 0, 0, 2))
    for trade in record.trades[:SHOWN_TRADES]:
        yield Padding(Text.assemble("→ ", (trade_line(trade), "bold")), (0, 0, 0, 2))
    if len(record.trades) > SHOWN_TRADES:
        yield Padding(Text(f"… and {counted(len(record.trades) - SHOWN_TRADES, 'more trade')}"), (0, 0, 0, 2))
    if decoded and not record.trades and not record.reasons:
        yield Padding(Text("– no trade: the feed leaves it out", style="dim"), (0, 0, 0, 2))
    for reason in record.reasons[:SHOWN_TRADES]:
        yield Padding(Text(f"✗ {reason}", style="red"), (0, 0, 0, 2))
