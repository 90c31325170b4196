"""What deduplication reports of itself: what it has judged, how often its filters erred, what it remembers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from k2ctl.domain.figure import (
    TOPIC,
    Durations,
    combined,
    counter,
    figure,
    first_said,
    flag,
    gauge,
    histogram,
    largest,
    merged,
)
from k2ctl.domain.line_status import METRICS_OF_LINES, LineCounts, all_lines
from k2ctl.domain.status_parts import OWN, REDUCED, SHARED

GUARANTEES_OF_DEDUP: Final = {
    OWN: "no copy among the partitions that one consumer reads",
    SHARED: "no copy among the partitions of the scope, whoever reads them",
    REDUCED: "copies among the partitions of several consumers may be stored, and are counted",
}
"""Each guarantee of deduplication with its meaning."""

EXPECTED_AT_LEAST: Final = 20
"""False positives that the plan must let expect before more of them are trouble; the alert has the same number."""


def _count(meaning: str, *metrics: Any) -> Any:
    """A number that only grows, and is added up over consumers."""
    return figure(meaning, *metrics, combine=sum, default=0)


def _by(label: str) -> Any:
    """The series of one value of a metric's second label."""
    return lambda number: [((label,), number)]


@dataclass(frozen=True)
class TierStatus:
    """How the tier goes that consumers share; all 0 where each deduplicates its own partitions only."""

    ids: int = _count("Ids that were claimed in the shared tier.", counter("k2_dedup_tier_ids_total", TOPIC))
    hits: int = _count("Ids that another consumer had claimed.", counter("k2_dedup_tier_hits_total", TOPIC))
    waiting: int = figure(
        "Trades that wait until another's claim is confirmed or void.",
        gauge("k2_dedup_tier_waiting_trades", TOPIC),
        combine=sum,
        default=0,
    )
    guarantee: str = figure(
        "OWN, SHARED or REDUCED: among which partitions no trade is stored twice.",
        gauge(
            "k2_dedup_tier_reduced",
            TOPIC,
            meaning="1 while copies across consumers may be stored, 0 otherwise.",
            read=flag(lambda guarantee: guarantee == REDUCED),
        ),
        combine=lambda found: max(found, key=[*GUARANTEES_OF_DEDUP].index, default=OWN),
        default=OWN,
    )
    why: str = figure("What reduces the guarantee; empty if nothing does.", combine=first_said, default="")
    waits_for: str = figure("Whose claims trades wait for; empty while none wait.", combine=first_said, default="")
    copies: int = _count("Copies of trades of other consumers.", counter("k2_dedup_tier_copies_total", TOPIC))
    stored_reduced: int = _count(
        "Trades that were stored while the guarantee was reduced: copies of them may be, too.",
        counter("k2_dedup_tier_stored_reduced_total", TOPIC),
    )
    unclaimed: int = _count("Those of them that were not claimed.", counter("k2_dedup_tier_unclaimed_total", TOPIC))
    fences: int = _count(
        "Partitions that were fenced, because trades waited for a consumer that was gone.",
        counter("k2_dedup_tier_fences_total", TOPIC),
    )
    round_trips: int = _count(
        "Calls of the store that the tier is in.", counter("k2_dedup_tier_round_trips_total", TOPIC)
    )
    lines: dict[str, LineCounts] = figure(
        "Lines of one market, by name, where the profile names them and the scope is feeds.",
        *METRICS_OF_LINES,
        combine=all_lines,
        default_factory=dict,
    )


def _tiers(found: Sequence[TierStatus]) -> TierStatus:
    return TierStatus(**combined(TierStatus, found))


@dataclass
class Judged:
    """What deduplication has judged since the start, in trades."""

    checked: int = _count("Trades that went through deduplication.", counter("k2_dedup_checked_total", TOPIC))
    suspects: int = _count(
        "Trades with an id that may have been seen, or from before what is remembered.",
        counter("k2_dedup_suspects_total", TOPIC),
    )
    within: int = _count(
        "Copies of trades of the same batch.",
        counter(
            "k2_dedup_copies_total",
            TOPIC,
            "among",
            meaning="Copies, by where the other trade was: in the same batch, pending or stored.",
            read=_by("batch"),
        ),
    )
    pending: int = _count(
        "Copies of trades that were pending.", counter("k2_dedup_copies_total", TOPIC, "among", read=_by("pending"))
    )
    stored: int = _count(
        "Copies of stored trades.", counter("k2_dedup_copies_total", TOPIC, "among", read=_by("stored"))
    )
    cleared: int = _count("Suspects that were new after all.", counter("k2_dedup_cleared_total", TOPIC))
    reprints: int = _count(
        "New trades with the key of another, and another price or quantity.",
        counter("k2_dedup_reprints_total", TOPIC),
    )
    replays: int = _count("Trades read again from the same place in Kafka.", counter("k2_dedup_replays_total", TOPIC))
    ids_tested: int = _count(
        "Ids that were tested against Bloom chunks: those of times that a chunk covers.",
        counter("k2_dedup_ids_tested_total", TOPIC),
    )
    chunk_tests: int = _count(
        "Tests of one id against one Bloom chunk; by plan an id is tested against two at most.",
        counter("k2_dedup_chunk_tests_total", TOPIC),
    )
    hits_confirmed: int = _count(
        "Bloom hits of ids that were there: of copies, replays and reprints.",
        counter(
            "k2_dedup_bloom_hits_total",
            TOPIC,
            "verdict",
            meaning="Ids that a Bloom chunk called seen, by what they turned out to be.",
            read=_by("confirmed"),
        ),
    )
    hits_false: int = _count(
        "Bloom hits of new ids: false positives.",
        counter("k2_dedup_bloom_hits_total", TOPIC, "verdict", read=_by("false")),
    )
    hits_reread: int = _count(
        "Bloom hits of ids that were read before a consumer ended, and not stored then.",
        counter("k2_dedup_bloom_hits_total", TOPIC, "verdict", read=_by("reread")),
    )
    beyond_memory: int = _count(
        "Ids of trades from before what is remembered: looked up without a test.",
        counter("k2_dedup_beyond_memory_total", TOPIC),
    )
    lookups: Durations = figure(
        "How long a query of the lake for suspects took.",
        histogram("k2_dedup_lookup_seconds", TOPIC),
        combine=merged,
        default=Durations(),
    )

    @property
    def queries(self) -> int:
        """Queries of the lake."""
        return sum(self.lookups.counts)

    @property
    def bloom_hits(self) -> int:
        """Ids that a Bloom chunk called seen."""
        return self.hits_confirmed + self.hits_false + self.hits_reread

    @property
    def new_ids_tested(self) -> int:
        """Ids that were tested and in no chunk: a hit of one of them is a false positive, and none of the others is."""
        return self.ids_tested - self.hits_confirmed - self.hits_reread

    @property
    def false_positive_rate(self) -> float | None:
        """The part of the new ids that a chunk called seen; None before the first was tested."""
        return self.hits_false / self.new_ids_tested if self.new_ids_tested else None


@dataclass
class DedupStatus(Judged):
    """What deduplication remembers, and what it has judged."""

    # Feed sessions, and the intervals of the numbers seen of them.
    sessions: int = figure("Feed sessions whose numbers are remembered.", combine=sum, default=0)
    intervals: int = figure("Intervals of the numbers seen of them.", combine=sum, default=0)
    other_ids: int = figure("Ids in Bloom chunks.", gauge("k2_dedup_chunk_ids", TOPIC), combine=sum, default=0)
    chunks: int = figure("Bloom chunks.", gauge("k2_dedup_chunks", TOPIC), combine=sum, default=0)
    chunks_forgotten_early: int = _count(
        "Bloom chunks that were dropped before the window was over, because there were more than planned.",
        counter("k2_dedup_chunks_forgotten_early_total", TOPIC),
    )
    planned_error_rate: float = figure(
        "The rate of false positives that is planned.",
        gauge("k2_dedup_planned_false_positive_ratio", TOPIC, across="max"),
        combine=largest,
        default=0.0,
    )
    pending_ids: int = figure("Ids of trades that are not in the table yet.", combine=sum, default=0)
    bytes: int = figure("Memory of what is remembered.", gauge("k2_dedup_memory_bytes", TOPIC), combine=sum, default=0)
    planned_bytes: int = figure(
        "Memory that it may take by plan.", gauge("k2_dedup_planned_memory_bytes", TOPIC), combine=sum, default=0
    )
    tier: TierStatus = figure("How the shared tier goes.", combine=_tiers, default=TierStatus())

    @property
    def errs_beyond_plan(self) -> bool:
        """Whether the measured rate is beyond twice the plan, of so many ids that this is no chance."""
        planned, rate = self.planned_error_rate, self.false_positive_rate
        return rate is not None and rate > 2 * planned and self.new_ids_tested * planned > EXPECTED_AT_LEAST


def all_dedup(found: Sequence[DedupStatus]) -> DedupStatus:
    """That of several consumers as one."""
    return DedupStatus(**combined(DedupStatus, found))
