"""The dashboard of pressure: how far consumers are behind, what they defer, and where every trade is."""

from typing import Final

from k2ctl.dashboards.grafana import (
    FEW_ARE_GOOD,
    LEVEL_COLOURS,
    LOG,
    NONE_IS_GOOD,
    QUANTILE_STYLES,
    QUANTILES,
    STACKED,
    Dashboard,
    Panel,
    Variable,
    coloured,
    dashed,
    on_the_right,
    stat,
    timeline,
)
from k2ctl.dashboards.queries import Query, quantile, series
from k2ctl.domain.checkpoint import TERMS
from k2ctl.profiles.universe import PRIORITIES

LEVELS: Final = {str(number): (name, colour) for number, (name, colour) in enumerate(LEVEL_COLOURS.items())}
LEVEL_STEPS: Final = tuple(
    (float(number) if number else None, colour) for number, colour in enumerate(LEVEL_COLOURS.values())
)
PRIORITY_COLOURS: Final = dict(zip(PRIORITIES, ("red", "orange", "yellow", "blue"), strict=True))
_COLOURS: Final = ("green", "blue", "orange", "yellow", "red", "purple", "light-blue")
TERM_COLOURS: Final = dict(zip((*TERMS[1:], "pending"), _COLOURS, strict=True))
"""What became of the trades that were seen, each with its colour."""

_PRESSURE: Final = (
    stat("Level", series("k2_degradation_level"), LEVEL_STEPS, LEVELS),
    stat("Behind", series("k2_consumer_lag_seconds"), ((None, "green"), (5.0, "yellow"), (30.0, "red"))),
    stat("Deferred, not backfilled", series("k2_trades_outstanding"), FEW_ARE_GOOD),
    stat("Open gaps", series("k2_open_gaps"), FEW_ARE_GOOD),
    stat(
        "Lost",
        series("k2_trades", where='term="lost"'),
        NONE_IS_GOOD,
        meaning="Trades that Kafka deleted before they were read. Nothing brings them back.",
    ),
    stat(
        "Until Kafka deletes",
        series("k2_retention_left_seconds"),
        ((None, "red"), (1_800.0, "yellow"), (7_200.0, "green")),
        meaning="Time until retention deletes what is still needed. Empty where retention is not by time (embedded "
        "engine).",
    ),
    timeline(
        "Level of each consumer",
        series("k2_degradation_level", "{{instance}}"),
        LEVELS,
        meaning="Worse at once, better one level at a time. Whether producers may send is shown further below.",
        width=24,
        steps=LEVEL_STEPS,
    ),
    Panel(
        "Lag in trades, and where levels begin",
        [series("k2_consumer_lag_trades", "{{instance}}"), series("k2_degradation_threshold_trades", "{{level}}")],
        meaning="Trades that are not yet admitted: this lag controls the level. Dashed: the policy's thresholds, as "
        "the engine scales them.",
        custom={**LOG, "axisSoftMin": 1},
        styles={name: dashed(colour) for name, colour in LEVEL_COLOURS.items() if name != "NORMAL"},
    ),
    Panel(
        "Lag in seconds",
        [
            series("k2_consumer_lag_seconds", "all"),
            series("k2_consumer_critical_lag_seconds", "CRITICAL"),
            series("k2_consumer_drain_seconds", "until it is gone"),
        ],
        meaning="Age of the oldest record that is not in the table; of CRITICAL symbols it must stay small. On the "
        "right: until the lag is gone, while it shrinks.",
        steps=((None, "transparent"), (30.0, "red")),
        styles={"CRITICAL": coloured("red"), "all": coloured("blue"), "until it is gone": on_the_right("text", "s")},
    ),
    Panel(
        "Deferred, by priority",
        [
            series("k2_messages_shed_total", "shed {{priority}}"),
            series("k2_messages_spilled_total", "spilled {{priority}}"),
        ],
        meaning="Trades a second that were left in Kafka (shed) or written to files (spilled). CRITICAL is never among "
        "them.",
        custom=STACKED,
        styles={
            f"{action} {priority}": coloured(f"{shade}{colour}")
            for action, shade in (("shed", "light-"), ("spilled", "dark-"))
            for priority, colour in PRIORITY_COLOURS.items()
        },
    ),
    Panel(
        "Deferred against backfilled",
        [
            series("k2_messages_shed_total", "deferred") + series("k2_messages_spilled_total"),
            series("k2_trades_backfilled_total", "backfilled"),
            series("k2_trades_outstanding", "outstanding"),
        ],
        meaning="Trades a second in and out, and what is outstanding (right axis): it must come back to nothing.",
        styles={"deferred": coloured("orange"), "backfilled": coloured("green"), "outstanding": on_the_right("yellow")},
    ),
    Panel(
        "Trades a second",
        [
            series("k2_consumer_rate_in", "read"),
            series("k2_consumer_rate_committed", "stored"),
            series("k2_messages_processed_total", "{{priority}}"),
        ],
        meaning="Read from Kafka and stored in the table; by priority what was processed at once.",
        unit="cps",
    ),
    Panel("Commit latency", [quantile("k2_commit_seconds", part) for part in QUANTILES], styles=QUANTILE_STYLES),
    Panel(
        "Where every trade is",
        [series("k2_trades", "{{term}}", where='term!="seen"')],
        meaning="The accounting identity: the terms add up to what was seen and what is pending. Trades on their way "
        "back are pending and still deferred until their commit.",
        custom=STACKED,
        styles={term: coloured(colour) for term, colour in TERM_COLOURS.items()},
    ),
    Panel(
        "Gaps",
        [
            series("k2_open_gaps", "open gaps"),
            series("k2_missing_trades", "missing"),
            series("k2_explained_trades", "explained"),
            series("k2_lost_gap_trades", "given up"),
        ],
        meaning="Missing sequence numbers: in open gaps, given up, and (right axis) explained, for they were deferred.",
        styles={"missing": coloured("red"), "explained": on_the_right("yellow"), "given up": coloured("dark-red")},
    ),
    Panel(
        "Duplicates and dead letters",
        [
            series("k2_trades", "duplicates", where='term="duplicate"'),
            series("k2_trades", "dead letters, trades", where='term="dead_lettered"'),
            series("k2_undecodable_records", "dead letters, records"),
            series("k2_filtered_records", "filtered by the feed"),
            series("k2_out_of_order_trades_total", "out of order", per_s=False),
            series("k2_sequence_resets_total", "restarts of a counter", per_s=False),
        ],
        meaning="Copies that were dropped, late trades, what could not be decoded, and what a feed says is no trade.",
        width=8,
    ),
    Panel(
        "Memory",
        [series("k2_memory_bytes", "{{instance}}"), series("k2_memory_share", "of the limit")],
        meaning="Of each consumer, and as a part of its limit (right axis), where 70 % is SOFT.",
        width=8,
        styles={"of the limit": {**on_the_right("red", "percentunit"), "min": 0, "max": 1}},
    ),
    Panel(
        "Records waiting, by partition",
        [series("k2_consumer_lag_messages", "{{partition}}")],
        meaning="Between the table's offset and the end of each partition. One that stands out is skewed, or stuck.",
        width=8,
        custom=STACKED,
    ),
    Panel(
        "Group commit",
        [
            series("k2_group_commits_total", "commits for all"),
            series("k2_group_committed_offers_total", "offers in them"),
            series("k2_direct_commits_total", "by their authors"),
            series("k2_commit_conflicts_total", "conflicts"),
            series("k2_announcement_age_seconds", "oldest unanswered"),
        ],
        meaning="Of consumers in a group, a second: commits by the committer, the offers in them, offers that nobody "
        "answered and their authors committed. On the right: since when an announcement has not been answered.",
        styles={"by their authors": coloured("orange"), "oldest unanswered": on_the_right("red", "s")},
    ),
    timeline(
        "Committer",
        series("k2_committer", "{{instance}}"),
        {"1": ("commits for all", "green"), "0": ("", "text")},
        meaning="Which consumer commits what all announce. It moves when its process ends.",
        width=12,
    ),
    timeline(
        "Intake",
        series("k2_intake_open", "{{topic}}"),
        {"1": ("open", "green"), "0": ("closed", "red")},
        meaning="Closed at CIRCUIT_BREAK: k2ctl load, and whoever asks, waits.",
    ),
    timeline(
        "State store",
        series("k2_state_reduced", "{{store}} {{instance}}"),
        {"1": ("REDUCED", "orange"), "0": ("whole", "green")},
        meaning="REDUCED: who takes a partition over rebuilds from the table what the store lacks.",
    ),
    timeline(
        "Alerts",
        Query("max by (alertname, alertstate) (ALERTS)", "{{alertname}} {{alertstate}}"),
        {"1": ("●", "red")},
        meaning="Pending and firing; each has its section in stack/RUNBOOKS.md.",
    ),
)

PRESSURE: Final = Dashboard(
    "k2-degradation",
    "K2: degradation",
    "How far consumers are behind, at which level, what they defer and backfill, and where every trade is.",
    _PRESSURE,
    (Variable("topic", "k2_degradation_level"), Variable("instance", "k2_degradation_level")),
)
