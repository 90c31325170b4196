"""What `k2ctl lake` shows."""

from collections.abc import Sequence
from typing import Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from k2ctl.lake.maintenance.compaction import Compaction
from k2ctl.lake.maintenance.orphans import OrphansRemoved
from k2ctl.lake.maintenance.status import HourStatus, PartitionCheckpoint, TableStatus
from k2ctl.lake.rollback import Rollback
from k2ctl.views.style import count, counted, seconds, size

_HOURS_SHOWN: Final = 12


def status_panel(status: TableStatus) -> Group:
    """The table at a glance, its newest hours, and every partition's checkpoint."""
    parts: list[Text | Table] = [*_headline(status), Text()]
    if status.rolled_back:
        parts = [Text(status.rolled_back, style="bold red"), *parts]
    parts = [*(Text(why, style="bold red") for why in status.not_writable), *parts]
    if status.hours:
        parts += [_hours(status.hours), Text()]
    if status.partitions:
        parts += [_partitions_table(status.partitions), Text()]
    parts.append(_verdict(status))
    return Group(*parts)


def _headline(status: TableStatus) -> list[Text]:
    age = "" if status.snapshot_age_s is None else f", the newest {seconds(status.snapshot_age_s)} old"
    per_row = f", {status.bytes / status.rows:.1f} bytes a row" if status.rows else ""
    files, orphans = counted(status.files, "file"), counted(status.orphan_files, "file")
    lines = [
        Text(f"{status.rows:,} rows in {files}, {size(status.bytes)}{per_row}", style="bold"),
        Text(f"{counted(status.snapshots, 'snapshot')}{age}"),
        Text(f"{orphans} on disk that no snapshot leads to, {size(status.orphan_bytes)}"),
    ]
    if status.maintained_by:
        lines.append(Text(f"maintenance under way: {status.maintained_by}"))
    return lines


def _hours(hours: Sequence[HourStatus]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("hour (UTC)")
    for name in ("files", "rows", "size", "rows/file"):
        table.add_column(name, justify="right")
    shown = hours[-_HOURS_SHOWN:]
    for hour in reversed(shown):
        table.add_row(hour.hour, f"{hour.files:,}", f"{hour.rows:,}", size(hour.bytes), count(hour.rows / hour.files))
    older = hours[: -len(shown)]
    if older:
        files, rows = sum(hour.files for hour in older), sum(hour.rows for hour in older)
        table.add_row(
            f"{len(older):,} older", f"{files:,}", f"{rows:,}", size(sum(h.bytes for h in older)), count(rows / files)
        )
    return table


def _partitions_table(partitions: Sequence[PartitionCheckpoint]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("partition")
    for name in ("offset", "seen", "stored", "dup", "deferred", "lost", "dead", "undec."):
        table.add_column(name, justify="right")
    table.add_column("")
    topic_epoch = None
    for partition in partitions:
        if topic_epoch != (partition.topic, partition.epoch):
            topic_epoch = (partition.topic, partition.epoch)
            table.add_row(Text(f"{partition.topic}", style="cyan", overflow="fold"))
        counts = partition.counts
        table.add_row(
            Text(f"  ended: {partition.epoch}", overflow="fold")
            if partition.partition is None
            else f"  {partition.partition}",
            f"{partition.next_offset:,}",
            f"{counts.seen:,}",
            f"{counts.stored:,}",
            count(counts.duplicate),
            count(counts.shed + counts.spilled),
            Text(count(counts.lost), style="red" if counts.lost else ""),
            count(counts.dead_lettered),
            count(counts.undecodable),
            Text("" if partition.balanced else "does not add up", style="bold red"),
        )
    return table


def _verdict(status: TableStatus) -> Text:
    total = status.total
    sum_of_parts = (
        f"seen {total.seen:,} = stored {total.stored:,} + duplicate {total.duplicate:,} + shed {total.shed:,} "
        f"+ spilled {total.spilled:,} + lost {total.lost:,} + dead-lettered {total.dead_lettered:,}"
    )
    if status.balanced:
        return Text(f"The counts balance: {sum_of_parts}; the table has {status.rows:,} rows.", style="green")
    return Text(f"The counts do not balance: {sum_of_parts}; the table has {status.rows:,} rows.", style="bold red")


def compaction_table(done: Sequence[Compaction]) -> Table:
    """What was merged, hour by hour."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("hour (UTC)")
    for name in ("files", "now", "rows", "size", "now", "took", "swap", "tries"):
        table.add_column(name, justify="right")
    for entry in done:
        table.add_row(
            entry.hour,
            f"{entry.files_before:,}",
            f"{entry.files_after:,}",
            f"{entry.rows:,}",
            size(entry.bytes_before),
            size(entry.bytes_after),
            seconds(entry.seconds),
            seconds(entry.swap_seconds),
            str(entry.tries),
        )
    return table


def expiry_text(expired: int, removed: OrphansRemoved, age_s: float) -> str:
    """What expiry deleted, or would delete."""
    would = "would be " if removed.dry_run else ""
    return (
        f"{expired:,} snapshots {would}dropped; {removed.files:,} unreachable files {would}deleted, "
        f"{size(removed.bytes)}; {removed.young:,} younger than {seconds(age_s)} stay for now."
    )


def rollback_panel(rollback: Rollback) -> Group:
    """What is given up when a rollback is accepted."""
    lines = [
        Text(f"{counted(rollback.rows, 'row')} that K2 had stored are not in the table any more.", style="bold"),
        Text(
            f"The ledger: {counted(rollback.entries_gone, 'range')} less, "
            f"{counted(rollback.entries_back, 'range')} outstanding again; {rollback.deferred:+,} trades."
        ),
    ]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("partition")
    for name in ("offset now", "offset then", "records read again"):
        table.add_column(name, justify="right")
    for part in rollback.partitions:
        then = "log start" if part.then is None else f"{part.then:,}"
        table.add_row(f"{part.topic} {part.partition}", f"{part.now:,}", then, f"{part.now - (part.then or 0):,}")
    return Group(*lines, table) if rollback.partitions else Group(*lines)
