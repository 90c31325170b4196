"""The dashboard of deduplication: what is suspected, what the lake is asked, how often filters err, what they take."""

from typing import Final

from k2ctl.dashboards.grafana import (
    FEW_ARE_GOOD,
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
from k2ctl.dashboards.queries import INSTANCE, TOPICS, Query, events, quantile, series

_OF_HITS: Final = ("confirmed", "false", "reread")
_COLOURS: Final = dict(zip(_OF_HITS, ("blue", "red", "yellow"), strict=True))


def _in_an_hour(metric: str, where: str = "") -> str:
    selected = ", ".join([TOPICS, INSTANCE, *([where] if where else [])])
    return f"sum(increase({metric}{{{selected}}}[1h]))"


_TESTED: Final = _in_an_hour("k2_dedup_ids_tested_total")
_FALSE: Final = _in_an_hour("k2_dedup_bloom_hits_total", 'verdict="false"')
_KNOWN: Final = _in_an_hour("k2_dedup_bloom_hits_total", 'verdict!="false"')
MEASURED: Final = Query(f"{_FALSE} / ({_TESTED} - {_KNOWN})", "measured", "percentunit")
"""False positives of an hour, by the new ids that were tested in it."""

TESTS_AN_ID: Final = Query(f"{_in_an_hour('k2_dedup_chunk_tests_total')} / {_TESTED}", "chunks an id")
_PLANNED: Final = series("k2_dedup_planned_false_positive_ratio", "planned")

_PANELS: Final = (
    stat(
        "False positives",
        MEASURED,
        meaning="Of the new ids that were tested in the last hour, the part that a Bloom chunk called seen. Each costs "
        "a look-up, and no trade.",
    ),
    stat("Planned", _PLANNED),
    stat("Look-ups a second", events("k2_dedup_lookup_seconds", "queries")),
    stat(
        "p99 of look-ups",
        quantile("k2_dedup_lookup_seconds", 0.99, span="$__range"),
        ((None, "green"), (1.0, "yellow"), (5.0, "red")),
        meaning="Over the time shown; a consumer waits for each.",
    ),
    stat("Chunks forgotten early", series("k2_dedup_chunks_forgotten_early_total", per_s=False), FEW_ARE_GOOD),
    stat("Waiting for a claim", series("k2_dedup_tier_waiting_trades"), FEW_ARE_GOOD),
    Panel(
        "False positives against the plan",
        [MEASURED, _PLANNED, TESTS_AN_ID],
        meaning="Of the last hour. An alert fires at twice the plan. Each chunk errs by half the plan: chunks an id "
        "(right axis) rise above 2 where trades come late, so that many chunks cover the same time.",
        styles={"measured": coloured("blue"), "planned": dashed("red"), "chunks an id": on_the_right("text")},
    ),
    Panel(
        "Bloom hits",
        [series("k2_dedup_bloom_hits_total", "{{verdict}}"), series("k2_dedup_beyond_memory_total", "beyond memory")],
        meaning="A second, by what they turned out to be: confirmed (the id was there), false, or reread (read before "
        "a consumer ended, and not stored then). Beyond memory: too old to be remembered, looked up without a test.",
        styles={**{verdict: coloured(colour) for verdict, colour in _COLOURS.items()}, "beyond memory": dashed("text")},
    ),
    Panel(
        "Trades through deduplication",
        [
            series("k2_dedup_checked_total", "checked"),
            series("k2_dedup_ids_tested_total", "tested against chunks"),
            series("k2_dedup_suspects_total", "suspects"),
        ],
        meaning="A second. Ids of feed session and sequence need no Bloom chunk, and ids of a time that no chunk "
        "covers no test.",
        width=8,
    ),
    Panel(
        "Verdicts",
        [
            series("k2_dedup_copies_total", "copies, {{among}}"),
            series("k2_dedup_cleared_total", "new after all"),
            series("k2_dedup_reprints_total", "reprints"),
            series("k2_dedup_replays_total", "replays"),
        ],
        meaning="A second: what suspects turned out to be. Copies are dropped; all others are stored.",
        width=8,
        custom=STACKED,
    ),
    Panel(
        "Time of a look-up",
        [quantile("k2_dedup_lookup_seconds", part) for part in QUANTILES],
        width=8,
        styles=QUANTILE_STYLES,
    ),
    Panel(
        "Memory against the plan",
        [series("k2_dedup_memory_bytes", "{{instance}}"), series("k2_dedup_planned_memory_bytes", "planned")],
        meaning="What each consumer remembers, and what all may by plan.",
        styles={"planned": dashed("red")},
    ),
    Panel(
        "Bloom chunks",
        [series("k2_dedup_chunks", "chunks"), series("k2_dedup_chunk_ids", "ids in them")],
        styles={"ids in them": on_the_right("text")},
    ),
    Panel(
        "The tier that consumers share",
        [
            series("k2_dedup_tier_ids_total", "ids claimed"),
            series("k2_dedup_tier_hits_total", "claimed by another"),
            series("k2_dedup_tier_round_trips_total", "round trips"),
            series("k2_dedup_tier_waiting_trades", "waiting"),
        ],
        meaning="A second, where copies are found across consumers; waiting (right axis): trades whose id another has "
        "claimed, until that claim is confirmed or void.",
        width=8,
        styles={"claimed by another": coloured("orange"), "waiting": on_the_right("yellow")},
    ),
    Panel(
        "Copies across consumers",
        [
            series("k2_dedup_tier_copies_total", "copies found"),
            series("k2_dedup_tier_stored_reduced_total", "stored while REDUCED"),
            series("k2_dedup_tier_unclaimed_total", "of these unclaimed"),
            series("k2_dedup_tier_fences_total", "partitions fenced"),
        ],
        meaning="A second. What was stored while the guarantee was REDUCED may be there twice. Fenced is the partition "
        "of a consumer that has claimed trades and does not commit.",
        width=8,
        styles={"stored while REDUCED": coloured("orange"), "of these unclaimed": coloured("red")},
    ),
    timeline(
        "Claims",
        series("k2_dedup_tier_reduced", "{{instance}}"),
        {"1": ("REDUCED", "orange"), "0": ("made", "green")},
        meaning="REDUCED: the store of claims is away, and copies across consumers may pass until they are healed.",
        width=8,
    ),
    Panel(
        "Lines: who came first",
        [series("k2_line_first_total", "{{line}}")],
        meaning="Trades a second that a line received before another one, of feeds of one market on several topics.",
        width=8,
        custom=STACKED,
    ),
    Panel(
        "Lines: trades",
        [series("k2_line_trades_total", "{{line}}"), series("k2_line_copies_total", "{{line}}, stored from another")],
        meaning="A second, each once. Lines of one market have as many: one that has fewer lacks some.",
        width=8,
    ),
    Panel(
        "Lines: p99 behind",
        [quantile("k2_line_skew_seconds", 0.99, "{{line}}")],
        meaning="How long after another line a line received a trade, where it came second.",
        width=8,
    ),
)

DEDUPLICATION: Final = Dashboard(
    "k2-deduplication",
    "K2: deduplication",
    "What is suspected to be a copy, what the lake is asked, how often the filters err against their plan.",
    _PANELS,
    (Variable("topic", "k2_dedup_checked_total"), Variable("instance", "k2_dedup_checked_total")),
)
