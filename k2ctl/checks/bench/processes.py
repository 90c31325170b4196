"""Processes of k2ctl that run beside a benchmark, and how many trades a load says it has sent."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from k2ctl.endpoints import ProcessId
from k2ctl.errors import CheckFailed
from k2ctl.home import Home
from k2ctl.kafka.telemetry import TelemetryReader
from k2ctl.retry import wait_until
from k2ctl.stack.processes import end, start_detached

BEGIN_S: Final = 60.0
"""How long a process may take to begin."""


@contextmanager
def running(home: Home, *arguments: str) -> Iterator[ProcessId]:
    """A k2ctl process for as long as the block runs."""
    process, _ = start_detached(f"bench-{arguments[0]}", [sys.executable, "-m", "k2ctl", *arguments], home=home)
    try:
        yield process
    finally:
        end([process])


@contextmanager
def loading(home: Home, rate: int, frame: int) -> Iterator[None]:
    """Load that arrives until the block ends; it is given four seconds to begin."""
    with running(home, "load", "--rate", str(rate), "--frame", str(frame), "--duration", "3600"):
        time.sleep(4.0)
        yield


class SentSoFar(NamedTuple):
    """How many trades a load has sent, and when it said so."""

    at_us: int
    trades: int


def sent_by_load(telemetry: TelemetryReader) -> SentSoFar:
    """What the load reports that it has sent; records do not show it: of a slow symbol none is full.

    Raises:
        CheckFailed: no load reports, so that nothing is known to arrive.
    """
    if not wait_until(lambda: bool(telemetry.poll(1.0).loaders), within_s=BEGIN_S):
        raise CheckFailed("The load did not begin.", "Try again: k2ctl bench")
    return max(SentSoFar(status.at_us, status.sent) for status in telemetry.poll(0.0).loaders.values())
