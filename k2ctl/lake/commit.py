"""One loop for every commit to a table that others commit to at the same time; and which snapshots a commit keeps.

Three outcomes of a failed try are distinguished:

- A conflict is certain: another commit was first, and nothing of ours was stored.
- No answer leaves the outcome unknown: the swap may have happened. The next try looks first.
- Any other error would repeat, and ends the commit at once.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    CommitFailedException,
    CommitStateUnknownException,
    ServerError,
    ServiceUnavailableError,
    TooManyRequestsError,
)
from pyiceberg.table import Transaction
from pyiceberg.table.metadata import TableMetadata

from k2ctl.clock import Clock
from k2ctl.errors import LakeError, LakeUnanswered, first_line
from k2ctl.lake.library_errors import aws_errors, database_errors
from k2ctl.lake.pyiceberg_overrides.transaction import stage_removal
from k2ctl.profiles.model import Expire
from k2ctl.retry import RetryPolicy, retry

LOG: Final = logging.getLogger("k2ctl.lake")

GIVE_UP_AFTER_S: Final = 60.0
"""How long a commit is tried, conflicts and unreachable catalogs together."""

FIRST_PAUSE_S: Final = 0.04
LONGEST_PAUSE_S: Final = 2.0

CONFLICTS: Final = (CommitFailedException,)
_UNCERTAIN: Final = (
    OSError,
    CommitStateUnknownException,
    ServerError,
    ServiceUnavailableError,
    TooManyRequestsError,
    AuthorizationExpiredError,
)

Done = TypeVar("Done")


@dataclass(frozen=True)
class Try:
    """One try."""

    # From 1 on.
    number: int
    # True: the outcome of an earlier try is unknown.
    uncertain: bool


def _uncertain() -> tuple[type[Exception], ...]:
    """Errors of the transport to catalog or warehouse: the swap may have happened."""
    return (*_UNCERTAIN, *database_errors(), *aws_errors())


def _ended_by() -> tuple[type[Exception], ...]:
    """Errors with which a commit ends that was tried for too long."""
    return (LakeUnanswered, *CONFLICTS, *_uncertain())


def commit_optimistically(
    attempt: Callable[[Try], Done],
    *,
    what: str,
    hint: str,
    clock: Clock,
    within_s: float = GIVE_UP_AFTER_S,
    longest_pause_s: float = LONGEST_PAUSE_S,
    on_trouble: Callable[[str], None] = lambda _: None,
    waits: Callable[[], bool] = lambda: False,
) -> Done:
    """Repeat `attempt` until it succeeds, with random pauses that grow up to `longest_pause_s`.

    attempt: loads the table fresh, compares, and commits once. what, hint: name the commit in the error at the end.
    on_trouble: called with the message of a catalog or a warehouse that fails, while the commit is tried again.
    waits: whether one that does not answer is waited for as long as it takes; conflicts never are.

    Raises:
        LakeError: conflicts or failures did not end within `within_s`. Whatever else `attempt` raises.
    """
    number, uncertain = 0, False
    started_s = answers_since_s = clock.monotonic_s()

    def once() -> Done:
        nonlocal number
        number += 1
        return attempt(Try(number, uncertain))

    def again(error: Exception) -> bool:
        nonlocal uncertain, answers_since_s
        now_s = clock.monotonic_s()
        if isinstance(error, CONFLICTS):
            LOG.info("%s met a conflict and is tried again", what, extra={"attempt": number})
            return now_s - answers_since_s < within_s
        if isinstance(error, (LakeUnanswered, *_uncertain())):
            # `LakeUnanswered` comes before the swap: nothing was stored.
            uncertain = uncertain or not isinstance(error, LakeUnanswered)
            LOG.warning("%s is tried again", what, extra={"attempt": number, "error": first_line(error)})
            on_trouble(first_line(error))
            answers_since_s = now_s
            return now_s - started_s < within_s or waits()
        return False

    try:
        policy = RetryPolicy(math.inf, FIRST_PAUSE_S, longest_pause_s, jitter=True)
        return retry(once, policy=policy, again=again, clock=clock)
    except _ended_by() as error:
        raise LakeError(
            f"{what} did not go through in {clock.monotonic_s() - started_s:.0f} s and {number} tries: "
            f"{first_line(error)}",
            hint,
        ) from error


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
    # How long such a minute and such an hour are.
    minute_ms: int = MINUTE_MS
    hour_ms: int = HOUR_MS

    @classmethod
    def from_profile(cls, expire: Expire, pace: float = 1.0) -> "SnapshotRetention":
        """pace: how many times as fast as usual all ages pass."""
        ages_s = (expire.one_a_minute_for_s, expire.one_an_hour_for_s, MINUTE_MS / 1000, HOUR_MS / 1000)
        return cls(expire.keep_last, *(round(age_s * 1000 / pace) for age_s in ages_s))

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
            return (self.minute_ms, timestamp_ms // self.minute_ms)
        if age_ms < self.one_an_hour_for_ms:
            return (self.hour_ms, timestamp_ms // self.hour_ms)
        return None

    def stage(self, transaction: Transaction, now_ms: int) -> int:
        """Add the removal of expired snapshots to a transaction; returns how many go."""
        expired = self.expired(transaction.table_metadata, now_ms)
        if expired:
            stage_removal(transaction, expired)
        return len(expired)
