"""What `k2ctl lake`, `k2ctl gaps` and `k2ctl state` show."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k2ctl.lake.maintenance.compaction import Compaction
from k2ctl.lake.maintenance.orphans import OrphansRemoved
from k2ctl.lake.maintenance.status import HourStatus, PartitionCheckpoint, TableStatus
from k2ctl.lake.restoring import Restoration
from k2ctl.lake.rollback import Rollback
from k2ctl.profiles.model import NUMBERS
from k2ctl.sequence.gap_report import GapReport, incomplete
from k2ctl.sequence.store_view import StoreView
from k2ctl.spark.maintain import Maintained
from k2ctl.views.forms import Grouped
from k2ctl.views.style import count, counted, listing, marked, seconds, size

_HOURS_SHOWN: Final = 12
DAYS_SHOWN: Final = 40
EVENTS_NAMED: Final = 5
NAMES_SHOWN: Final = 3


def status_panel(status: TableStatus) -> Group:
    """The table at a glance, its newest hours, and every partition's checkpoint."""
    warnings = [*status.not_writable, *filter(None, (status.rolled_back, status.offsets_differ))]
    parts: list[RenderableType] = [*(Text(why, style="bold red") for why in warnings), *_headline(status), Text()]
    if status.hours:
        parts += [_hours(status.hours), Text()]
    if status.partitions:
        parts += [_partitions(status.partitions), Text()]
    return Group(*parts, _balance(status))


def _headline(status: TableStatus) -> Iterator[Text]:
    age = "" if status.snapshot_age_s is None else f", the newest {seconds(status.snapshot_age_s)} old"
    per_row = f", {status.bytes / status.rows:.1f} bytes a row" if status.rows else ""
    files, orphans = counted(status.files, "file"), counted(status.orphan_files, "file")
    yield Text(f"{status.rows:,} rows in {files}, {size(status.bytes)}{per_row}", style="bold")
    yield Text(f"{counted(status.snapshots, 'snapshot')}{age}")
    yield Text(f"{orphans} on disk that no snapshot leads to, {size(status.orphan_bytes)}")
    if status.maintained_by:
        yield Text(f"maintenance under way: {status.maintained_by}")


def _hours(hours: Sequence[HourStatus]) -> Table:
    """The newest hours, and the sum of those before."""
    shown, older = hours[-_HOURS_SHOWN:], hours[:-_HOURS_SHOWN]
    groups = [(hour.hour, [hour]) for hour in reversed(shown)]
    groups += [(f"{len(older):,} older", list(older))] if older else []
    sums = [(name, sum(h.files for h in some), sum(h.rows for h in some), some) for name, some in groups]
    return listing(
        sums,
        ("hour (UTC)", lambda row: row[0]),
        (">files", lambda row: f"{row[1]:,}"),
        (">rows", lambda row: f"{row[2]:,}"),
        (">size", lambda row: size(sum(hour.bytes for hour in row[3]))),
        (">rows/file", lambda row: count(row[2] / row[1])),
    )


def _partitions(partitions: Sequence[PartitionCheckpoint]) -> Grouped:
    return Grouped(
        partitions,
        lambda one: one.topic,
        ("partition", lambda one: f"ended: {one.epoch}" if one.partition is None else str(one.partition)),
        (">offset", lambda one: f"{one.next_offset:,}"),
        (">seen", lambda one: f"{one.counts.seen:,}"),
        (">stored", lambda one: f"{one.counts.stored:,}"),
        (">dup", lambda one: count(one.counts.duplicate)),
        (">deferred", lambda one: count(one.counts.shed + one.counts.spilled)),
        (">lost", lambda one: marked(count(one.counts.lost), "red", one.counts.lost)),
        (">dead", lambda one: count(one.counts.dead_lettered)),
        (">undec.", lambda one: count(one.counts.undecodable)),
        ("", lambda one: Text("" if one.balanced else "does not add up", style="bold red")),
    )


def _balance(status: TableStatus) -> Text:
    total = status.total
    sum_of_parts = (
        f"seen {total.seen:,} = stored {total.stored:,} + duplicate {total.duplicate:,} + shed {total.shed:,} "
        f"+ spilled {total.spilled:,} + lost {total.lost:,} + dead-lettered {total.dead_lettered:,}"
    )
    verdict, style = ("balance", "green") if status.balanced else ("do not balance", "bold red")
    filtered = f"; the feed filtered out {total.filtered:,}" if total.filtered else ""
    return Text(f"The counts {verdict}: {sum_of_parts}; the table has {status.rows:,} rows{filtered}.", style=style)


def compaction_table(done: Sequence[Compaction]) -> Table:
    """What was merged, hour by hour."""
    return listing(
        done,
        ("hour (UTC)", lambda entry: entry.hour),
        (">files", lambda entry: f"{entry.files_before:,}"),
        (">now", lambda entry: f"{entry.files_after:,}"),
        (">rows", lambda entry: f"{entry.rows:,}"),
        (">size", lambda entry: size(entry.bytes_before)),
        (">now", lambda entry: size(entry.bytes_after)),
        (">took", lambda entry: seconds(entry.seconds)),
        (">swap", lambda entry: seconds(entry.swap_seconds)),
        (">tries", lambda entry: str(entry.tries)),
    )


def expiry_text(expired: int, removed: OrphansRemoved, age_s: float) -> str:
    """What expiry deleted, or would delete."""
    would = "would be " if removed.dry_run else ""
    return (
        f"{expired:,} snapshots {would}dropped; {removed.files:,} unreachable files {would}deleted, "
        f"{size(removed.bytes)}; {removed.young:,} younger than {seconds(age_s)} stay for now."
    )


def maintained_text(done: Maintained) -> str:
    """What Spark's maintenance did."""
    lines = [
        f"{counted(len(done.hours), 'hour')} rewritten in {seconds(done.seconds)}: {done.files_before:,} files became "
        f"{done.files_after:,}, {done.rows:,} rows, {size(done.bytes_before)} became {size(done.bytes_after)}."
        if done.hours
        else f"No hour to rewrite; {seconds(done.seconds)}.",
        f"{done.snapshots_expired:,} snapshots dropped; {done.orphans.files:,} unreachable files deleted, "
        f"{size(done.orphans.bytes)}.",
    ]
    if done.manifests_before:
        lines.append(f"{done.manifests_before:,} manifests became {done.manifests_after:,}.")
    if done.left:
        lines.append(f"Left for the next time, changed meanwhile or damaged: {', '.join(done.left)}.")
    return "\n".join([*lines, *(f"{note[0].upper()}{note[1:]}." for note in done.notes)])


def rollback_panel(rollback: Rollback) -> Group:
    """What is given up when a rollback is accepted."""
    lines = [
        Text(f"{counted(rollback.rows, 'row')} that K2 had stored are not in the table any more.", style="bold"),
        Text(
            f"The ledger: {counted(rollback.entries_gone, 'range')} less, "
            f"{counted(rollback.entries_back, 'range')} outstanding again; {rollback.deferred:+,} trades."
        ),
    ]
    table = listing(
        rollback.partitions,
        ("partition", lambda part: f"{part.topic} {part.partition}"),
        (">offset now", lambda part: f"{part.now:,}"),
        (">offset then", lambda part: "log start" if part.then is None else f"{part.then:,}"),
        (">records read again", lambda part: f"{part.now - (part.then or 0):,}"),
    )
    return Group(*lines, table) if rollback.partitions else Group(*lines)


def restoration_panel(restoration: Restoration) -> Group:
    """What restoring the offsets does."""
    right = (
        "The properties are right; a new copy is made of them."
        if restoration.snapshot is None
        else f"The copy of snapshot {restoration.snapshot} is put back into the table's properties."
    )
    table = listing(
        restoration.partitions,
        ("partition", lambda part: f"{part.topic} {part.partition}"),
        (">offset now", lambda part: "none" if part.now is None else f"{part.now:,}"),
        (">restored", lambda part: "none" if part.restored is None else f"{part.restored:,}"),
    )
    lines = [Text(restoration.difference, style="bold"), Text(right)]
    return Group(*lines, table) if restoration.partitions else Group(*lines)


def gaps_panel(report: GapReport) -> RenderableType:
    """Symbols and days that lack something, the worst first; then what is complete, and what is unknown."""
    parts: list[RenderableType] = [_completeness(report)]
    lacking = incomplete(report.days)
    if lacking:
        days = listing(
            lacking[:DAYS_SHOWN],
            ("day", lambda day: day.day),
            ("symbol", lambda day: f"{day.exchange}/{day.symbol}"),
            (">complete", lambda day: f"{day.completeness_percent:.3f} %"),
            (">stored", lambda day: count(day.stored)),
            (">missing", lambda day: count(day.missing)),
            (">open", lambda day: marked(count(day.open), "yellow", day.open, "dim")),
            (">lost", lambda day: marked(count(day.lost), "red", day.lost, "dim")),
            (">explained", lambda day: marked(count(day.explained), "", day.explained, "dim")),
        )
        parts += [days, Text()]
    if len(lacking) > DAYS_SHOWN:
        parts.append(f"… {len(lacking) - DAYS_SHOWN:,} more; all of them, and each gap: k2ctl gaps --json")
    return Group(*parts, *map(Text, _notes(report)))


def _completeness(report: GapReport) -> Text:
    if not report.days and report.untracked:
        return Text("Nothing is known to be missing: these trades have no numbers that could say so.", style="bold")
    if not report.days:
        return Text("The table has no numbered trade there; see how --symbol is spelt, and --since.", style="yellow")
    if {*report.numbers.split(", ")} <= {"ordered", "none"}:
        text = f"Nothing is known to be missing: the numbers of these {report.stored:,} trades are only ordered."
        return Text(text, style="bold")
    text = f"{report.completeness_percent:g} % complete: {report.stored:,} trades stored, {report.missing:,} missing"
    return Text(text, style="bold yellow" if report.missing else "bold green")


def _notes(report: GapReport) -> Iterator[str]:
    if report.not_dense:
        some = ", ".join(report.not_dense[:NAMES_SHOWN]) + (", …" if len(report.not_dense) > NAMES_SHOWN else "")
        yield (
            f"The numbers of {counted(len(report.not_dense), 'symbol')} ({some}) do not look dense, so what is missing "
            "there may never have been. Say what they are in the profile, under topic, or in the feed: "
            f"sequence: {{numbers: KIND}}. KIND is one of {', '.join(NUMBERS[1:])}."
        )
    whole = sum(1 for day in report.days if not day.missing)
    if whole and not {*report.numbers.split(", ")} <= {"ordered", "none"}:
        yield f"{whole:,} of {len(report.days):,} symbol days are complete."
    if report.resets:
        yield f"{report.resets:,} restarts of a counter: what was missing then is explained."
    if report.unverified_symbols:
        yield f"{report.unverified_symbols:,} symbols begin above number 1: what came before is not known."
    if report.unmatched:
        named = ", ".join(f"{one.action} {one.message_id} of {one.symbol}" for one in report.unmatched[:EVENTS_NAMED])
        more = f" and {len(report.unmatched) - EVENTS_NAMED:,} more" if len(report.unmatched) > EVENTS_NAMED else ""
        yield f"{len(report.unmatched):,} corrections and cancellations whose trades have not come: {named}{more}."
    for exchange, trades in sorted(report.untracked.items()):
        given = "no numbers that say anything" if report.numbers == "none" else "no sequence numbers"
        yield f"{exchange} gives {given} ({trades:,} trades): not tracked, gaps are unknown."


def store_panel(view: StoreView) -> RenderableType:
    """The state store at a glance, and its partitions."""
    if view.store == "memory":
        return Text(
            "State is kept in each consumer's memory: there is nothing to look at from outside. It is rebuilt from "
            "the table at every start. To share it: k2ctl consume --state redis://HOST:PORT/0"
        )
    each = f"{size(view.bytes)} ({view.bytes_per_symbol:.0f} bytes each)"
    parts: list[RenderableType] = [
        Text(f"{view.symbols:,} symbols in {len(view.partitions):,} partitions, {each}", style="bold"),
        Text(f"{view.topic}, keys {view.namespace}:sequence:<partition>", style="dim"),
        Text("Redis: " + "  ".join(f"{name} {value}" for name, value in view.server.items()), style="dim"),
        *(Text(f"Damaged: {damage}.", style="yellow") for damage in view.damaged),
    ]
    if view.damaged:
        parts.append(Text("A consumer replaces it from the table with its next commit there.", style="dim"))
    if view.partitions:
        table = listing(
            view.partitions,
            (">partition", lambda part: str(part.partition)),
            (">symbols", lambda part: f"{part.symbols:,}"),
            (">size", lambda part: size(part.bytes)),
            (">up to offset", lambda part: f"{part.offset:,}"),
            (">behind the table", lambda part: marked(f"{part.behind:,}", "yellow", part.behind, "dim")),
            (">forgotten in", lambda part: "never" if part.expires_s is None else seconds(part.expires_s)),
        )
        parts += [Text(), table]
    return Group(*parts)
