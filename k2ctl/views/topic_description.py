"""One topic: its partitions, its readers, and what was counted in it."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k2ctl.feeds.look.counted import PartitionCount, TopicCount
from k2ctl.feeds.look.described import TABLE_READER, DescribedPartition, DescribedReader, TopicDescription
from k2ctl.views.style import Cell, count, counted, facts, listing, marked, seconds, size


def description_panel(found: TopicDescription, now_us: int) -> RenderableType:
    """A topic as a whole."""
    return Group(_about(found, now_us), Text(), _partitions(found, now_us), Text(), _readers(found), *_unknown(found))


def _about(found: TopicDescription, now_us: int) -> Table:
    about = "none" if found.record_bytes is None else f"{found.records:,}"
    if found.record_bytes is not None:
        whole = size(found.record_bytes * found.records)
        about += f", of {size(found.record_bytes)} each as the newest are: some {whole} uncompressed"
    newest = max((one.newest_at for one in found.partitions if one.newest_at), default=None)
    dead = f"{found.dead_letters:,}"
    return facts(
        [
            ("topic", f"{found.topic}, epoch {found.epoch}"),
            ("feed", found.feed or "nothing says what its records are: k2ctl feed guess " + found.topic),
            ("records", about),
            ("newest", None if newest is None else f"{newest}, {seconds(_age_s(newest, now_us))} ago"),
            ("settings", _settings(found)),
            ("dead letters", f"{dead}: k2ctl dead-letters list --topic {found.topic}" if found.dead_letters else dead),
        ]
    )


def _age_s(text: str, now_us: int) -> float:
    at = datetime.fromisoformat(text.removesuffix("Z")[:26]).replace(tzinfo=UTC)
    return max(0.0, now_us / 1e6 - at.timestamp())


def _settings(found: TopicDescription) -> str | None:
    if found.settings is None:
        return None
    return ", ".join(f"{name} {value}" for name, value in found.settings.items())


def _partitions(found: TopicDescription, now_us: int) -> Table:
    stored = next((one.offsets for one in found.readers if one.reader == TABLE_READER), {})

    def copies(one: DescribedPartition) -> Text:
        short = set(one.replicas) - set(one.in_sync)
        return marked(",".join(map(str, one.in_sync)) or "none", "bold red", short or not one.in_sync)

    columns: list[tuple[str, Callable[[DescribedPartition], Cell]]] = [
        (">partition", lambda one: str(one.partition)),
        (">begins", lambda one: f"{one.low:,}"),
        (">ends", lambda one: f"{one.high:,}"),
        (">records", lambda one: count(one.high - one.low)),
        (">stored to", lambda one: f"{stored[one.partition]:,}" if one.partition in stored else ""),
        (">leader", lambda one: str(one.leader) if one.leader >= 0 else "none"),
        ("in sync", copies),
        (">newest", lambda one: f"{seconds(_age_s(one.newest_at, now_us))} ago" if one.newest_at else ""),
    ]
    return listing(found.partitions, *(column for column in columns if stored or column[0] != ">stored to"))


def _readers(found: TopicDescription) -> RenderableType:
    if not found.readers:
        return Text("Nobody has read it.")

    def name(one: DescribedReader) -> str:
        return "the table" if one.reader == TABLE_READER else f"group {one.reader}"

    return listing(
        found.readers,
        ("read by", name),
        (">partitions", lambda one: str(len(one.offsets))),
        (">records behind", lambda one: f"{one.behind:,}"),
    )


def _unknown(found: TopicDescription) -> list[Text]:
    return [Text(f"not known: {one}", style="dim") for one in found.unknown]


def count_panel(found: TopicCount) -> RenderableType:
    """What was counted."""
    parts, whole = found.partitions, _total(found.partitions)
    rows = [*parts, whole] if len(parts) > 1 else list(parts)
    columns = [
        (">partition", lambda one: "all" if one is whole else str(one.partition)),
        (">records", lambda one: f"{one.records:,}"),
        (">trades", lambda one: "" if one.trades is None else f"{one.trades:,}"),
        (">bytes", lambda one: f"{one.bytes:,}"),
    ]
    if whole.unreadable:
        columns.append((">unreadable", lambda one: f"{one.unreadable:,}"))
    if whole.filtered:
        columns.append((">left out by the feed", lambda one: f"{one.filtered:,}"))
    notes = [Text(f"Nothing says what these records are. A feed for them: k2ctl feed guess {found.topic}")]
    held = [f"{partition}:{offset}" for partition, offset in found.held_at.items()]
    return Group(
        listing(rows, *columns),
        *(notes if whole.trades is None and whole.records else []),
        *([Text(f"Not counted: behind an open transaction, from {', '.join(held)} on.", "yellow")] if held else []),
    )


def _total(parts: Sequence[PartitionCount]) -> PartitionCount:
    known = [one.trades for one in parts if one.trades is not None]
    return PartitionCount(
        -1,
        sum(one.records for one in parts),
        sum(one.bytes for one in parts),
        sum(known) if known else None,
        sum(one.unreadable for one in parts),
        sum(one.filtered for one in parts),
    )


def counted_so_far(by_now: int, total: int) -> str:
    """While it is counted."""
    return f"{count(by_now)} of {counted(total, 'record')}"
