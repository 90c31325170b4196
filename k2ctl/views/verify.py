"""What `k2ctl verify` shows: held to what loads wrote down, and held to what Kafka has."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k2ctl.views.style import Cell, counted, listing

if TYPE_CHECKING:
    from k2ctl.checks.verify.accounted import Accounted
    from k2ctl.checks.verify.verification import Finding, Verified
    from k2ctl.spark.check import LakeVerified

FINDINGS_SHOWN: Final = 20


def verify_panel(results: "list[Verified]") -> RenderableType:
    """One part for each topic."""
    return Group(*(part for result in results for part in _topic(result)))


def lake_verified_panel(result: "LakeVerified") -> RenderableType:
    """The lake's side, by Spark: the headline, and the partitions that do not hold."""
    if result.holds:
        head = Text(
            f"✓ {result.table}: all {result.rows:,} rows are there once, as the checkpoints count", "bold green"
        )
    else:
        head = Text(f"✗ {result.table}: {result.rows:,} rows, {result.copies:,} of them copies", "bold red")
    wrong = [one for one in result.partitions if not one.holds]
    table = listing(
        wrong,
        ("topic", lambda one: one.topic),
        (">partition", lambda one: "all" if one.partition is None else f"{one.partition}"),
        (">rows", lambda one: f"{one.rows:,}"),
        (">stored by the checkpoint", lambda one: f"{one.stored:,}"),
        (">twice", lambda one: f"{one.doubled:,}"),
        ("behind the offset", lambda one: "yes" if one.ahead else ""),
    )
    return Group(head, *([table] if wrong else []), Text(f"  not looked at: {result.not_looked_at}"))


def _topic(result: "Verified") -> list[RenderableType]:
    return [_of_topic(result), _figures(result), *_listed(result.findings, "k2ctl verify")]


def _of_topic(result: "Verified") -> Text:
    if result.holds and not result.expected:
        text = f"✓ {result.topic}: {result.of_unfinished:,} trades of a load that runs or was killed, without a hole"
        return Text(text, style="bold green")
    if result.holds:
        text = f"✓ {result.topic}: all {result.expected:,} acknowledged trades are there, once, as they were sent"
        return Text(text, style="bold green")
    found = ", ".join(f"{count:,} {fault}" for fault, count in result.faults.items() if count)
    if result.damaged:
        found = ", ".join(filter(None, [f"{counted(len(result.damaged), 'data file')} damaged or gone", found]))
    if result.too_few:
        found = ", ".join(filter(None, [found, f"{result.too_few:,} fewer than were acknowledged to a killed load"]))
    return Text(f"✗ {result.topic}: {found}", style="bold red")


def _figures(result: "Verified") -> Text:
    lines = [
        f"  {result.in_lake:,} in the table, {result.in_tail:,} in Kafka behind it, {result.symbols:,} symbols, "
        f"{counted(result.runs, 'load')}",
        f"  {result.acknowledged:,} acknowledged, of which {result.copies:,} copies sent on purpose",
    ]
    if result.of_unfinished and result.expected:
        lines.append(f"  {result.of_unfinished:,} more are there of loads that run or were killed, without a hole")
    if result.unfinished:
        workers = counted(result.unfinished, "load worker")
        lines.append(f"  {workers} did not end: what was sent last may be there or not")
    if result.uncertain:
        lines.append(f"  {result.uncertain:,} deliveries were never confirmed, and are not there")
    if result.foreign:
        lines.append(f"  {result.foreign:,} trades of other producers: not part of this")
    if result.unrecorded:
        only = f"  {result.unrecorded:,} trades of a large replay were only counted, and are among these:"
        lines.append(f"{only} k2ctl verify --against-kafka")
    if result.uncompared:
        lines.append(f"  {result.uncompared:,} trades are beside missing ones: their content could not be compared")
    if result.of_others:
        lines.append(f"  {result.of_others:,} trades are in data files that another program committed")
    if result.not_judged:
        columns = ", ".join(result.not_judged)
        lines.append(
            f"  not judged: up to {max(result.not_judged.values()):,} of these, in {columns}: Kafka no longer holds "
            "what they would be compared with"
        )
    lines += [f"  damaged or gone: {path}: {why}" for path, why in result.damaged.items()]
    if result.unread:
        lines.append(f"  not read: {result.unread}")
    lines += [
        f"  not looked at: {trades:,} trades that an earlier Kafka acknowledged ({epoch}): k2ctl verify --all-epochs"
        for epoch, trades in result.elsewhere.items()
    ]
    return Text("\n".join(lines))


def _findings(findings: "Sequence[Finding]", *, in_kafka: bool = False) -> Iterator[Table]:
    """Stretches of numbers, then trades whose ids hold none. in_kafka: first and last are offsets of a partition."""
    shown = findings[:FINDINGS_SHOWN]
    what: list[tuple[str, Callable[[Finding], Cell]]] = [
        ("=fault", lambda one: Text(one.fault, style="yellow" if one.fault == "deferred" else "red")),
        *([(">partition", lambda one: f"{one.partition}")] if in_kafka else []),
        ("=symbol", lambda one: one.symbol),
        ("=column", lambda one: one.column),
    ]
    numbered, named = [one for one in shown if not one.message_id], [one for one in shown if one.message_id]
    if numbered:
        yield listing(
            numbered,
            *what,
            (">first", lambda one: f"{one.first:,}"),
            (">last", lambda one: f"{one.last:,}"),
            (">trades", lambda one: f"{one.trades:,}"),
        )
    if named:
        yield listing(named, *what, ("message_id", lambda one: one.message_id))


def _listed(findings: "Sequence[Finding]", command: str, *, in_kafka: bool = False) -> list[RenderableType]:
    """The first findings, and how many more there are."""
    if not findings:
        return []
    more = len(findings) - FINDINGS_SHOWN
    rest = [Text(f"… and {more:,} more: {command} --json", style="dim")] if more > 0 else []
    tables = (part for table in _findings(findings, in_kafka=in_kafka) for part in (Text(), table))
    return [*tables, *rest]


def accounted_panel(results: "Sequence[Accounted]") -> RenderableType:
    """One part for each topic."""
    return Group(*(part for result in results for part in _account(result)))


def _account(result: "Accounted") -> list[RenderableType]:
    command = "k2ctl verify --against-kafka"
    return [_headline(result), _sum(result), *_notes(result), *_listed(result.findings, command, in_kafka=True)]


def _headline(result: "Accounted") -> Text:
    if result.holds:
        text = f"✓ {result.topic}: every one of {result.records:,} records that Kafka holds is accounted for"
        return Text(text, style="bold green")
    found = [f"{count:,} {fault}" for fault, count in result.faults.items() if count]
    if result.damaged:
        found.insert(0, f"{counted(len(result.damaged), 'data file')} damaged or gone")
    if result.counts_differ:
        found.append("the table's counts are others")
    if result.unread:
        found.append("not all was read")
    return Text(f"✗ {result.topic}: {', '.join(found)}", style="bold red")


def _sum(result: "Accounted") -> Table:
    """Where every trade is; what is no trade below it."""
    rows: list[tuple[str, int, str]] = [
        ("stored", result.stored, ""),
        ("copies", result.copies, "of trades that are stored"),
        ("deferred", result.deferred, "backfill them: k2ctl backfill"),
        ("dead letters", result.dead_lettered, f"k2ctl dead-letters list --topic {result.topic}"),
        ("pending", result.pending, "behind the table's offsets"),
        ("undecodable", result.undecodable, "records that are dead letters as a whole"),
        ("filtered", result.filtered, "the feed says that they are no trades"),
    ]
    return listing(
        [row for row in rows if row[1] or row[0] == "stored"],
        ("", lambda row: f"  {row[0]}"),
        (">", lambda row: f"{row[1]:,}"),
        ("", lambda row: Text(row[2], style="dim")),
    )


def _notes(result: "Accounted") -> list[Text]:
    lines = []
    if result.gone_records:
        lines.append(f"  {result.gone_records:,} records before these are gone from Kafka, and were not looked at")
    lines += [f"  not judged: {count:,} {what}" for what, count in result.not_judged.items()]
    lines += [f"  damaged or gone: {path}: {why}" for path, why in result.damaged.items()]
    if result.unread:
        lines.append(f"  not read: {result.unread}")
    lines += [
        f"  partition {partition}: {term.replace('_', '-')} {said:,} by the table's counts, {found:,} found"
        for partition, terms in result.counts_differ.items()
        for term, (said, found) in terms.items()
    ]
    return [Text(line) for line in lines]
