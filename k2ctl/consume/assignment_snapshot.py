"""An assignment as others see it: pulled from the running consumer, never pushed by it."""

from dataclasses import dataclass

from k2ctl.domain.status_parts import PartitionStatus, SequenceCounts, StateSyncStatus


@dataclass(frozen=True)
class AssignmentSnapshot:
    """Figures of one moment."""

    sequence: SequenceCounts
    state: StateSyncStatus
    dedup: dict[str, int]
    """As `HybridDeduplicator.statistics`."""
    dedup_save_error: str
    """Why what deduplication remembers could not be saved; empty if it could."""
    table_sequence: int
    """The sequence number of the table's newest commit that this consumer knows."""
    pending_rows: int
    """Rows in memory that are not committed."""
    oldest_ms: int | None
    """The earliest record timestamp among what is not committed."""
    oldest_critical_ms: int | None
    lag_records: int | None
    """Records not read yet; None while a watermark is unknown."""
    age_s: float | None
    """How far behind now it reads; None while unknown."""
    critical_age_s: float | None
    partitions: list[PartitionStatus]
    behind_records: int | None
    """Records between the committed offsets and the watermarks; None while a watermark is unknown."""
