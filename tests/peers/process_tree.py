"""Processes that are measured with all that they start, and ended by their ids."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

_STARTED: Final[list["ProcessTree"]] = []
_SAMPLED_EVERY_S: Final = 0.2


class ProcessTree:
    """A process and its descendants: processor seconds and peak memory, sampled five times a second."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        self.started_s = time.time()
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
                cwd=log.parent,
            )
        _STARTED.append(self)
        self.peak_bytes = 0
        self._cpu_s: dict[tuple[int, float], float] = {}
        self._usage_cpu_s: float | None = None
        self._over = threading.Event()
        threading.Thread(target=self._sample, daemon=True).start()

    @property
    def exit_code(self) -> int | None:
        """None while it lives."""
        return self._process.returncode

    @property
    def cpu_s(self) -> float:
        """User and system; the kernel's own figure once it has ended."""
        return sum(self._cpu_s.values()) if self._usage_cpu_s is None else self._usage_cpu_s

    def look(self) -> float:
        """Take a sample; returns the processor seconds."""
        size = 0
        for member in self._members():
            with contextlib.suppress(psutil.Error):
                times = member.cpu_times()
                self._cpu_s[member.pid, member.create_time()] = times.user + times.system
                size += member.memory_info().rss
        self.peak_bytes = max(self.peak_bytes, size)
        return self.cpu_s

    def is_alive(self) -> bool:
        """Whether it runs; reaps it if it does not."""
        if self.exit_code is not None:
            return False
        pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
        if not pid:
            return True
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._usage_cpu_s = max(usage.ru_utime + usage.ru_stime, sum(self._cpu_s.values()))
        self._over.set()
        return False

    def tell(self, number: int) -> None:
        """Send a signal to the process that was started."""
        self._process.send_signal(number)

    def end(self, how: int = signal.SIGTERM, patience_s: float = 20.0) -> None:
        """End it and whatever it started. SIGKILL goes to all at once."""
        if self.exit_code is not None:
            return
        members = self._members()
        for member in members if how == signal.SIGKILL else members[:1]:
            with contextlib.suppress(psutil.Error):
                member.send_signal(how)
        limit_s = time.time() + patience_s
        while self.is_alive() and time.time() < limit_s:
            time.sleep(0.1)
        for member in members:
            with contextlib.suppress(psutil.Error):
                if member.is_running():
                    member.kill()
        while self.is_alive():
            time.sleep(0.05)

    def text(self) -> str:
        """What it wrote."""
        return self.log.read_text(errors="replace")

    def _sample(self) -> None:
        while not self._over.wait(_SAMPLED_EVERY_S):
            self.look()

    def _members(self) -> list[psutil.Process]:
        try:
            top = psutil.Process(self._process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.Error:
            return []


def end_all() -> None:
    """End what still runs of all that was started, the last first."""
    for tree in reversed(_STARTED):
        tree.end(signal.SIGKILL)
