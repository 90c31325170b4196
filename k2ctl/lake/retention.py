"""Which snapshots stay: the last hundred or so, then one a minute, then one an hour.

The young ones are counted rather than timed: the cost of a commit grows with the number of snapshots, so that a burst
of commits within a minute would slow down the next ones.
"""

from dataclasses import dataclass

from pyiceberg.table import Transaction
from pyiceberg.table.metadata import TableMetadata

from k2ctl.lake.pyiceberg_overrides import stage_removal
from k2ctl.profiles.model import Expire

MINUTE_MS = 60_000
HOUR_MS = 3_600_000


@dataclass(frozen=True)
class SnapshotRetention:
    """Which snapshots stay; from `lake.expire` of the profile."""

    # How many of the youngest.
    keep_last: int
    # The ages up to which one of each minute stays, and then one of each hour.
    one_a_minute_for_ms: int
    one_an_hour_for_ms: int

    @classmethod
    def from_profile(cls, expire: Expire) -> "SnapshotRetention":
        return cls(
            expire.keep_last,
            round(expire.one_a_minute_for_s * 1000),
            round(expire.one_an_hour_for_s * 1000),
        )

    def expired(self, metadata: TableMetadata, now_ms: int) -> list[int]:
        """Ids of the snapshots to drop. The newest of each branch and tagged snapshots always stay.

        Of each minute, and later of each hour, the last snapshot stays: the table as it was at its end.
        """
        protected = {ref.snapshot_id for ref in metadata.refs.values()}
        kept_buckets: set[tuple[int, int]] = set()
        gone = []
        newest_first = sorted(metadata.snapshots, key=lambda s: (s.timestamp_ms, s.sequence_number or 0), reverse=True)
        for snapshot in newest_first[self.keep_last :]:
            bucket = self._bucket(snapshot.timestamp_ms, now_ms)
            if snapshot.snapshot_id in protected:
                continue
            if bucket is None or bucket in kept_buckets:
                gone.append(snapshot.snapshot_id)
            else:
                kept_buckets.add(bucket)
        return gone

    def _bucket(self, timestamp_ms: int, now_ms: int) -> tuple[int, int] | None:
        """The minute or hour of which one snapshot stays; None when it is too old for either."""
        age_ms = now_ms - timestamp_ms
        if age_ms < self.one_a_minute_for_ms:
            return (MINUTE_MS, timestamp_ms // MINUTE_MS)
        if age_ms < self.one_an_hour_for_ms:
            return (HOUR_MS, timestamp_ms // HOUR_MS)
        return None

    def stage(self, transaction: Transaction, now_ms: int) -> int:
        """Add the removal of expired snapshots to a transaction; returns how many go."""
        expired = self.expired(transaction.table_metadata, now_ms)
        if expired:
            stage_removal(transaction, expired)
        return len(expired)
