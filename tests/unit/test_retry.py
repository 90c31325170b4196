"""The bounded retry and the bounded wait, on a clock moved by hand."""

import random
from itertools import count

import pytest

from k2ctl.clock import ManualClock
from k2ctl.retry import RetryPolicy, retry, wait_until

POLICY = RetryPolicy(within_s=10.0, pause_s=1.0)


def test_an_attempt_is_repeated_until_it_succeeds() -> None:
    clock, numbers = ManualClock(), count(1)

    def attempt() -> int:
        number = next(numbers)
        if number < 3:
            raise OSError("not yet")
        return number

    assert retry(attempt, policy=POLICY, again=lambda error: isinstance(error, OSError), clock=clock) == 3
    assert clock.monotonic_s() == 2.0


def test_an_error_that_another_attempt_would_meet_again_ends_the_retry_at_once() -> None:
    clock = ManualClock()

    def attempt() -> None:
        raise ValueError("wrong for good")

    with pytest.raises(ValueError, match="wrong for good"):
        retry(attempt, policy=POLICY, again=lambda error: isinstance(error, OSError), clock=clock)
    assert clock.monotonic_s() == 0.0


def test_the_last_error_comes_out_as_it_was_when_the_time_is_over() -> None:
    clock, numbers = ManualClock(), count(1)

    def attempt() -> None:
        raise OSError(f"attempt {next(numbers)}")

    with pytest.raises(OSError, match="attempt 11"):
        retry(attempt, policy=POLICY, again=lambda _: True, clock=clock)


def test_pauses_double_up_to_the_longest() -> None:
    policy = RetryPolicy(within_s=60.0, pause_s=0.5, longest_pause_s=3.0)
    assert [policy.pause_after(number, random.Random(1)) for number in range(1, 6)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_random_pauses_stay_below_their_length() -> None:
    policy, rng = RetryPolicy(within_s=60.0, pause_s=2.0, jitter=True), random.Random(1)
    pauses = [policy.pause_after(1, rng) for _ in range(50)]
    assert 0.0 <= min(pauses) < max(pauses) <= 2.0
    assert len(set(pauses)) > 1


def test_a_condition_that_holds_at_once_is_not_waited_for() -> None:
    clock = ManualClock()
    assert wait_until(lambda: True, within_s=0.0, clock=clock)
    assert clock.monotonic_s() == 0.0


def test_a_wait_ends_with_its_time() -> None:
    clock = ManualClock()
    assert not wait_until(lambda: False, within_s=1.0, every_s=0.25, clock=clock)
    assert clock.monotonic_s() == 1.0


def test_a_wait_ends_with_the_condition() -> None:
    clock = ManualClock()
    assert wait_until(lambda: clock.monotonic_s() >= 0.5, within_s=1.0, every_s=0.25, clock=clock)
    assert clock.monotonic_s() == 0.5
