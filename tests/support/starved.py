"""A machine that has no time for what runs on it: processes beside busy ones, all in a share of one processor.

By a control group of this test's own, so that nothing else on the machine is slowed down.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from k2ctl.endpoints import Endpoints

GROUPS = Path("/sys/fs/cgroup/cpu")
"""Control groups of version 1; version 2 has `cpu.max` in their place."""

PERIOD_US = 10_000
SHARE = 0.6
"""Of one processor, for all of them together."""

AS_TWENTY_ON_TWO: Final = 5
"""So many busy programs leave a tenth of a processor to one that is put beside them, as twenty do on two processors."""


class StarvedGroup:
    """Where busy programs run; other processes are put beside them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, pid: int) -> None:
        """A process and all its threads, as they are now, share the time with the busy ones."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def put_beside(self, endpoints: Endpoints, *pids: int | None) -> None:
        """Kafka and some processes."""
        for pid in (*(process.pid for process in endpoints.processes.values()), *pids):
            assert pid is not None
            self.put(pid)


@contextlib.contextmanager
def starved(busy: int) -> Iterator[StarvedGroup]:
    """A group with so many busy programs; skips where control groups cannot be made."""
    folder = GROUPS / f"k2ctl-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (folder / "cpu.cfs_quota_us").write_text(str(round(PERIOD_US * SHARE)))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    group, programs = StarvedGroup(folder), list[subprocess.Popen[bytes]]()
    try:
        for _ in range(busy):
            programs.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            group.put(programs[-1].pid)
        yield group
    finally:
        for program in programs:
            program.kill()
            program.wait()
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                (GROUPS / "cgroup.procs").write_text(pid)
        _removed(folder)


def _removed(folder: Path) -> None:
    """A group can be removed a moment after its last process has ended."""
    for _ in range(50):
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.1)
