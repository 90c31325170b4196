"""What a query returns: rows, the evidence of where they come from, and gaps as rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from k2ctl.query.seam import Sources
from k2ctl.query.tail import OffsetSpan
from k2ctl.sequence.gap_report import FoundGap


@dataclass(frozen=True)
class Evidence:
    """Where an answer comes from."""

    # Of the lake's part; None without a table, or without a commit yet.
    snapshot_id: int | None
    committed_at_us: int | None
    # The topics that the table is filled from.
    topics: tuple[str, ...]
    # Of each that was read: the first offset of each partition that came from Kafka, everything before it comes from
    # the lake, and the end of its log when the query began, everything from there on is younger.
    spans: tuple[OffsetSpan, ...]
    # Rows of the answer by source.
    lake_rows: int
    tail_rows: int
    # Copies that were dropped.
    duplicates_removed: int
    # Records read from Kafka for this answer, of all symbols.
    tail_records: int
    # Records that cannot be decoded, and invalid trades of the symbols asked for; the consumer dead-letters both.
    undecodable: int
    invalid: int
    # Trades of the topics that retention deleted before a consumer read them, ever; their times are unknown.
    lost: int
    # True if the limit cut older rows off.
    more: bool
    # Exchange timestamp of the newest row; None without rows.
    newest_us: int | None
    # When the query began.
    asked_at_us: int
    # When both sides had been read; rows may be younger than the question.
    answered_at_us: int
    # Why rows may be missing; empty if the answer is complete.
    missing: tuple[str, ...]
    # Symbol without a row in the answer → its newest trade outside of the window.
    last_trade_us: Mapping[str, int]
    # Data files that were read, and all of the snapshot; the difference was pruned.
    files: int
    file_bytes: int
    of_files: int
    of_bytes: int
    # Duration of each stage. The scan runs beside the watermarks and the tail, so they add up to more.
    stages_ms: Mapping[str, float]
    # What else is to be known of the rows.
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """True if every trade that was acknowledged before the query began is in the answer, or cut by its limit."""
        return not self.missing

    @property
    def behind_records(self) -> int:
        """How far the lake is behind Kafka, in records: from the boundary to the watermarks."""
        return sum(
            max(0, end - span.boundary.get(partition, end))
            for span in self.spans
            for partition, end in span.watermarks.items()
        )

    @property
    def ends(self) -> dict[tuple[str, str], Mapping[int, int]]:
        """Topic and epoch → partition → watermark."""
        return {(span.topic, span.epoch): span.watermarks for span in self.spans if span.watermarks}

    @property
    def newest_age_s(self) -> float | None:
        """Age of the newest row when the answer was there, in seconds of exchange time."""
        return None if self.newest_us is None else (self.answered_at_us - self.newest_us) / 1e6


def evidence_of(
    sources: Sources,
    outstanding: tuple[str, ...],
    *,
    lake_rows: int = 0,
    tail_rows: int = 0,
    duplicates_removed: int = 0,
    more: bool = False,
    newest_us: int | None = None,
    last_trade_us: Mapping[str, int] | None = None,
    notes: tuple[str, ...] = (),
) -> Evidence:
    """The evidence of an answer from both sides of the seam; `outstanding`: what may be missing by the ledger."""
    pinned, tail, plan = sources.pinned, sources.tail, sources.plan
    return Evidence(
        snapshot_id=pinned.snapshot_id if pinned else None,
        committed_at_us=pinned.committed_at_us if pinned else None,
        topics=tuple(sources.streams),
        spans=tuple(sources.spans.values()),
        lake_rows=lake_rows,
        tail_rows=tail_rows,
        duplicates_removed=duplicates_removed,
        tail_records=tail.records,
        undecodable=tail.undecodable,
        invalid=tail.invalid,
        lost=sources.lost,
        more=more,
        newest_us=newest_us,
        asked_at_us=sources.question.asked_at_us,
        missing=tail.missing + outstanding,
        last_trade_us=last_trade_us or {},
        files=len(plan.paths),
        file_bytes=plan.bytes,
        of_files=plan.of_files,
        of_bytes=plan.of_bytes,
        answered_at_us=sources.stages.clock.now_us(),
        stages_ms=sources.stages.milliseconds,
        notes=notes,
    )


@dataclass(frozen=True)
class Answer:
    """The rows, and where they come from."""

    # Trades as `domain.rows.arrow_schema()` says, newest first; or bars, symbols, gaps.
    table: pa.Table
    evidence: Evidence


GAPS_SCHEMA: Final = pa.schema(
    [
        ("exchange", pa.string()),
        ("symbol", pa.string()),
        ("first_missing", pa.int64()),
        ("last_missing", pa.int64()),
        ("missing", pa.int64()),
        ("state", pa.string()),
        ("cause", pa.string()),
        ("after", pa.timestamp("us", "UTC")),
        ("until", pa.timestamp("us", "UTC")),
        ("session", pa.string()),
    ]
)
"""first_missing, last_missing: numbers. symbol, state, cause, session: as in `FoundGap`; without sessions null. after,
until: exchange times on both sides."""


def gap_table(gaps: Sequence[FoundGap]) -> pa.Table:
    """Gaps as rows of `GAPS_SCHEMA`, in their order."""
    rows = [
        (
            *(gap.exchange, gap.symbol, gap.first, gap.last, gap.missing, gap.state, gap.cause),
            *(gap.before_us, gap.after_us, gap.session or None),
        )
        for gap in gaps
    ]
    columns = zip(*rows, strict=True) if rows else [()] * len(GAPS_SCHEMA)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, GAPS_SCHEMA.types, strict=True)]
    return pa.table(arrays, schema=GAPS_SCHEMA)
