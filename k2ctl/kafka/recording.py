"""A watched run as a file, one overview per line as JSON, to be watched again."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from k2ctl.domain.overview import Overview
from k2ctl.domain.status import loads
from k2ctl.errors import UsageError


def read_recording(path: Path) -> list[Overview]:
    """The ticks of a recorded run, oldest first.

    Raises:
        UsageError: no such file, or a line of it is no tick; names the line.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", "Record one with: k2ctl watch --record FILE"
        ) from error
    ticks = []
    for number, line in enumerate(lines, 1):
        try:
            ticks.append(loads(Overview, line))
        except ValueError as error:
            raise UsageError(f"{path}:{number} is no tick of a recorded run.", "Was it written by --record?") from error
    if not ticks:
        raise UsageError(f"{path} holds no ticks.", "Record a run with: k2ctl watch --record FILE")
    return ticks


def paced(ticks: list[Overview], sleep: Callable[[float], None] = time.sleep) -> Iterator[Overview]:
    """The ticks of a recording, as far apart as they were."""
    before_us = ticks[0].at_us
    for tick in ticks:
        sleep(max(0.0, (tick.at_us - before_us) / 1e6))
        before_us = tick.at_us
        yield tick
