"""What `k2ctl consume` shows: one line of state while it runs, a table when it ends."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from rich.table import Table
from rich.text import Text

from k2ctl.console import err
from k2ctl.consume.plan import ConsumerTotals
from k2ctl.domain.checkpoint import Counts
from k2ctl.domain.status import ConsumerStatus
from k2ctl.sequence.counts import SequenceCounts
from k2ctl.sequence.guarantee import REDUCED
from k2ctl.views.live import live
from k2ctl.views.style import LEVEL_STYLES, count, seconds


def live_view(*, quiet: bool) -> AbstractContextManager[Callable[[ConsumerStatus], None]]:
    """The consumer's own display, on stderr."""
    return live(err(), status_text, lambda status: status_text(status).plain, quiet=quiet)


def status_text(status: ConsumerStatus) -> Text:
    """One line: level, lag, rates, what is stored and what is on its way."""
    lag = "unknown" if status.lag_committed_trades is None else f"{count(status.lag_committed_trades)} trades"
    age = "" if not status.lag_seconds else f", {seconds(status.lag_seconds)}"
    return Text.assemble(
        (status.level, LEVEL_STYLES[status.level]),
        f"  lag {lag}{age}",
        f"  in {count(status.rate_in)}/s  committed {count(status.rate_committed)}/s",
        f"  stored {status.counts['stored']:,}  pending {count(status.pending)}",
        f"  deferred {count(status.outstanding)}" if status.outstanding else "",
        f"  commit {status.commit_ms:.0f} ms" if status.commits else "",
        (f"  waiting: {status.waiting}", "yellow") if status.waiting else "",
        (f"  {clock_line(status.clock_behind_s)}", "yellow") if status.clock_behind_s else "",
        (f"  state {REDUCED}: {status.state['why']}", "yellow") if status.state.get("guarantee") == REDUCED else "",
        "  state damaged by another program, and replaced" if status.state.get("damaged") else "",
    )


def clock_line(behind_s: float) -> str:
    """What is the case with a clock that is behind Kafka's, and what to do."""
    return f"clock {seconds(behind_s)} behind Kafka's, whose time holds; set it: timedatectl set-ntp true"


def summary(totals: ConsumerTotals, counts: Counts, sequence: SequenceCounts, elapsed_s: float) -> Table:
    """What this run did, and what the table holds of this topic since its epoch began."""
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
