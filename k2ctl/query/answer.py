"""What a query returns: the rows, and the evidence of where they come from and whether they are all there are."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from k2ctl.lake.snapshots import ScanPlan
from k2ctl.query.seam import Sources
from k2ctl.timing import Stopwatch


@dataclass(frozen=True)
class Evidence:
    """Where an answer comes from.

    snapshot_id: of the lake's part; None when there is no table, or no commit, yet. committed_at_us: its commit.
    topic, epoch: the Kafka that was read; epoch is empty when it was not.
    boundary: partition → first offset that came from Kafka; everything before it is the lake's.
    watermarks: partition → end of the log when the query began; everything from there on is younger than it.
    lake_rows, tail_rows: rows of the answer per source. duplicates_removed: second copies that were dropped.
    tail_records: records read from Kafka for this answer, of all symbols.
    undecodable, invalid: records, and trades of the symbols asked for, that the consumer will dead-letter too.
    lost: trades of the topic that retention deleted before a consumer read them, ever; their times are unknown.
    more: there are older rows that the limit cut off.
    newest_us: exchange timestamp of the newest row; None without rows. asked_at_us: when the query began.
    answered_at_us: when both sides had been read; rows may be younger than the question.
    missing: why the answer may lack rows; empty when it is complete.
    last_trade_us: symbol without a row in the answer → its newest trade outside of the window.
    files, file_bytes: data files that were read; of_files, of_bytes: all of the snapshot, of which the rest was pruned.
    stages_ms: duration of each stage; the scan runs beside the watermarks and the tail, and so they add up to more.
    """

    snapshot_id: int | None
    committed_at_us: int | None
    topic: str
    epoch: str
    boundary: Mapping[int, int]
    watermarks: Mapping[int, int]
    lake_rows: int
    tail_rows: int
    duplicates_removed: int
    tail_records: int
    undecodable: int
    invalid: int
    lost: int
    more: bool
    newest_us: int | None
    asked_at_us: int
    answered_at_us: int
    missing: tuple[str, ...]
    last_trade_us: Mapping[str, int]
    files: int
    file_bytes: int
    of_files: int
    of_bytes: int
    stages_ms: Mapping[str, float]

    @property
    def complete(self) -> bool:
        """Whether every trade that was acknowledged before the query began is in the answer, or cut by its limit."""
        return not self.missing

    @property
    def behind_records(self) -> int:
        """How far the lake is behind Kafka, in records: from the boundary to the watermarks."""
        return sum(max(0, end - self.boundary.get(partition, end)) for partition, end in self.watermarks.items())

    @property
    def newest_age_s(self) -> float | None:
        """Age of the newest row when the answer was there, in seconds of exchange time."""
        return None if self.newest_us is None else (self.answered_at_us - self.newest_us) / 1e6


def evidence_of(
    sources: Sources,
    asked_at_us: int,
    plan: ScanPlan,
    stages: Stopwatch,
    outstanding: tuple[str, ...],
    *,
    lake_rows: int = 0,
    tail_rows: int = 0,
    duplicates_removed: int = 0,
    more: bool = False,
    newest_us: int | None = None,
    last_trade_us: Mapping[str, int] | None = None,
) -> Evidence:
    """The evidence of an answer from both sides of the seam; `outstanding`: what the ledger says may be lacking."""
    pinned, span, tail = sources.pinned, sources.span, sources.tail
    return Evidence(
        snapshot_id=pinned.snapshot_id if pinned else None,
        committed_at_us=pinned.committed_at_us if pinned else None,
        topic=span.topic,
        epoch=span.epoch,
        boundary=span.boundary,
        watermarks=span.watermarks,
        lake_rows=lake_rows,
        tail_rows=tail_rows,
        duplicates_removed=duplicates_removed,
        tail_records=tail.records,
        undecodable=tail.undecodable,
        invalid=tail.invalid,
        lost=sources.lost,
        more=more,
        newest_us=newest_us,
        asked_at_us=asked_at_us,
        missing=tail.missing + outstanding,
        last_trade_us=last_trade_us or {},
        files=len(plan.paths),
        file_bytes=plan.bytes,
        of_files=plan.of_files,
        of_bytes=plan.of_bytes,
        answered_at_us=stages.clock.now_us(),
        stages_ms=stages.milliseconds,
    )


@dataclass(frozen=True)
class Answer:
    """table: the rows; of trades as `schema.rows.arrow_schema()` says, newest first. evidence: see there."""

    table: pa.Table
    evidence: Evidence
