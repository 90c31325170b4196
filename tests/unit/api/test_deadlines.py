"""Who takes too long is called, once, and nobody else."""

import threading
import time
from collections.abc import Iterator

import pytest

from k2ctl.api.engine import Deadlines


@pytest.fixture
def deadlines() -> Iterator[Deadlines]:
    made = Deadlines()
    yield made
    made.close()


def test_who_takes_too_long_is_called_once(deadlines: Deadlines) -> None:
    calls: list[float] = []
    called = threading.Event()
    with deadlines.within(0.1, lambda: (calls.append(time.monotonic()), called.set())):  # type: ignore[arg-type]
        assert called.wait(10)
        time.sleep(0.2)
    assert len(calls) == 1


def test_who_ends_in_time_is_left_alone_whatever_others_do(deadlines: Deadlines) -> None:
    early, late = threading.Event(), threading.Event()
    with deadlines.within(0.05, late.set):
        with deadlines.within(0.3, early.set):
            pass
        assert late.wait(10)
        time.sleep(0.4)
    assert not early.is_set()


def test_an_error_ends_the_limit_as_well(deadlines: Deadlines) -> None:
    late = threading.Event()
    with pytest.raises(ZeroDivisionError), deadlines.within(0.1, late.set):
        _ = 1 / 0
    time.sleep(0.3)
    assert not late.is_set()
