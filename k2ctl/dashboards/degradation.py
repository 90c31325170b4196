"""The dashboard of consumers under pressure: how far behind, what is deferred, what became of every trade."""

from typing import Final

from k2ctl.dashboards.grafana import (
    LEVEL_COLOURS,
    LOG,
    STACKED,
    Dashboard,
    Panel,
    Query,
    Variable,
    coloured,
    dashed,
    on_the_right,
)
from k2ctl.domain.checkpoint import TERMS
from k2ctl.profiles.universe import PRIORITIES

TOPIC: Final = 'topic=~"$topic"'
INSTANCE: Final = 'instance=~"$instance"'
RATE: Final = "[$__rate_interval]"

LEVELS: Final = {str(number): (name, colour) for number, (name, colour) in enumerate(LEVEL_COLOURS.items())}
LEVEL_STEPS: Final = tuple(
    (float(number) if number else None, colour) for number, colour in enumerate(LEVEL_COLOURS.values())
)
INTAKE: Final = {"1": ("open", "green"), "0": ("closed", "red")}
STATE: Final = {"1": ("REDUCED", "orange"), "0": ("whole", "green")}
NONE_IS_GOOD: Final = ((None, "green"), (1.0, "red"))
PRIORITY_COLOURS: Final = dict(zip(PRIORITIES, ("red", "orange", "yellow", "blue"), strict=True))
_COLOURS: Final = ("green", "blue", "orange", "yellow", "red", "purple", "light-blue")
TERM_COLOURS: Final = dict(zip((*TERMS[1:], "pending"), _COLOURS, strict=True))
"""What became of the trades that were seen, each with its colour."""

_NOW: Final = (
    Panel(
        "Level",
        "The worst level of any consumer.",
        [Query(f"max(k2_degradation_level{{{TOPIC}, {INSTANCE}}})")],
        kind="stat",
        width=4,
        height=4,
        steps=LEVEL_STEPS,
        states=LEVELS,
        options={"graphMode": "none"},
    ),
    Panel(
        "Behind",
        "Age of the oldest trade that is not in the table.",
        [Query(f"max(k2_consumer_lag_seconds{{{TOPIC}, {INSTANCE}}})")],
        kind="stat",
        width=4,
        height=4,
        unit="s",
        steps=((None, "green"), (5.0, "yellow"), (30.0, "red")),
    ),
    Panel(
        "Deferred, not backfilled",
        "Trades that were shed or spilled and are not in the table yet.",
        [Query(f"sum(k2_trades_outstanding{{{TOPIC}, {INSTANCE}}})")],
        kind="stat",
        width=4,
        height=4,
        steps=((None, "green"), (1.0, "yellow")),
    ),
    Panel(
        "Open gaps",
        "Gaps in the venues' sequence numbers that nothing explains.",
        [Query(f"sum(k2_open_gaps{{{TOPIC}, {INSTANCE}}})")],
        kind="stat",
        width=4,
        height=4,
        steps=((None, "green"), (1.0, "yellow")),
    ),
    Panel(
        "Lost",
        "Trades that Kafka deleted before they were read. Nothing brings them back.",
        [Query(f'sum(k2_trades{{{TOPIC}, {INSTANCE}, term="lost"}})')],
        kind="stat",
        width=4,
        height=4,
        steps=NONE_IS_GOOD,
    ),
    Panel(
        "Until Kafka deletes",
        "Time until retention deletes what is still needed. Empty where retention is not by time (embedded engine).",
        [Query(f"min(k2_retention_left_seconds{{{TOPIC}, {INSTANCE}}})")],
        kind="stat",
        width=4,
        height=4,
        unit="s",
        steps=((None, "red"), (1_800.0, "yellow"), (7_200.0, "green")),
    ),
)

_LEVEL: Final = (
    Panel(
        "Level of each consumer",
        "Worse at once, better one level at a time. Whether producers may send is shown further below.",
        [
            Query(f"k2_degradation_level{{{TOPIC}, {INSTANCE}}}", "{{instance}}"),
        ],
        kind="state-timeline",
        width=24,
        height=5,
        steps=LEVEL_STEPS,
        states=LEVELS,
    ),
    Panel(
        "Lag in trades, and where levels begin",
        "Trades that are not yet admitted: this lag controls the level. Dashed: the policy's thresholds, as the engine "
        "scales them.",
        [
            Query(f"k2_consumer_lag_trades{{{TOPIC}, {INSTANCE}}}", "{{instance}}"),
            Query(f"max by (level) (k2_degradation_threshold_trades{{{TOPIC}, {INSTANCE}}})", "{{level}}"),
        ],
        custom={**LOG, "axisSoftMin": 1},
        styles={name: dashed(colour) for name, colour in LEVEL_COLOURS.items() if name != "NORMAL"},
    ),
    Panel(
        "Lag in seconds",
        "Age of the oldest record that is not in the table; of CRITICAL symbols it must stay small. On the right: "
        "until the lag is gone, while it shrinks.",
        [
            Query(f"max(k2_consumer_lag_seconds{{{TOPIC}, {INSTANCE}}})", "all"),
            Query(f"max(k2_consumer_critical_lag_seconds{{{TOPIC}, {INSTANCE}}})", "CRITICAL"),
            Query(f"max(k2_consumer_drain_seconds{{{TOPIC}, {INSTANCE}}})", "until it is gone"),
        ],
        unit="s",
        steps=((None, "transparent"), (30.0, "red")),
        styles={"CRITICAL": coloured("red"), "all": coloured("blue"), "until it is gone": on_the_right("text", "s")},
    ),
)

_DEFERRED: Final = (
    Panel(
        "Deferred, by priority",
        "Trades a second that were left in Kafka (shed) or written to files (spilled). CRITICAL is never among them.",
        [
            Query(f"sum by (priority) (rate(k2_messages_shed_total{{{INSTANCE}}}{RATE}))", "shed {{priority}}"),
            Query(f"sum by (priority) (rate(k2_messages_spilled_total{{{INSTANCE}}}{RATE}))", "spilled {{priority}}"),
        ],
        unit="cps",
        custom=STACKED,
        styles={
            f"{action} {priority}": coloured(f"{shade}{colour}")
            for action, shade in (("shed", "light-"), ("spilled", "dark-"))
            for priority, colour in PRIORITY_COLOURS.items()
        },
    ),
    Panel(
        "Deferred against backfilled",
        "Trades a second in and out, and what is outstanding (right axis): it must come back to nothing.",
        [
            Query(
                f"sum(rate(k2_messages_shed_total{{{INSTANCE}}}{RATE}))"
                f" + sum(rate(k2_messages_spilled_total{{{INSTANCE}}}{RATE}))",
                "deferred",
            ),
            Query(f"sum(rate(k2_trades_backfilled_total{{{INSTANCE}}}{RATE}))", "backfilled"),
            Query(f"sum(k2_trades_outstanding{{{TOPIC}, {INSTANCE}}})", "outstanding"),
        ],
        unit="cps",
        styles={
            "deferred": coloured("orange"),
            "backfilled": coloured("green"),
            "outstanding": on_the_right("yellow"),
        },
    ),
    Panel(
        "Trades a second",
        "Read from Kafka and stored in the table; by priority what was processed at once.",
        [
            Query(f"sum(k2_consumer_rate_in{{{TOPIC}, {INSTANCE}}})", "read"),
            Query(f"sum(k2_consumer_rate_committed{{{TOPIC}, {INSTANCE}}})", "stored"),
            Query(f"sum by (priority) (rate(k2_messages_processed_total{{{INSTANCE}}}{RATE}))", "{{priority}}"),
        ],
        unit="cps",
    ),
    Panel(
        "Commit latency",
        "From handing a batch over until it is in the table, spill files and dead letters included.",
        [
            Query(
                f"histogram_quantile({q}, sum by (le) (rate(k2_commit_seconds_bucket{{{INSTANCE}}}{RATE})))",
                f"p{q * 100:.0f}",
            )
            for q in (0.5, 0.95, 0.99)
        ],
        unit="s",
        styles={"p50": coloured("green"), "p95": coloured("yellow"), "p99": coloured("orange")},
    ),
)

_ACCOUNTED: Final = (
    Panel(
        "Where every trade is",
        "The accounting identity: the terms add up to what was seen and what is pending. Trades on their way back are "
        "pending and still deferred until their commit.",
        [
            Query(f'sum by (term) (k2_trades{{{TOPIC}, {INSTANCE}, term!="seen"}})', "{{term}}"),
        ],
        custom=STACKED,
        styles={term: coloured(colour) for term, colour in TERM_COLOURS.items()},
    ),
    Panel(
        "Gaps",
        "Missing sequence numbers: in open gaps, given up, and (right axis) explained, for they were deferred.",
        [
            Query(f"sum(k2_open_gaps{{{TOPIC}, {INSTANCE}}})", "open gaps"),
            Query(f"sum(k2_missing_trades{{{TOPIC}, {INSTANCE}}})", "missing"),
            Query(f"sum(k2_explained_trades{{{TOPIC}, {INSTANCE}}})", "explained"),
            Query(f"sum(k2_lost_gap_trades{{{TOPIC}, {INSTANCE}}})", "given up"),
        ],
        styles={"missing": coloured("red"), "explained": on_the_right("yellow"), "given up": coloured("dark-red")},
    ),
    Panel(
        "Duplicates and dead letters",
        "Copies that were dropped, trades that were late in their sequence, and what could not be decoded.",
        [
            Query(f'sum(k2_trades{{{TOPIC}, {INSTANCE}, term="duplicate"}})', "duplicates"),
            Query(f'sum(k2_trades{{{TOPIC}, {INSTANCE}, term="dead_lettered"}})', "dead letters, trades"),
            Query(f"sum(k2_undecodable_records{{{TOPIC}, {INSTANCE}}})", "dead letters, records"),
            Query(f"sum(k2_out_of_order_trades_total{{{TOPIC}, {INSTANCE}}})", "out of order"),
            Query(f"sum(k2_sequence_resets_total{{{TOPIC}, {INSTANCE}}})", "restarts of a counter"),
        ],
        width=8,
    ),
    Panel(
        "Memory",
        "Of each consumer, and as a part of its limit (right axis), where 70 % is SOFT.",
        [
            Query(f"k2_memory_bytes{{{INSTANCE}}}", "{{instance}}"),
            Query(f"max(k2_memory_share{{{INSTANCE}}})", "of the limit"),
        ],
        width=8,
        unit="bytes",
        styles={
            "of the limit": {**on_the_right("red", "percentunit"), "min": 0, "max": 1},
        },
    ),
    Panel(
        "Records waiting, by partition",
        "Between the table's offset and the end of each partition. One that stands out is skewed, or stuck.",
        [Query(f"sum by (partition) (k2_consumer_lag_messages{{{TOPIC}, {INSTANCE}}})", "{{partition}}")],
        width=8,
        custom=STACKED,
    ),
    Panel(
        "Intake",
        "Closed at CIRCUIT_BREAK: k2ctl load, and whoever asks, waits.",
        [Query(f"min by (topic) (k2_intake_open{{{TOPIC}, {INSTANCE}}})", "{{topic}}")],
        kind="state-timeline",
        width=8,
        height=5,
        states=INTAKE,
    ),
    Panel(
        "State store",
        "REDUCED: who takes a partition over rebuilds from the table what the store lacks.",
        [Query(f"k2_state_reduced{{{TOPIC}, {INSTANCE}}}", "{{store}} {{instance}}")],
        kind="state-timeline",
        width=8,
        height=5,
        states=STATE,
    ),
    Panel(
        "Alerts",
        "Pending and firing; each has its section in stack/RUNBOOKS.md.",
        [Query("max by (alertname, alertstate) (ALERTS)", "{{alertname}} {{alertstate}}")],
        kind="state-timeline",
        width=8,
        height=5,
        states={"1": ("●", "red")},
    ),
)

DEGRADATION: Final = Dashboard(
    "k2-degradation",
    "K2: degradation",
    "How far consumers are behind, at which level, what they defer and backfilled , and where every trade is.",
    (*_NOW, *_LEVEL, *_DEFERRED, *_ACCOUNTED),
    (Variable("topic", "k2_degradation_level", "topic"), Variable("instance", "k2_degradation_level", "instance")),
)
