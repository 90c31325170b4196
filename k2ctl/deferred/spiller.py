"""Spilling rows to disk, within a limit. A disk that is full is a reason for a level, never a crash."""

import errno
import threading
from collections.abc import Sequence
from typing import Final

from k2ctl.clock import Clock
from k2ctl.deferred.admission import Admission
from k2ctl.deferred.spill_format import SUFFIX, encode_spill
from k2ctl.domain.ledger import DeferredRange
from k2ctl.domain.rows import Rows
from k2ctl.domain.tally import Tally
from k2ctl.errors import LakeError
from k2ctl.lake.side_folder import SPILL, SideFolder

TROUBLE_LASTS_S: Final = 10.0
RETRY_EVERY_S: Final = 0.5


class Spiller:
    """Writes spill files for the committer. When it cannot, the rows are shed where Kafka holds them, else it waits."""

    def __init__(self, folder: SideFolder, admission: Admission, limit_bytes: int, clock: Clock) -> None:
        self._folder = folder
        self._admission = admission
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._trouble: tuple[float, str] | None = None
        self._given_up = threading.Event()

    @property
    def trouble(self) -> str:
        """Why spilling did not work lately; empty when it did."""
        trouble = self._trouble
        if trouble is None or self._clock.monotonic_s() - trouble[0] > TROUBLE_LASTS_S:
            return ""
        return trouble[1]

    def spill(self, parts: Sequence[Rows], level: int, priorities: int, tally: Tally) -> list[DeferredRange]:
        """Make the spilled rows of a batch durable; returns their ledger entries and counts them.

        Raises:
            LakeError: the disk stays full, Kafka does not hold the rows either, and the consumer is to stop.
        """
        if not parts:
            return []
        rows = Rows.concatenate(parts)
        while True:
            try:
                file = self._write(rows)
            except OSError as error:
                self._trouble = (self._clock.monotonic_s(), f"spill failed: {error.strerror or error}")
                if not self._admission.can_shed and not self._given_up.is_set():
                    self._clock.sleep(RETRY_EVERY_S)
                    continue
                if not self._admission.can_shed:
                    raise LakeError(
                        f"Trades could not be deferred on disk: {error.strerror or error}.",
                        "Nothing is lost: they are not committed, and Kafka has them. Make room, then: k2ctl consume",
                    ) from error
                file = ""
            tally.add("spilled" if file else "shed", rows.partition)
            return self._admission.spill_entries(rows, level, priorities, file)

    def _write(self, rows: Rows) -> str:
        content = encode_spill(rows)
        if self._folder.used_bytes() + len(content) > self._limit_bytes:
            raise OSError(errno.ENOSPC, f"the limit of {self._limit_bytes // 1_000_000:,} MB is reached")
        return self._folder.write(SPILL, content, SUFFIX)

    def delete(self, files: set[str]) -> None:
        """Remove files that the ledger does not name any more."""
        for file in files:
            self._folder.delete(file)

    def give_up(self) -> None:
        """Stop waiting for room: the consumer ends, and what it holds stays in Kafka."""
        self._given_up.set()
