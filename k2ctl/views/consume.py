"""What `k2ctl consume` with its `status` and `stop`, and `backfill` show."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k2ctl.domain.dedup_status import TierStatus, all_dedup
from k2ctl.domain.status import ConsumerStatus
from k2ctl.domain.status_parts import REDUCED, SHARED, SequenceCounts
from k2ctl.views.forms import Grouped, Widest
from k2ctl.views.style import LEVEL_STYLES, Cell, count, counted, listing, marked, seconds

if TYPE_CHECKING:
    from k2ctl.consume.platform import ConsumerTotals
    from k2ctl.deferred.outstanding import OutstandingRange
    from k2ctl.domain.checkpoint import Counts
    from k2ctl.stack.fleet import Member


def status_text(status: ConsumerStatus) -> Text:
    """One line: level, lag, rates, what is stored and what is on its way."""
    lag = "unknown" if status.lag_committed_trades is None else f"{count(status.lag_committed_trades)} trades"
    state = status.state
    age = "" if not status.lag_seconds else f", {seconds(status.lag_seconds)}"
    return Text.assemble(
        (status.level, LEVEL_STYLES[status.level]),
        f"  lag {lag}{age}",
        f"  in {count(status.rate_in)}/s  committed {count(status.rate_committed)}/s",
        f"  stored {status.counts.stored:,}  pending {count(status.pending)}",
        f"  deferred {count(status.outstanding)}" if status.outstanding else "",
        f"  commit {status.commit_ms:.0f} ms" if status.commits else "",
        (f"  waiting: {status.waiting}", "yellow") if status.waiting else "",
        (f"  {clock_line(status.clock_behind_s)}", "yellow") if status.clock_behind_s else "",
        (f"  state {REDUCED}: {state.why}", "yellow") if state and state.is_reduced else "",
        "  state damaged by another program, and replaced" if state and state.damaged else "",
        f"  dedup {SHARED}" if status.dedup.tier.guarantee == SHARED else "",
        *((f"  {trouble}", "yellow") for trouble in dedup_troubles(status.dedup.tier)),
    )


def dedup_troubles(tier: TierStatus) -> list[str]:
    """What reduces the guarantee of deduplication, and whom trades wait for."""
    return [
        *([f"dedup {REDUCED}: {tier.why}"] if tier.guarantee == REDUCED else []),
        *([f"{tier.waiting:,} trades wait for {tier.waits_for}"] if tier.waiting else []),
    ]


def statuses_text(statuses: Sequence[ConsumerStatus]) -> Text:
    """The same of several topics together; the level is the worst, and what one waits for is named with its topic."""
    worst = max(statuses, key=lambda status: status.level_number)
    lags = [status.lag_committed_trades for status in statuses]
    lag = "unknown" if None in lags else f"{count(sum(lag or 0 for lag in lags))} trades"
    waiting = next((f"{status.topic}: {status.waiting}" for status in statuses if status.waiting), "")
    return Text.assemble(
        (worst.level, LEVEL_STYLES[worst.level]),
        f"  {counted(len(statuses), 'topic')}  lag {lag}",
        f"  in {count(sum(status.rate_in for status in statuses))}/s",
        f"  stored {sum(status.counts.stored for status in statuses):,}",
        f"  pending {count(sum(status.pending for status in statuses))}",
        (f"  waiting: {waiting}", "yellow") if waiting else "",
        *((f"  {trouble}", "yellow") for trouble in dedup_troubles(all_dedup([one.dedup for one in statuses]).tier)),
    )


def topics_summary(found: Sequence[tuple[str, "ConsumerTotals", "Counts"]], elapsed_s: float) -> Table:
    """What this run did of each topic, and what the table has of it."""
    return listing(
        found,
        ("topic", lambda one: one[0]),
        (">read", lambda one: f"{one[1].trades:,}"),
        (">stored", lambda one: f"{one[1].stored:,}"),
        (">in the table", lambda one: f"{one[2].stored:,}"),
        (">dead letters", lambda one: f"{one[2].dead_lettered + one[2].undecodable:,}"),
        title=f"Consumed for {seconds(elapsed_s)}",
    )


def clock_line(behind_s: float) -> str:
    """What is the case with a clock that is behind Kafka's, and what to do."""
    return f"clock {seconds(behind_s)} behind Kafka's, whose time counts; set it: timedatectl set-ntp true"


def summary(totals: "ConsumerTotals", counts: "Counts", sequence: SequenceCounts, elapsed_s: float) -> Table:
    """What this run did, and what the table has of this topic since its epoch began."""
    rows: list[tuple[str, Cell, Cell]] = [
        ("trades seen", f"{totals.trades:,}", f"{counts.seen:,}"),
        ("  stored", f"{totals.stored:,}", f"{counts.stored:,}"),
        *(
            (f"  {name.replace('_', '-')}", "", marked(f"{value:,}", "red", value and name == "lost"))
            for name in ("duplicate", "dead_lettered", "shed", "spilled", "lost")
            for value in (getattr(counts, name),)
        ),
        ("  backfilled", f"{totals.backfilled:,}", ""),
        ("undecodable records", "", f"{counts.undecodable:,}"),
        *([("no trades by the feed", "", f"{counts.filtered:,}")] if counts.filtered else []),
        ("commits", f"{totals.commits:,}", ""),
        ("open gaps (trades missing)", f"{sequence.open_gaps:,} ({sequence.missing_trades:,})", ""),
    ]
    if sequence.lost_gaps:
        rows.append(("lost gaps (trades missing)", f"{sequence.lost_gaps:,} ({sequence.lost_trades:,})", ""))
    rows.append(("out of order, restarts", f"{sequence.out_of_order:,}, {sequence.resets:,}", ""))
    if sequence.untracked:
        rows.append(("without a number: not tracked", f"{sequence.untracked:,}", ""))
    if sequence.unverified:
        rows.append(("symbols followed from the middle", f"{sequence.unverified:,}", ""))
    return listing(
        rows,
        ("", lambda row: row[0]),
        (">this run", lambda row: row[1]),
        (">since this Kafka began", lambda row: row[2]),
        title=f"Consumed for {seconds(elapsed_s)}",
    )


_STATE_STYLES = {"running": "green", "starting": "yellow"}


def fleet_table(found: "Sequence[Member]", now_s: float) -> Table:
    """A row for each consumer. now_s: seconds since the epoch."""

    def up(member: "Member") -> str:
        if member.started_at_us is None or member.state == "exited":
            return ""
        return " ".join(seconds(now_s - member.started_at_us / 1e6).split()[:2])  # the larger unit

    return listing(
        found,
        ("=consumer", lambda member: member.name),
        ("=state", lambda member: Text(member.state, _STATE_STYLES.get(member.state, "bold red"))),
        ("=runs as", lambda member: member.container or f"pid {member.pid}"),
        ("assigned", _assigned),
        ("=level", lambda member: Text(member.level or "", LEVEL_STYLES.get(member.level or "", ""))),
        (">lag", lambda member: "" if member.lag_trades is None else count(member.lag_trades)),
        (">read/s", lambda member: "" if member.rate_in is None else count(member.rate_in)),
        (">up", up),
    )


def _assigned(member: "Member") -> str:
    if len(member.topics) < 2:
        return ranges(member.partitions)
    return f"{len(member.partitions)} of {len(member.topics)} topics"


def ranges(partitions: Sequence[int]) -> str:
    """0,1,2,5 as `0-2 5`; every other one, as a group deals them out, as `0,2…10`."""
    ordered = sorted(partitions)
    steps = {after - before for before, after in pairwise(ordered)}
    if len(ordered) > 3 and len(steps) == 1:
        step = steps.pop()
        return f"{ordered[0]}-{ordered[-1]}" if step == 1 else f"{ordered[0]},{ordered[1]}…{ordered[-1]}"
    return " ".join(map(str, ordered))


def ended_line(member: "Member") -> str:
    """What became of a consumer that was stopped."""
    if member.container:
        return f"{member.name} has ended; its log: k2ctl stack logs"
    if member.done is None:
        return f"{member.name} did not end by itself: what it had not committed is left in Kafka, and nothing is lost."
    done = member.done
    left = f", {done['left_in_kafka']:,} left in Kafka" if done.get("left_in_kafka") else ""
    return f"{member.name} has ended: {done['stored']:,} trades stored in {done['commits']:,} commits{left}."


def outstanding_table(ranges: "Sequence[OutstandingRange]") -> RenderableType:
    """Each range with where its trades are; one that is gone is red."""
    if not ranges:
        return Text("Nothing is outstanding: every trade that was deferred has been backfilled.")
    several = len({found.topic for found in ranges}) > 1
    columns: list[tuple[str, Callable[[OutstandingRange], Cell]]] = [
        (">partition", lambda found: str(found.partition)),
        (">offsets", lambda found: f"{found.start:,} – {found.end:,}"),
        (">trades", lambda found: f"{found.count:,}"),
        ("priorities", lambda found: ", ".join(found.priorities)),
        ("=defers at", lambda found: found.level),
    ]
    where: tuple[str, Callable[[OutstandingRange], Cell]] = (
        "=is in", lambda found: marked(found.where, "bold red", found.gone_records)
    )  # fmt: skip

    def place(found: "OutstandingRange") -> str:
        return (f"{found.topic}  " if several else "") + f"is in  {found.where}"

    total = Text(f"{counted(sum(found.count for found in ranges), 'trade')} in all")
    by_topic = Grouped(ranges, lambda found: found.topic, *columns, where)
    wide = by_topic if several else listing(ranges, *columns, where)
    return Group(Widest(wide, Grouped(ranges, place, *columns)), total)


def progress_line(statuses: Sequence[ConsumerStatus]) -> str:
    """What is outstanding at the running consumers."""
    outstanding, back = sum(one.outstanding for one in statuses), sum(one.backfilled for one in statuses)
    level = max(statuses, key=lambda status: status.level_number).level if statuses else "unknown"
    waiting = "" if level == "NORMAL" else f"; waits for NORMAL, it is {level}"
    return f"{count(back)} trades backfilled, {count(outstanding)} outstanding{waiting}"
