"""What `k2ctl consume`, `consume status` and `stop`, and `backfill` show."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise

from rich.table import Table
from rich.text import Text

from k2ctl.console import err
from k2ctl.consume.platform import ConsumerTotals
from k2ctl.deferred.outstanding import OutstandingRange
from k2ctl.domain.checkpoint import Counts
from k2ctl.domain.status import ConsumerStatus
from k2ctl.domain.status_parts import REDUCED, SequenceCounts
from k2ctl.stack.fleet import Member
from k2ctl.views.live import live
from k2ctl.views.style import LEVEL_STYLES, count, seconds


def live_view(*, quiet: bool) -> AbstractContextManager[Callable[[ConsumerStatus], None]]:
    """The consumer's own display, on stderr."""
    return live(err(), status_text, lambda status: status_text(status).plain, quiet=quiet)


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
    )


def clock_line(behind_s: float) -> str:
    """What is the case with a clock that is behind Kafka's, and what to do."""
    return f"clock {seconds(behind_s)} behind Kafka's, whose time counts; set it: timedatectl set-ntp true"


def summary(totals: ConsumerTotals, counts: Counts, sequence: SequenceCounts, elapsed_s: float) -> Table:
    """What this run did, and what the table has of this topic since its epoch began."""
    table = Table(title=f"Consumed for {seconds(elapsed_s)}", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("this run", justify="right")
    table.add_column("since this Kafka began", justify="right")
    table.add_row("trades seen", f"{totals.trades:,}", f"{counts.seen:,}")
    table.add_row("  stored", f"{totals.stored:,}", f"{counts.stored:,}")
    for name in ("duplicate", "dead_lettered", "shed", "spilled", "lost"):
        value = getattr(counts, name)
        style = "red" if name == "lost" and value else ""
        table.add_row(f"  {name.replace('_', '-')}", "", Text(f"{value:,}", style=style))
    table.add_row("  backfilled", f"{totals.backfilled:,}", "")
    table.add_row("undecodable records", "", f"{counts.undecodable:,}")
    table.add_row("commits", f"{totals.commits:,}", "")
    table.add_row("open gaps (trades missing)", f"{sequence.open_gaps:,} ({sequence.missing_trades:,})", "")
    if sequence.lost_gaps:
        table.add_row("lost gaps (trades missing)", f"{sequence.lost_gaps:,} ({sequence.lost_trades:,})", "")
    table.add_row("out of order, restarts", f"{sequence.out_of_order:,}, {sequence.resets:,}", "")
    if sequence.untracked:
        table.add_row("without a number: not tracked", f"{sequence.untracked:,}", "")
    if sequence.unverified:
        table.add_row("symbols followed from the middle", f"{sequence.unverified:,}", "")
    return table


_STATE_STYLES = {"running": "green", "starting": "yellow"}


def fleet_table(found: Sequence[Member]) -> Table:
    """A row for each consumer."""
    table = Table(box=None, pad_edge=False)
    for title, justify in (
        ("consumer", "left"), ("state", "left"), ("runs as", "left"), ("partitions", "left"), ("level", "left"),
        ("lag", "right"), ("read/s", "right"), ("up", "right"),
    ):  # fmt: skip
        table.add_column(title, justify=justify, no_wrap=title != "partitions")  # type: ignore[arg-type]
    for member in found:
        up_s = None if member.started_at_us is None else time.time() - member.started_at_us / 1e6
        table.add_row(
            member.name,
            Text(member.state, style=_STATE_STYLES.get(member.state, "bold red")),
            member.container or f"process {member.pid}",
            ranges(member.partitions),
            Text(member.level or "", style=LEVEL_STYLES.get(member.level or "", "")),
            "" if member.lag_trades is None else count(member.lag_trades),
            "" if member.rate_in is None else count(member.rate_in),
            "" if up_s is None or member.state == "exited" else seconds(up_s),
        )
    return table


def ranges(partitions: Sequence[int]) -> str:
    """0,1,2,5 as `0-2 5`; every other one, as a group deals them out, as `0,2…10`."""
    ordered = sorted(partitions)
    steps = {after - before for before, after in pairwise(ordered)}
    if len(ordered) > 3 and len(steps) == 1:
        step = steps.pop()
        return f"{ordered[0]}-{ordered[-1]}" if step == 1 else f"{ordered[0]},{ordered[1]}…{ordered[-1]}"
    return " ".join(map(str, ordered))


def ended_line(member: Member) -> str:
    """What became of a consumer that was stopped."""
    if member.container:
        return f"{member.name} has ended; its log: k2ctl stack logs"
    if member.done is None:
        return f"{member.name} did not end by itself: what it had not committed is left in Kafka, and nothing is lost."
    done = member.done
    left = f", {done['left_in_kafka']:,} left in Kafka" if done.get("left_in_kafka") else ""
    return f"{member.name} has ended: {done['stored']:,} trades stored in {done['commits']:,} commits{left}."


def outstanding_table(ranges: Sequence[OutstandingRange]) -> Table | Text:
    """Each range with where its trades are; one that is gone is red."""
    if not ranges:
        return Text("Nothing is outstanding: every trade that was deferred has been backfilled.")
    table = Table(box=None, pad_edge=False)
    for name, justify in (("partition", "right"), ("offsets", "right"), ("trades", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name in ("priorities", "defers at", "is in"):
        table.add_column(name)
    for found in ranges:
        where = Text(found.where, style="bold red" if found.gone_records else "")
        offsets = f"{found.start:,} – {found.end:,}"
        priorities = ", ".join(found.priorities)
        table.add_row(str(found.partition), offsets, f"{found.count:,}", priorities, found.level, where)
    table.add_section()
    table.add_row("", "", f"{sum(found.count for found in ranges):,}", "", "", "")
    return table


def progress_line(statuses: Sequence[ConsumerStatus]) -> str:
    """What is outstanding at the running consumers."""
    outstanding, back = sum(one.outstanding for one in statuses), sum(one.backfilled for one in statuses)
    level = max(statuses, key=lambda status: status.level_number).level if statuses else "unknown"
    waiting = "" if level == "NORMAL" else f"; waits for NORMAL, it is {level}"
    return f"{count(back)} trades backfilled, {count(outstanding)} outstanding{waiting}"
