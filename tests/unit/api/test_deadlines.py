"""Who takes too long is called, once, and nobody else."""

import threading
from collections.abc import Iterator

import pytest

from k2ctl.api.engine import Deadlines


@pytest.fixture
def deadlines() -> Iterator[Deadlines]:
    made = Deadlines()
    yield made
    made.close()


def wait_past(deadlines: Deadlines, seconds: float) -> None:
    """Wait until a limit that begins now has passed: those that end before it have been called by then."""
    passed = threading.Event()
    with deadlines.within(seconds, passed.set):
        assert passed.wait(10)


def test_who_takes_too_long_is_called_once(deadlines: Deadlines) -> None:
    calls = threading.Semaphore(0)
    with deadlines.within(0.1, calls.release):
        assert calls.acquire(timeout=10)
        wait_past(deadlines, 0.2)
    assert not calls.acquire(blocking=False)


def test_who_ends_in_time_is_left_alone_whatever_others_do(deadlines: Deadlines) -> None:
    early, late = threading.Event(), threading.Event()
    with deadlines.within(0.05, late.set):
        with deadlines.within(0.3, early.set):
            pass
        assert late.wait(10)
        wait_past(deadlines, 0.4)
    assert not early.is_set()


def test_an_error_ends_the_limit_as_well(deadlines: Deadlines) -> None:
    late = threading.Event()
    with pytest.raises(ZeroDivisionError), deadlines.within(0.1, late.set):
        _ = 1 / 0
    wait_past(deadlines, 0.2)
    assert not late.is_set()
