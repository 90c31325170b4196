"""Waiting for what another thread, process or service does: the one place where tests poll."""

import time
from collections.abc import Callable
from typing import Any


def until(
    met: Callable[[], bool], within_s: float = 60.0, why: Callable[[], Any] = lambda: "", *, every_s: float = 0.02
) -> None:
    """Return as soon as a condition is met; fails with what `why` says when it is not met in time."""
    limit_s = time.monotonic() + within_s
    while not met():
        assert time.monotonic() < limit_s, why()
        time.sleep(every_s)
