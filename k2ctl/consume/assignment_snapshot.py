"""An assignment as a consumer's status shows it."""

from dataclasses import dataclass

from k2ctl.domain.checkpoint import Counts
from k2ctl.domain.status_parts import PartitionStatus


@dataclass(frozen=True)
class AssignmentSnapshot:
    """Figures of one moment, pulled from the running consumer; None means unknown."""

    # Of the balance, for this topic and epoch, as committed.
    counts: Counts
    # The sequence number of the table's newest commit that this consumer knows.
    table_sequence: int
    # Rows in memory that are not committed, and the earliest record timestamps among them.
    pending_rows: int
    oldest_ms: int | None
    oldest_critical_ms: int | None
    # Records not read yet, and how far behind now it reads.
    lag_records: int | None
    age_s: float | None
    critical_age_s: float | None
    partitions: list[PartitionStatus]
    # Records between the committed offsets and the watermarks.
    behind_records: int | None
