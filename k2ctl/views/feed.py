"""Feeds, and what they make of a sample, as tables and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import orjson
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from k2ctl.domain.texts import instant_text
from k2ctl.domain.wire import JSON
from k2ctl.feeds.check.checked import Checked, Failure, Origin
from k2ctl.profiles.feed import DeclaredFeed
from k2ctl.views.style import count, counted, facts, listing

TIMED: Final = 1_000
"""Trades from which on the rate says something."""

SHOWN_TEXT: Final = 400
"""Characters of a record."""


def summary_of(declared: DeclaredFeed) -> dict[str, Any]:
    """A feed in short, for scripts."""
    feed = declared.feed
    return {
        "name": declared.name,
        "format": feed.source.format,
        "reads": "files" if feed.source.is_of_files else "topics",
        "description": feed.description,
        "documentation": feed.documentation,
    }


def document_of(declared: DeclaredFeed) -> dict[str, Any]:
    """A feed for scripts, with what it leaves to defaults."""
    return {"name": declared.name, **declared.feed.model_dump(mode="json", by_alias=True)}


def feeds_panel(feeds: Sequence[DeclaredFeed]) -> RenderableType:
    """Those of files first, then those of topics."""
    ordered = sorted(feeds, key=lambda declared: (not declared.feed.source.is_of_files, declared.name))
    table = listing(
        ordered,
        ("=feed", lambda one: one.name),
        ("=format", lambda one: one.feed.source.format),
        ("reads", lambda one: one.feed.description),
    )
    return Group(table, Text(), Text("One of them: k2ctl feed show NAME; for others: k2ctl feed guess FILE|TOPIC"))


def check_document(checked: Checked) -> dict[str, Any]:
    """What a check found, for scripts."""
    document = asdict(checked)
    document["first"] = [{**asdict(origin), "trade": trade_of(trade)} for origin, trade in checked.first]
    document["symbols"] = [{"symbol": symbol, "trades": trades} for symbol, trades in checked.symbols]
    return {**document, "passes": checked.passes, "trades_per_s": round(checked.trades_per_s)}


def trade_of(trade: np.void) -> dict[str, Any]:
    """A trade as JSON has it."""
    text = JSON.encode(np.array([trade]), 1)[0]
    times = {"timestamp": "event_ns", "ingestion_timestamp": "received_ns"}
    return {**orjson.loads(text), **{name: instant_text(trade[field]) for name, field in times.items()}}


def check_panel(checked: Checked) -> RenderableType:
    """The first trades, what fails, what the rest is like, and what it comes to."""
    parts: list[RenderableType] = [part for one in checked.first for part in _beside(*one)]
    if checked.failures:
        parts += [
            Text("what fails", style="bold"),
            *(part for one in checked.failures for part in _failure(one)),
            Text(),
        ]
    parts += [facts(_facts(checked)), *(Text(f"! {remark}", style="yellow") for remark in checked.remarks), Text()]
    return Group(*parts, _verdict(checked))


def trade_line(trade: np.void) -> str:
    """A trade in one line."""
    made = trade_of(trade)
    conditions = " ".join(made.get("trade_conditions") or ())
    words = (
        made["timestamp"], made["symbol"], made["exchange"], made["asset_class"],
        f"{made['price']} × {made['quantity']}",
        made["currency"], made["side"], made["action"] if made.get("action", "NEW") != "NEW" else "",
        f"id {made['trade_id']}" if made["trade_id"] else "",
        f"seq {made['source_sequence']}" if made.get("source_sequence") is not None else "",
        f"[{conditions}]" if conditions else "",
    )  # fmt: skip
    return "  ".join(filter(None, map(str, words)))


def _beside(origin: Origin, trade: np.void) -> Iterator[RenderableType]:
    """A trade below the record that it is of."""
    yield Text.assemble((origin.place, "dim"), " ", cut(origin.text))
    yield Padding(Text.assemble("→ ", (trade_line(trade), "bold")), (0, 0, 1, 2))


def _failure(failure: Failure) -> Iterator[RenderableType]:
    yield Text.assemble((f"{failure.count:,} × ", "bold red"), failure.cause)
    example = Text.assemble((failure.origin.place, "dim"), " ", failure.reason, "\n", (cut(failure.origin.text), "dim"))
    yield Padding(example, (0, 0, 0, 2))


def cut(text: str) -> str:
    """A record as one line that is not too long."""
    line = " ".join(text.split("\n"))
    return line if len(line) <= SHOWN_TEXT else line[:SHOWN_TEXT] + "…"


def _facts(checked: Checked) -> Iterator[tuple[str, str | None]]:
    more = "; there are more" if checked.is_part else ""
    yield "looked at", f"{checked.records:,}{more}"
    yield "trades", f"{checked.trades:,}"
    yield "left out by where", f"{checked.filtered:,}" if checked.filtered else None
    yield "failed", f"{checked.failed:,}" if checked.failed else None
    if not checked.trades:
        return
    named = ", ".join(f"{symbol} {trades:,}" for symbol, trades in checked.symbols)
    others = checked.symbol_count - len(checked.symbols)
    yield "symbols", f"{named}{f' and {others:,} others' if others else ''}"
    yield "time", f"{checked.since} to {checked.until}"
    yield "sides", ", ".join(f"{name} {number:,}" for name, number in checked.sides.items() if number)
    yield "ids", _ids(checked)
    yield "numbers", _numbers(checked)
    yield "rate", f"{count(checked.trades_per_s)} trades a second" if checked.trades >= TIMED else None


def _ids(checked: Checked) -> str:
    ids = checked.ids
    kinds = ((ids.copies, "copies"), (ids.reprints, "reprints"), (ids.shared, "shared by different trades"))
    others = [f"{number:,} {kind}" for number, kind in kinds if number]
    return "unique" if not others else f"{ids.distinct:,} distinct, {', '.join(others)}"


def _numbers(checked: Checked) -> str:
    numbers = checked.numbers
    if numbers is None:
        return "none: gaps cannot be found"
    some = "" if numbers.count == checked.trades else f"of {numbers.count:,}, "
    looks = f"they look {numbers.found or 'like none'}: " if numbers.sure else ""
    return f"{some}declared {numbers.declared}; {looks}{numbers.why}"


def _verdict(checked: Checked) -> Text:
    if checked.passes:
        return Text(f"{checked.feed} understands {checked.target}.", style="green")
    if not checked.trades:
        return Text(f"{checked.feed} finds no trade in {checked.target}.", style="bold red")
    return Text(f"{counted(checked.failed, 'record')} of {checked.target} would be refused.", style="bold red")
