"""What maintenance asks of a lease: one maintainer of a table at a time, on however many machines.

It is not the catalog's: a REST service has no place for it. `kafka.lease` has those that are used. The lease only saves
double work: two maintainers that both believe that they have it do not harm the table, because a swap needs every file
that it replaces.
"""

from collections.abc import Callable
from typing import Protocol


class Lease(Protocol):
    """The lease that one process at a time has until it releases it, or dies.

    Every method raises a `K2Error` when what keeps the lease does not answer.
    """

    def acquire(self) -> bool:
        """Take the lease, or go on with it; False when another process has it."""

    def keep(self) -> None:
        """Go on with it; for long work, called often.

        Raises:
            LakeError: it was lost meanwhile: this process was suspended for too long.
        """

    def release(self) -> None:
        """Release it; of no effect when another process has it."""

    def holder(self) -> str | None:
        """The process that has it now, as host:process:…; None when none does."""


LeaseOf = Callable[[str], Lease]
"""The uuid of a table → its lease."""
