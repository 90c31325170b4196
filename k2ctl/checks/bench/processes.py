"""What runs beside a benchmark: processes of k2ctl, and trades that come in."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from k2ctl.clock import SystemClock
from k2ctl.endpoints import Endpoints, ProcessId
from k2ctl.errors import CheckFailed
from k2ctl.home import Home
from k2ctl.kafka.producer import BatchProducer
from k2ctl.kafka.telemetry import TelemetryReader
from k2ctl.load.market import SyntheticMarket, new_run_id
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Universe
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


@contextmanager
def trades_coming(
    endpoints: Endpoints, profile: Profile, per_s: int, every_s: float, dated: Callable[[int], int] = int
) -> Iterator[None]:
    """A block in which trades come in, some every moment. dated: the time of a trade, µs, by when it is sent."""
    stop, clock = threading.Event(), SystemClock()
    producer = BatchProducer(endpoints, profile.trades_topic, 1)
    market = SyntheticMarket(Universe(profile), new_run_id())

    def send() -> None:
        before_us = clock.now_us()
        while not stop.wait(every_s):
            now_us = clock.now_us()
            batch = market.take(round(per_s * (now_us - before_us) / 1e6), dated(before_us), dated(now_us))
            producer.send(batch.trades, batch.per_partition, now_us)
            before_us = now_us

    thread = threading.Thread(target=send, name="bench-load")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        producer.finish(10.0)
