"""The schedule: its integral is the integral of its rate."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.load.plan import SHAPES, Schedule, Shape, plan_load
from k2ctl.profiles import load_profile

schedules = st.builds(Schedule, st.sampled_from(SHAPES), st.floats(1, 1e6), st.floats(1, 1e6), st.floats(0.1, 1000))


@given(schedules, st.floats(0, 1), st.floats(0, 1))
def test_what_is_due_never_falls(schedule: Schedule, a: float, b: float) -> None:
    early, late = sorted((a * schedule.duration_s, b * schedule.duration_s))
    assert schedule.due(early) <= schedule.due(late) + 1e-6


@given(schedules)
def test_what_is_due_is_the_integral_of_the_rate(schedule: Schedule) -> None:
    steps = 2000
    width = schedule.duration_s / steps
    numeric = sum(schedule.rate_at((n + 0.5) * width) for n in range(steps)) * width
    assert schedule.due(schedule.duration_s) == pytest.approx(numeric, rel=2e-3, abs=0.51)


@given(schedules)
def test_nothing_is_due_before_the_start_or_after_the_end(schedule: Schedule) -> None:
    assert schedule.due(-1) == 0
    assert schedule.due(schedule.duration_s * 2) == schedule.due(schedule.duration_s)


@pytest.mark.parametrize(
    ("shape", "moment_s", "rate"),
    [
        ("constant", 5, 100),
        ("linear", 5, 300),
        ("step", 0, 100),
        ("step", 9.9, 500),
        ("spike", 5, 500),
        ("sine", 5, 500),
    ],
)
def test_shapes_rise_as_they_say(shape: str, moment_s: float, rate: float) -> None:
    peak = 100 if shape == "constant" else 500
    assert Schedule(shape, 100, peak, 10).rate_at(moment_s) == pytest.approx(rate)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("duration_s", [5.0, 7.0, 20.0, 33.0, 100.0])
def test_at_the_end_every_trade_is_due(shape: Shape, duration_s: float) -> None:
    schedule = Schedule(shape, 5_000, 45_000, duration_s)
    assert math.floor(schedule.due(duration_s)) == math.floor(schedule.due(duration_s + 1)) == schedule.total


@pytest.mark.parametrize(("ramp_to", "start"), [(100_000, 10_000), (15, 1), (1, 1)])
def test_a_ramp_without_a_rate_starts_at_a_tenth_of_its_target(ramp_to: int, start: int) -> None:
    schedule = plan_load(load_profile("laptop"), ramp_to=ramp_to).schedule
    assert (schedule.shape, schedule.rate, schedule.peak) == ("linear", start, ramp_to)
