"""The platform in one line, for logs and pipes."""

from k2ctl.clock import clock_text
from k2ctl.domain.overview import Overview
from k2ctl.domain.status_parts import OWN
from k2ctl.views.style import count
from k2ctl.views.watch.ladder import lag_text


def watch_line(overview: Overview) -> str:
    """Level, lag, rates and the terms of the balance."""
    tier = overview.dedup.tier
    return (
        f"{clock_text(overview.at_us)} {overview.level} lag {lag_text(overview)} in {count(overview.rate_in)}/s "
        f"committed {count(overview.rate_committed)}/s stored {overview.stored:,} pending {overview.pending:,} "
        f"deferred {overview.outstanding:,} backfilled {overview.backfilled:,} duplicate {overview.duplicate:,} "
        f"dead-lettered {overview.dead_lettered:,} lost {overview.lost:,} intake {overview.intake}"
        + (f" filtered {overview.filtered:,}" if overview.filtered else "")
        + (f" state {overview.state.guarantee}" if overview.state else "")
        + (f" ({overview.state.why})" if overview.state and overview.state.why else "")
        + (f" dedup {tier.guarantee}" if tier.guarantee != OWN else "")
        + (f" ({tier.why})" if tier.why else "")
        + ("" if overview.ladder else f" ({overview.level_reason})")
    )
