"""Topics, and the records that lie in one."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from k2ctl.feeds.look.known import TopicSummary
from k2ctl.feeds.look.records import SeenRecord
from k2ctl.views.feed import cut, trade_line, trade_of
from k2ctl.views.forms import Grouped, Widest
from k2ctl.views.style import Cell, counted, listing, size

_BYTES: Final = re.compile(r"([0-9a-f]{2} ){8}")
"""What a record looks like that is no text; where its trades are shown, it says no more."""

SHOWN_TRADES: Final = 3
"""Of one record."""


def record_document(record: SeenRecord, raw: str | None = None) -> dict[str, Any]:
    """A record for scripts. raw: `text` or `hex`: with its whole value, and without trades."""
    document = {
        "partition": record.partition,
        "offset": record.offset,
        "at": record.at,
        "key": record.key,
        "bytes": len(record.value),
        "headers": record.headers,
    }
    if raw:
        return {**document, "value": record.value.hex() if raw == "hex" else _raw(record, raw)}
    trades = [trade_of(trade) for trade in record.trades]
    return {**document, "text": record.text, "trades": trades, "reasons": record.reasons}


def topics_panel(topics: Sequence[TopicSummary]) -> RenderableType:
    """All topics, with what their records are."""
    if not topics:
        return Text("There is no topic.")
    figures: list[tuple[str, Callable[[TopicSummary], Cell]]] = [
        (">partitions", lambda one: f"{one.partitions:,}"),
        (">records", lambda one: f"{one.records:,}"),
    ]
    if any(one.dead_letters for one in topics):
        figures.append((">dead letters", lambda one: f"{one.dead_letters:,}" if one.dead_letters else ""))
    columns = [*figures, ("=feed", lambda one: one.feed)]
    table = Widest(
        listing(topics, ("=topic", lambda one: one.topic), *columns), Grouped(topics, lambda one: one.topic, *columns)
    )
    return Group(table, Text(), Text("Its newest records: k2ctl topic tail TOPIC"))


def records_panel(
    topic: str, records: Sequence[SeenRecord], *, decoded: bool, raw: str | None = None
) -> RenderableType:
    """The records, each with the trades that it is. decoded: false where nothing says what they are."""
    if not records:
        return Text(f"There is no record in {topic}.")
    parts: list[RenderableType] = [record_panel(record, decoded=decoded, raw=raw) for record in records]
    if not raw and not decoded and not any(record.trades for record in records):
        parts.append(Text(f"Nothing says what these records are. A feed for them:\nk2ctl feed guess {topic}"))
    return Group(*parts)


def record_panel(record: SeenRecord, *, decoded: bool, raw: str | None = None) -> RenderableType:
    """One record. raw: `text` or `hex`: its whole value."""
    key = f"  key {record.key}" if record.key else ""
    head = Text(
        f"{record.partition}:{record.offset}  {record.at or 'no time'}  {size(len(record.value))}{key}", style="dim"
    )
    if raw:
        return Group(head, Padding(Text(_raw(record, raw)), (0, 0, 0, 2)))
    return Group(head, *_what_it_is(record, decoded=decoded))


def _raw(record: SeenRecord, raw: str) -> str:
    return record.value.hex(" ") if raw == "hex" else record.value.decode("utf-8", "backslashreplace")


def _what_it_is(record: SeenRecord, *, decoded: bool) -> Iterator[RenderableType]:
    if not record.trades or not _BYTES.match(record.text):
        yield Padding(Text(cut(record.text)), (0, 0, 0, 2))
    for trade in record.trades[:SHOWN_TRADES]:
        yield Padding(Text.assemble("→ ", (trade_line(trade), "bold")), (0, 0, 0, 2))
    if len(record.trades) > SHOWN_TRADES:
        yield Padding(Text(f"… and {counted(len(record.trades) - SHOWN_TRADES, 'more trade')}"), (0, 0, 0, 2))
    if decoded and not record.trades and not record.reasons:
        yield Padding(Text("– no trade: the feed leaves it out", style="dim"), (0, 0, 0, 2))
    dead = record.headers.get("k2-reason")
    if dead:
        was = "{k2-partition}:{k2-offset} of {k2-topic}".format_map(defaultdict(str, record.headers))
        yield Padding(Text(f"✗ a dead letter, {was}: {dead}", style="red"), (0, 0, 0, 2))
    for reason in record.reasons[:SHOWN_TRADES] if not dead else ():
        yield Padding(Text(f"✗ {reason}", style="red"), (0, 0, 0, 2))
