"""A lease in the catalog's database: one maintainer at a time, on however many machines.

The catalog is the one place that every process of a platform can reach and that compares and swaps; files in an
object store do not, and a file lock ends at the machine. The lease only saves double work: two maintainers that both
believe that they have it do not harm the table, because a swap needs every file that it replaces.
"""

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from k2ctl.clock import Clock
from k2ctl.errors import LakeError
from k2ctl.lake.catalog import Lake
from k2ctl.timing import Every

LASTS_S: Final = 60.0
MAINTENANCE: Final = "maintenance"

_CREATE: Final = text(
    "CREATE TABLE IF NOT EXISTS k2_leases "
    "(name VARCHAR(255) PRIMARY KEY, owner VARCHAR(255) NOT NULL, expires_us BIGINT NOT NULL)"
)
_TAKE: Final = text(
    "INSERT INTO k2_leases (name, owner, expires_us) VALUES (:name, :owner, :expires_us) "
    "ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires_us = excluded.expires_us "
    "WHERE k2_leases.owner = excluded.owner OR k2_leases.expires_us < :now_us"
)
_RELEASE: Final = text("DELETE FROM k2_leases WHERE name = :name AND owner = :owner")
_HOLDER: Final = text("SELECT owner FROM k2_leases WHERE name = :name AND expires_us >= :now_us")


class Lease:
    """The lease that one process at a time has, for LASTS_S seconds unless it is renewed.

    Every method raises LakeError when the catalog does not answer.
    """

    def __init__(self, lake: Lake, clock: Clock) -> None:
        self._lake = lake
        self._name = f"{MAINTENANCE} of {lake.name}"
        self._clock = clock
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._renewal = Every(LASTS_S / 3, clock)

    def acquire(self) -> bool:
        """Take the lease, or renew it; False when another process has it."""
        now_us = self._clock.now_us()
        expires_us = now_us + round(LASTS_S * 1e6)
        ours = {"name": self._name, "owner": self.owner, "now_us": now_us, "expires_us": expires_us}
        with self._talking() as connection:
            taken = connection.execute(_TAKE, ours)
        self._renewal.restart()
        return bool(taken.rowcount)

    def keep(self) -> None:
        """Renew the lease when a third of its time has gone; for long work, called often.

        Raises:
            LakeError: another took it meanwhile: this process was suspended for too long.
        """
        if self._renewal.due() and not self.acquire():
            raise LakeError("Another process has taken over maintenance.", "Nothing to do: it goes on there.")

    def release(self) -> None:
        """Release it; of no effect when another process has it."""
        with self._talking() as connection:
            connection.execute(_RELEASE, {"name": self._name, "owner": self.owner})

    def holder(self) -> str | None:
        """The process that has it now, as host:process:…; None when none does."""
        with self._talking() as connection:
            found = connection.execute(_HOLDER, {"name": self._name, "now_us": self._clock.now_us()}).scalar()
        return None if found is None else str(found)

    @contextmanager
    def _talking(self) -> Iterator[Connection]:
        """A transaction. PostgreSQL fails one of two that make the table at once, in spite of IF NOT EXISTS."""
        engine = self._lake.catalog.engine
        with self._lake.answering():
            with suppress(IntegrityError, ProgrammingError), engine.begin() as connection:
                connection.execute(_CREATE)
            with engine.begin() as connection:
                yield connection
