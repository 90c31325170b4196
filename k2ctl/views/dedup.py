"""What deduplication has judged, and how often its filters err, beside what was planned."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from k2ctl.dedup.report import DedupFigures, DedupReport
from k2ctl.domain.dedup_status import GUARANTEES_OF_DEDUP
from k2ctl.domain.status_parts import OWN
from k2ctl.views.style import Cell, count, counted, facts, listing, marked, seconds, size


def dedup_panel(report: DedupReport) -> RenderableType:
    """All consumers together, and each by itself where there are several."""
    if report.unknown:
        return Text(f"Deduplication is not known: {report.unknown}", style="yellow")
    if not report.consumers:
        return Text(f"Deduplication: no consumer of {report.topic} reports. Start one: k2ctl consume", style="dim")
    title = f"Deduplication by {counted(len(report.consumers), 'consumer')}, since the start"
    parts: list[RenderableType] = [Text(title, style="bold"), facts(_facts(report.all))]
    if len(report.consumers) > 1:
        table = listing(
            report.consumers.items(),
            ("consumer", lambda row: row[0]),
            (">new ids tested", lambda row: count(row[1].new_ids_tested)),
            (">false", lambda row: _rate(row[1])),
            (">look-ups", lambda row: count(row[1].lookups)),
            (">mean", lambda row: "" if row[1].mean_lookup_s is None else seconds(row[1].mean_lookup_s)),
            (">memory", lambda row: size(row[1].counts.bytes)),
        )
        parts += [Text(), table]
    return Group(*parts)


def _facts(found: DedupFigures) -> Iterator[tuple[str, Cell | None]]:
    counts, tier = found.counts, found.counts.tier
    copies = counts.within + counts.pending + counts.stored
    yield "trades", f"{counts.checked:,}, of them {counted(counts.suspects, 'suspect')} and {copies:,} copies"
    if counts.sessions:
        yield "feed sessions", f"{counts.sessions:,}, their numbers in {counted(counts.intervals, 'interval')}"
    if counts.ids_tested or counts.other_ids:
        yield from _of_chunks(found)
    if counts.beyond_memory:
        yield "beyond memory", f"{counts.beyond_memory:,} ids looked up without a test"
    mean = "" if found.mean_lookup_s is None else f", {seconds(found.mean_lookup_s)} each"
    yield "look-ups in the lake", f"{found.lookups:,}{mean}, {seconds(counts.lookups.total_s)} in all"
    yield "memory", f"{size(counts.bytes)} of {size(counts.planned_bytes)} planned"
    if tier.guarantee != OWN:
        claims = f"{tier.ids:,} ids, {tier.hits:,} hits, {tier.waiting:,} waiting, {tier.round_trips:,} round trips"
        yield "claims", claims
        yield "guarantee", marked(f"{tier.guarantee}: {GUARANTEES_OF_DEDUP[tier.guarantee]}", "yellow", tier.why)
    if tier.why:
        yield "reduced by", tier.why


def _of_chunks(found: DedupFigures) -> Iterator[tuple[str, Cell]]:
    counts, early = found.counts, found.counts.chunks_forgotten_early
    forgotten = (f", {early:,} forgotten early", "yellow") if early else ""
    yield "Bloom chunks", Text.assemble(f"{counts.chunks:,} with {counts.other_ids:,} ids", forgotten)
    against = "" if found.chunks_an_id is None else f", against {found.chunks_an_id:.1f} chunks each"
    yield "ids tested", f"{counts.ids_tested:,}{against}"
    became = f"{counts.hits_confirmed:,} confirmed, {counts.hits_false:,} false, {counts.hits_reread:,} reread"
    yield "Bloom hits", f"{found.bloom_hits:,}: {became}"
    yield "false positives", Text.assemble(_rate(found), f" of new ids; planned {counts.planned_error_rate:.2%}")


def _rate(found: DedupFigures) -> Text:
    if found.false_positive_rate is None:
        return Text("none yet", style="dim")
    return marked(f"{found.false_positive_rate:.3%}", "yellow", found.counts.errs_beyond_plan)
