"""Dead letters as tables, as one page, and as JSON."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final

import orjson
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k2ctl.domain.reasons import cause_of
from k2ctl.domain.trade import decode
from k2ctl.domain.wire import JSON
from k2ctl.kafka.dead_letters import StoredDeadLetter, StoredDeadLetters
from k2ctl.views.style import facts, listing

SHOWN_BYTES: Final = 4096


def counts_of(dead_letters: Iterable[StoredDeadLetter]) -> list[dict[str, Any]]:
    """How many by topic and cause, the most first, each with a reason as an example."""

    def key(dead_letter: StoredDeadLetter) -> tuple[str, str]:
        return dead_letter.topic, cause_of(dead_letter.reason)

    counts = []
    for (topic, cause), group in groupby(sorted(dead_letters, key=key), key):
        some = list(group)
        retried = sum(dead_letter.retried for dead_letter in some)
        example = {"topic": topic, "cause": cause, "example": some[0].reason}
        counts.append({**example, "count": len(some), "retried": retried})
    return sorted(counts, key=lambda one: -int(str(one["count"])))


def document_of(dead_letter: StoredDeadLetter, *, whole: bool = False) -> dict[str, Any]:
    """A dead letter for scripts; whole: with the bytes that came, and what decodes of them."""
    document: dict[str, Any] = {
        "place": dead_letter.place, "at": _time(dead_letter), "reason": dead_letter.reason, "topic": dead_letter.topic,
        "epoch": dead_letter.epoch, "partition": dead_letter.partition, "offset": dead_letter.offset,
        "index": dead_letter.index,
        "bytes": dead_letter.size, "cut": dead_letter.cut, "copies": dead_letter.copies, "retried": dead_letter.retried,
    }  # fmt: skip
    if whole:
        document |= {
            "hex": dead_letter.value.hex(),
            "text": _text(dead_letter.value),
            "trades": _trades(dead_letter.value),
        }
    return document


def dead_letters_panel(dead_letters: StoredDeadLetters, newest: Sequence[StoredDeadLetter]) -> RenderableType:
    """Counts by topic and cause, then the newest."""
    if not dead_letters.found:
        return Text("There is no dead letter." if not dead_letters.not_read else "None of these.", style="green")
    counts = listing(
        counts_of(dead_letters.found),
        (">dead letters", lambda one: f"{one['count']:,}"),
        (">retried", lambda one: f"{one['retried']:,}"),
        ("topic", lambda one: one["topic"]),
        ("cause", lambda one: one["cause"]),
    )
    parts: list[RenderableType] = [counts]
    if newest:
        parts += [Text(), _newest(newest)]
    if dead_letters.not_read:
        parts.append(Text(f"{dead_letters.not_read:,} older ones were not looked at.", style="yellow"))
    parts.append(Text("One of them: k2ctl dead-letters show PLACE; again: k2ctl dead-letters retry --dry-run"))
    return Group(*parts)


def _newest(newest: Sequence[StoredDeadLetter]) -> Table:
    return listing(
        newest,
        ("place", lambda one: one.place),
        ("at (UTC)", _time),
        ("record", _record),
        (">bytes", lambda one: f"{one.size:,}"),
        ("reason", lambda one: f"{one.reason} (retried)" if one.retried else one.reason),
    )


def dead_letter_panel(dead_letter: StoredDeadLetter) -> RenderableType:
    """One dead letter with everything that is known of it."""
    copies = f", {dead_letter.copies} ×" if dead_letter.copies > 1 else ""
    cut = f", of which Kafka took {len(dead_letter.value):,}" if dead_letter.cut else ""
    text, more = _text(dead_letter.value), " …" if len(dead_letter.value) > SHOWN_BYTES else ""
    return facts(
        [
            ("reason", dead_letter.reason),
            ("published", f"{_time(dead_letter)} UTC{copies}"),
            ("topic", dead_letter.topic),
            ("record", _record(dead_letter)),
            ("epoch", dead_letter.epoch),
            ("sent again", "yes" if dead_letter.retried else "no"),
            ("bytes", f"{dead_letter.size:,}{cut}"),
            *(("trade", orjson.dumps(trade).decode()) for trade in _trades(dead_letter.value)),
            ("key", None if dead_letter.key is None else dead_letter.key.decode(errors="backslashreplace")),
            *(
                (f"header {name}", (value or b"").decode(errors="backslashreplace"))
                for name, value in dead_letter.headers
            ),
            ("text", None if text is None else text[:SHOWN_BYTES] + more),
            ("hex", dead_letter.value[:SHOWN_BYTES].hex(" ") + more),
        ]
    )


def _record(dead_letter: StoredDeadLetter) -> str:
    """Where it was in its topic: partition, offset and, of a frame, the place of the trade."""
    return f"{dead_letter.partition}:{dead_letter.offset}" + (
        "" if dead_letter.index is None else f", trade {dead_letter.index}"
    )


def _time(dead_letter: StoredDeadLetter) -> str:
    return datetime.fromtimestamp(dead_letter.at_ms / 1000, UTC).isoformat(" ", "seconds").removesuffix("+00:00")


def _text(value: bytes) -> str | None:
    """The value as text, where it is some."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if text and all(sign.isprintable() or sign in "\r\n\t" for sign in text) else None


def _trades(value: bytes) -> list[Any]:
    """What decodes of a value of SBE, as JSON trades; none where nothing does, or its values cannot be written."""
    try:
        return [orjson.loads(text) for text in JSON.encode(decode([value]).trades, 1)]
    except (ValueError, IndexError, OverflowError):
        return []
