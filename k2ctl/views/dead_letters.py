"""Dead letters as tables, as one page, and as JSON."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final

import orjson
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k2ctl.domain.wire import CODECS
from k2ctl.kafka.dead_letter_box import Letter, Letters

SHOWN_BYTES: Final = 4096


def counts_of(letters: Iterable[Letter]) -> list[dict[str, Any]]:
    """How many by topic and reason, the most first."""

    def cause(letter: Letter) -> tuple[str, str]:
        return letter.topic, letter.reason

    counts = []
    for (topic, reason), group in groupby(sorted(letters, key=cause), cause):
        some = list(group)
        retried = sum(letter.retried for letter in some)
        counts.append({"topic": topic, "reason": reason, "count": len(some), "retried": retried})
    return sorted(counts, key=lambda one: -int(str(one["count"])))


def document_of(letter: Letter, *, whole: bool = False) -> dict[str, Any]:
    """A letter for scripts; whole: with the bytes that came, and what decodes of them."""
    document: dict[str, Any] = {
        "place": letter.place, "at": _time(letter), "reason": letter.reason, "topic": letter.topic,
        "epoch": letter.epoch, "partition": letter.partition, "offset": letter.offset, "index": letter.index,
        "bytes": letter.size, "cut": letter.cut, "copies": letter.copies, "retried": letter.retried,
    }  # fmt: skip
    if whole:
        document |= {"hex": letter.value.hex(), "text": _text(letter.value), "trades": _trades(letter.value)}
    return document


def letters_panel(letters: Letters, newest: Sequence[Letter]) -> RenderableType:
    """Counts by topic and reason, then the newest."""
    if not letters.found:
        return Text("There is no dead letter." if not letters.not_read else "None of these.", style="green")
    counts = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("dead letters", "right"), ("retried", "right"), ("topic", "left"), ("reason", "left")):
        counts.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for one in counts_of(letters.found):
        counts.add_row(f"{one['count']:,}", f"{one['retried']:,}", one["topic"], one["reason"])
    parts: list[RenderableType] = [counts]
    if newest:
        parts += [Text(), _newest(newest)]
    if letters.not_read:
        parts.append(Text(f"{letters.not_read:,} older ones were not looked at.", style="yellow"))
    parts.append(Text("One of them: k2ctl dead-letters show PLACE; again: k2ctl dead-letters retry --dry-run"))
    return Group(*parts)


def _newest(newest: Sequence[Letter]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("place", "at (UTC)", "record", "bytes", "reason"):
        table.add_column(name, justify="right" if name == "bytes" else "left", overflow="fold")
    for letter in newest:
        reason = f"{letter.reason} (retried)" if letter.retried else letter.reason
        table.add_row(letter.place, _time(letter), _record(letter), f"{letter.size:,}", reason)
    return table


def letter_panel(letter: Letter) -> RenderableType:
    """One letter with everything that is known of it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in (
        ("reason", letter.reason),
        ("published", f"{_time(letter)} UTC, {letter.copies} ×" if letter.copies > 1 else f"{_time(letter)} UTC"),
        ("topic", letter.topic),
        ("record", _record(letter)),
        ("epoch", letter.epoch),
        ("sent again", "yes" if letter.retried else "no"),
        ("bytes", f"{letter.size:,}" + (f", of which Kafka took {len(letter.value):,}" if letter.cut else "")),
    ):
        table.add_row(name, value)
    for trade in _trades(letter.value):
        table.add_row("trade", orjson.dumps(trade).decode())
    text, more = _text(letter.value), " …" if len(letter.value) > SHOWN_BYTES else ""
    if text is not None:
        table.add_row("text", text[:SHOWN_BYTES] + more)
    table.add_row("hex", letter.value[:SHOWN_BYTES].hex(" ") + more)
    return table


def _record(letter: Letter) -> str:
    """Where it was in its topic: partition, offset and, of a frame, the place of the trade."""
    return f"{letter.partition}:{letter.offset}" + ("" if letter.index is None else f", trade {letter.index}")


def _time(letter: Letter) -> str:
    return datetime.fromtimestamp(letter.at_ms / 1000, UTC).isoformat(" ", "seconds").removesuffix("+00:00")


def _text(value: bytes) -> str | None:
    """The value as text, where it is some."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if text and all(sign.isprintable() or sign in "\r\n\t" for sign in text) else None


def _trades(value: bytes) -> list[Any]:
    """What decodes of a value, as JSON trades; none where nothing does, or its values cannot be written."""
    for codec in CODECS.values():
        decoded = codec.decode([value])
        if len(decoded.trades):
            try:
                return [orjson.loads(text) for text in CODECS["json"].encode(decoded.trades, 1)]
            except (ValueError, IndexError, OverflowError):
                return []
    return []
