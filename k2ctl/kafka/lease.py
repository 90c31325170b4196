"""A lease: ownership in a Kafka group, which every platform has, whatever its catalog.

A group of one partition has one owner. It takes part in no rebalance until it releases the lease, so nobody takes the
partition from it while it lives; when it dies, its session ends and the next one is the owner. The embedded Kafka does
not keep to that, and is on one machine: there the lease is a lock on a file.
"""

import fcntl
import os
import socket
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Final

from k2ctl.clock import Clock, SystemClock
from k2ctl.endpoints import Endpoints
from k2ctl.errors import LakeError, StackError, first_line
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.group import GroupMember

LEASES: Final = "k2.leases"
"""The topic that is owned; it has no records."""

JOIN_WITHIN_S: Final = 10.0
"""Kafka makes the first member of a group wait for others, three seconds by default."""

_A_DAY_S: Final = 86_400.0
_PAUSE_S: Final = 0.01


def lease_of(endpoints: Endpoints, purpose: str = LEASES) -> Callable[[str], "GroupLease | FileLease"]:
    """The leases of a stack, each by the uuid of its table. purpose: what its group, or its file, is named by."""
    if endpoints.engine == "embedded":
        return lambda table: FileLease(endpoints.home, f"{purpose}.{table}")
    return lambda table: GroupLease(endpoints, f"{purpose}.{table}")


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class GroupLease:
    """See `lake.maintenance.lease.Lease`. Not thread-safe.

    Every method raises a BrokerError when Kafka does not answer, or does not let this user into the group.
    """

    def __init__(self, endpoints: Endpoints, group: str, clock: Clock | None = None) -> None:
        self._endpoints = endpoints
        self._group = group
        self._clock = clock or SystemClock()
        self._member: GroupMember | None = None
        self._id = ""
        self.owner = _this_process()

    def acquire(self) -> bool:
        """See `Lease`. Who finds a member in the group does not join. Of several that join at once each may find
        others there and make way, so that none has it: the next one that asks gets it."""
        if self._is_held():
            return True
        self.release()
        with BrokerAdmin(self._endpoints) as admin:
            admin.create_topic(LEASES, 1)
            if admin.members(self._group):
                return False
        member = GroupMember(
            self._endpoints, LEASES, self._group, "", lambda: None, away_after_s=_A_DAY_S, client=self.owner
        )
        until_s = self._clock.monotonic_s() + JOIN_WITHIN_S
        try:
            while not member.settled and self._clock.monotonic_s() < until_s:
                member.poll()
                self._clock.sleep(_PAUSE_S)
        except BaseException:
            member.close()
            raise
        if 0 not in member.partitions:
            member.close()
            return False
        self._member, self._id = member, member.id
        return True

    def _is_held(self) -> bool:
        """A session that ran out takes the member's id along."""
        return self._member is not None and self._member.id == self._id

    def keep(self) -> None:
        """See `Lease`."""
        if not self._is_held():
            raise LakeError("Another process has taken over.", "Nothing to do: it goes on there.")

    def release(self) -> None:
        """See `Lease`."""
        if self._member is not None:
            self._member.close()
            self._member = None

    def holder(self) -> str | None:
        """See `Lease`."""
        with BrokerAdmin(self._endpoints) as admin:
            return next(iter(admin.members(self._group)), None)


class FileLease:
    """See `lake.maintenance.lease.Lease`: for the processes of one machine. Its end releases it."""

    def __init__(self, home: Home, name: str) -> None:
        self._home = home
        self._name = f"{name}.lock"
        self._file: IO[str] | None = None
        self.owner = _this_process()

    def _opened(self) -> IO[str]:
        try:
            return (self._home.folder("leases") / self._name).open("a+")
        except OSError as error:
            raise StackError(
                f"The folder of leases cannot be used: {first_line(error)}", "See: k2ctl doctor"
            ) from error

    def acquire(self) -> bool:
        """See `Lease`."""
        if self._file is not None:
            return True
        file = self._opened()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        file.truncate(0)
        file.write(self.owner)
        file.flush()
        self._file = file
        return True

    def keep(self) -> None:
        """See `Lease`. A lock on a file is not lost."""

    def release(self) -> None:
        """See `Lease`."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def holder(self) -> str | None:
        """See `Lease`."""
        with self._opened() as file:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            file.seek(0)
            return file.read()
