"""What the demo asserts, each with the figures it was decided on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from k2ctl.cost.estimate import Estimate
from k2ctl.domain.checkpoint import Counts
from k2ctl.query.answer import Answer, Evidence


@dataclass(frozen=True)
class DemoCheck:
    """One assertion: what was claimed, whether it held, and what was measured."""

    claim: str
    held: bool
    measured: str


def complete_answer(claim: str, answer: Answer) -> DemoCheck:
    """A query in the middle of it all is complete, and its trades are numbered 1, 2, 3 … without a hole."""
    evidence = answer.evidence
    dense = is_dense(answer.table)
    sources = f"{evidence.lake_rows:,} rows from the lake, {evidence.tail_rows:,} from Kafka"
    reason = "" if evidence.complete else f"; incomplete: {', '.join(evidence.missing)}"
    hole = "" if dense else "; there is a hole in the sequence numbers"
    return DemoCheck(claim, evidence.complete and dense and len(answer.table) > 0, sources + reason + hole)


def is_dense(table: pa.Table) -> bool:
    """Whether the sequence numbers of one symbol's trades are 1 to n, each once."""
    numbers = np.sort(table["source_sequence"].to_numpy())
    return bool((numbers == np.arange(1, len(numbers) + 1)).all())


def backfilled(counts: Counts, deferred: int, returned: int, conditions: str) -> DemoCheck:
    """Nothing is outstanding; of what was deferred, what did not come back was a copy of what is stored."""
    outstanding, copies = counts.shed + counts.spilled, deferred - returned
    return DemoCheck(
        "what was deferred while the consumer lagged has been backfilled",
        not outstanding and 0 <= copies <= counts.duplicate,
        f"{deferred:,} deferred: {returned:,} came back, {copies:,} copies, {outstanding:,} outstanding ({conditions})",
    )


def stored_once(rows: int, distinct: int, expected: int, missing: tuple[str, ...]) -> DemoCheck:
    """Every trade that was produced is in the answer, once."""
    reason = f"; incomplete: {', '.join(missing)}" if missing else ""
    return DemoCheck(
        "a query over everything has every trade produced, exactly once",
        rows == distinct == expected > 0 and not missing,
        f"{expected:,} produced, {rows:,} rows, {distinct:,} distinct" + reason,
    )


def duplicates_caught(counts: Counts, sent_twice: int) -> DemoCheck:
    """Every retransmission was recognised, and nothing else."""
    return DemoCheck(
        "every retransmission was recognised, also across the kill",
        counts.duplicate == sent_twice,
        f"{sent_twice:,} sent twice, {counts.duplicate:,} dropped as duplicates",
    )


def balance_holds(counts: Counts, acknowledged: int) -> DemoCheck:
    """seen = stored + duplicate + shed + spilled + lost + dead-lettered."""
    parts = f"{counts.stored:,} stored + {counts.duplicate:,} duplicate"
    others = counts.shed + counts.spilled + counts.lost + counts.dead_lettered
    return DemoCheck(
        "the counts balance: nothing is unaccounted for",
        counts.balanced and counts.seen == acknowledged,
        f"{counts.seen:,} seen = {parts} + {others:,} other, {acknowledged:,} acknowledged by Kafka",
    )


LEVELS: Final = ("NORMAL", "SOFT", "GRACEFUL", "AGGRESSIVE", "CIRCUIT_BREAK")
NAIVE_WAITS_S: Final = 2.0
SAME_COLUMNS: Final = (
    "message_id", "trade_id", "symbol", "exchange", "timestamp", "price", "quantity", "side", "source_sequence",
    "kafka_topic", "kafka_epoch", "kafka_partition", "kafka_offset", "kafka_index",
)  # fmt: skip
"""What makes two rows the same trade; the columns that enrichment adds may differ."""


def naive_waited(naive_s: float) -> DemoCheck:
    """The burst was large enough to show anything at all."""
    claim = "the naive consumer lets CRITICAL trades wait with all the others"
    return DemoCheck(claim, naive_s >= NAIVE_WAITS_S, f"they were up to {naive_s:.1f} s late")


def critical_flowed(ours_s: float | None, naive_s: float) -> DemoCheck:
    """At the same load and the same capacity, CRITICAL trades waited less.

    ours_s: None if K2's consumer reported no waiting time.
    """
    claim = "K2's CRITICAL trades waited less, on the same load with the same capacity"
    if ours_s is None:
        return DemoCheck(claim, False, "K2's consumer never said how long they wait")
    return DemoCheck(claim, ours_s < naive_s, f"{ours_s:.1f} s until stored, against {naive_s:.1f} s until read")


def offset_is_past(offset: int, next_offset: int) -> DemoCheck:
    """The property of the commit covers the trade."""
    return DemoCheck(
        "the commit that stored the trade moved its offset past it",
        next_offset > offset,
        f"offset {offset:,}, the table goes on at {next_offset:,}",
    )


def same_trade(before: Mapping[str, Any], after: Mapping[str, Any], early: Evidence, late: Evidence) -> DemoCheck:
    """One row from Kafka before the commit and from the lake after it, alike in every field of the trade."""
    differing = [name for name in SAME_COLUMNS if before[name] != after[name]]
    sources = (early.lake_rows, early.tail_rows, late.lake_rows, late.tail_rows)
    where = f"{early.tail_rows} row from Kafka, then {late.lake_rows} from the table"
    return DemoCheck(
        "the same trade: from Kafka before the commit, from the table after it",
        not differing and sources == (0, 1, 1, 0) and early.complete and late.complete,
        where + (f"; differs in {', '.join(differing)}" if differing else ", alike in every field"),
    )


def stayed_complete(answers: Sequence[Answer], median_s: float) -> DemoCheck:
    """Every query while trades arrived and were committed was complete and without a hole."""
    good = sum(answer.evidence.complete and is_dense(answer.table) for answer in answers)
    return DemoCheck(
        "every query while commits were happening was complete, without a hole",
        good == len(answers) > 0,
        f"{good} of {len(answers)}, median {median_s * 1000:.0f} ms",
    )


def ladder_climbed(levels: Collection[str]) -> DemoCheck:
    """All five levels were seen."""
    seen = [name for name in LEVELS if name in levels]
    return DemoCheck("all five levels were entered, by real lag", len(seen) == len(LEVELS), " → ".join(seen))


def ladder_descended(moves: Mapping[int, tuple[str, str]]) -> DemoCheck:
    """It came back to NORMAL, and every change for the better was one level."""
    better = [
        (LEVELS.index(old), LEVELS.index(new)) for old, new in moves.values() if LEVELS.index(new) < LEVELS.index(old)
    ]
    single = all(old - new == 1 for old, new in better)
    last = moves[max(moves)][1] if moves else "unknown"
    return DemoCheck(
        "back to NORMAL, one level at a time",
        bool(better) and single and last == "NORMAL",
        f"{len(better)} changes for the better, the last one to {last}",
    )


def critical_never_deferred(critical: int, deferred: int) -> DemoCheck:
    """CRITICAL trades were never deferred, while others were."""
    claim = "no CRITICAL trade was ever deferred, while others were"
    return DemoCheck(claim, critical == 0 < deferred, f"{critical:,} of {deferred:,} trades deferred were CRITICAL")


def shed_and_spilled(shed: int, spilled: int) -> DemoCheck:
    """Both ways of deferring were taken."""
    claim = "some of them were left in Kafka, others put on disk"
    return DemoCheck(claim, min(shed, spilled) > 0, f"{shed:,} shed, {spilled:,} spilled")


def honest_answer(symbol: str, answer: Answer, with_deferred: Answer) -> DemoCheck:
    """A symbol that may lack trades says so; asked for what is deferred as well, it has them all.

    Trades come and are deferred between the two questions. So each answer is judged alone: one that calls itself
    complete has the numbers from 1 on without a hole. The second may have more than the first, and never less.
    """
    faults = [
        *(["it has a hole and does not say so"] if answer.evidence.complete and not is_dense(answer.table) else []),
        *(f"with what is deferred: {reason}" for reason in with_deferred.evidence.missing),
        *([] if is_dense(with_deferred.table) else ["with what is deferred there is a hole"]),
        *([] if len(with_deferred.table) >= len(answer.table) else ["with what is deferred there is less"]),
        *([] if len(with_deferred.table) else ["there is nothing"]),
    ]
    said = answer.evidence.missing[0].split(";")[0] if answer.evidence.missing else "complete"
    figures = f"{len(answer.table):,} rows: {said}; {len(with_deferred.table):,} with what is deferred"
    return DemoCheck(
        f"a query of {symbol} (LOW) says what it lacks, and has all of it on request",
        not faults,
        figures + "".join(f"; wrong: {fault}" for fault in faults),
    )


def caught_up(left: int, finished: bool) -> DemoCheck:
    """Everything that was acknowledged has been seen, the kill notwithstanding."""
    claim = "the consumer caught up after it was killed"
    return DemoCheck(claim, finished and left == 0, f"{left:,} trades are left")


def gaps_found(missing: int, holes: int, withheld: int) -> DemoCheck:
    """The holes that were made are found, all of them and no other; what comes after a symbol's last trade is none."""
    claim = "the holes in a feed are found, from the table alone"
    made = f"{withheld:,} trades were never sent, {holes:,} of them between two that were"
    return DemoCheck(claim, 0 < missing == holes, f"{made}; {missing:,} are missed")


def drained(rate: float, per_core: float, counts: Counts, acknowledged: int) -> DemoCheck:
    """What Kafka acknowledged is in the table, whole."""
    claim = "a backlog was drained, and every trade of it stored"
    figures = f"{rate:,.0f} trades/s, {per_core:,.0f} a second of one core"
    missing = acknowledged - counts.stored - counts.duplicate
    return DemoCheck(claim, missing == 0 < counts.stored, figures + (f"; {missing:,} are not there" if missing else ""))


class Priced(NamedTuple):
    """A platform's month, twice."""

    measured: Estimate
    """With what was just measured."""
    assumed: Estimate
    """With what its profile assumes."""


def costed(priced: Sequence[Priced]) -> DemoCheck:
    """All three platforms work by the sizing rules with the figures just measured; larger ones cost less a trade."""
    usd = [one.measured.usd_per_million_messages for one in priced]
    works = not any(one.measured.infeasible for one in priced)
    figures = ", ".join(
        f"{one.measured.profile} {one.measured.total_monthly_usd:,.0f} USD ({one.assumed.total_monthly_usd:,.0f})"
        for one in priced
    )
    return DemoCheck(
        "the three platforms are feasible, and a trade costs less the larger they are",
        works and usd == sorted(usd, reverse=True) and all(usd),
        f"priced with what was just measured (with the profile's): {figures}",
    )
