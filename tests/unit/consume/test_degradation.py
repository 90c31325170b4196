"""The level of degradation: a model-based test of the controller, whatever the signals do."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from k2ctl.clock import ManualClock
from k2ctl.consume.degradation import Controller, LagWindow, PressureSignals
from k2ctl.profiles import load_profile

POLICY = load_profile("laptop").degradation
THRESHOLDS = [level.lag for level in POLICY.levels]
MEMORY = [level.memory for level in POLICY.levels]
lags = st.none() | st.integers(0, 8_000_000) | st.sampled_from(THRESHOLDS)
memories = st.none() | st.floats(0, 1)


class Ladder(RuleBasedStateMachine):
    """Feeds any signals at any time, and holds the controller to its rules."""

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock()
        self.controller = Controller(POLICY, self.clock)
        self.changed_s = -POLICY.cooldown_s
        self.known_transitions = 0

    def update(self, signals: PressureSignals) -> tuple[int, int]:
        before = self.controller.number
        self.controller.update(signals)
        after = self.controller.number
        if after != before:
            assert len(self.controller.transitions) == min(100, self.known_transitions + 1)
            self.known_transitions = len(self.controller.transitions)
            assert self.controller.transitions[-1].reason
            if after < before:
                assert self.clock.monotonic_s() - self.changed_s >= POLICY.cooldown_s
            self.changed_s = self.clock.monotonic_s()
        return before, after

    @rule(lag=lags, memory=memories)
    def signals(self, lag: int | None, memory: float | None) -> None:
        before, after = self.update(PressureSignals(lag, memory))
        asked = [n for n in range(1, 5) if (lag or 0) >= THRESHOLDS[n] or (memory or 0) >= MEMORY[n]]
        demanded = max(asked, default=0)
        assert after >= demanded, "worse at once"
        assert after >= before - 1, "better one level at a time"
        if lag is None or memory is None:
            assert after >= before, "what is unknown improves nothing"
        if demanded == 4:
            assert self.controller.intake == "closed"

    @rule(fraction=st.floats(0, 1))
    def noise_between_exit_and_entry_changes_nothing(self, fraction: float) -> None:
        number = self.controller.number
        low = POLICY.exit_factor_lag * THRESHOLDS[number]
        high = THRESHOLDS[number + 1] if number < 4 else 10_000_000
        lag = int(low + 1 + fraction * (high - low - 2))
        intake = self.controller.intake
        if number and lag < high:
            assert self.update(PressureSignals(lag, 0.1)) == (number, number)
            if not (number == 4 and lag >= THRESHOLDS[4]):
                assert self.controller.intake == intake, "between the thresholds the intake does not flap"

    @rule(seconds=st.floats(0.01, 60))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def trouble_with_the_disk_closes_everything(self) -> None:
        assert self.update(PressureSignals(0, 0.0, trouble="spill failed: No space left on device"))[1] == 4

    @invariant()
    def critical_trades_are_never_deferred(self) -> None:
        assert self.controller.level.CRITICAL == "process"

    @invariant()
    def the_intake_is_closed_only_where_the_policy_says_so(self) -> None:
        assert self.controller.intake in {"open", self.controller.level.intake}

    def teardown(self) -> None:
        """Every level can be left."""
        for _ in range(5):
            self.clock.advance(POLICY.cooldown_s + 1)
            self.controller.update(PressureSignals(0, 0.0))
        assert self.controller.number == 0


Ladder.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestLadder = Ladder.TestCase


def test_thresholds_are_scaled_for_the_embedded_engine() -> None:
    controller = Controller(POLICY, ManualClock(), lag_divisor=50)
    controller.update(PressureSignals(20_000, 0.0))
    assert controller.level.name == "AGGRESSIVE"
    assert "20,000 ≥ 20,000" in controller.transitions[-1].reason


def test_a_reason_names_signal_value_threshold_and_trend() -> None:
    controller = Controller(POLICY, ManualClock())
    controller.update(PressureSignals(600_000, 0.2, slope=12_500))
    assert controller.transitions[-1].reason == "lag 600,000 ≥ 500,000 trades, +12,500/s"
    controller.update(PressureSignals(0, 0.93))
    assert controller.transitions[-1].reason == "memory 93% ≥ 90%"


def test_the_intake_opens_when_the_lag_is_small_though_the_level_cools_down() -> None:
    clock = ManualClock()
    controller = Controller(POLICY, clock)
    seen = []
    for lag, memory in [(5_000_000, 0.1), (2_500_000, 0.1), (2_499_999, 0.1), (4_999_999, 0.1), (5_000_000, 0.1)]:
        controller.update(PressureSignals(lag, memory))
        seen.append((controller.level.name, controller.intake))
        clock.advance(1.0)
    assert seen == [("CIRCUIT_BREAK", intake) for intake in ("closed", "closed", "open", "open", "closed")]
    assert controller.transitions_total == {"NORMAL>CIRCUIT_BREAK": 1}


@pytest.mark.parametrize(
    "unclear",
    [
        PressureSignals(None, 0.1),
        PressureSignals(0, None),
        PressureSignals(0, 0.9),
        PressureSignals(0, 0.1, trouble="spill failed"),
    ],
)
def test_the_intake_stays_closed_while_something_is_unknown_or_wrong(unclear: PressureSignals) -> None:
    controller = Controller(POLICY, ManualClock())
    controller.update(PressureSignals(5_000_000, 0.1))
    controller.update(unclear)
    assert controller.intake == "closed"


def test_seconds_of_lag_count_where_a_level_names_them() -> None:
    levels = tuple(level.model_copy(update={"lag_seconds": 10.0 * n or None}) for n, level in enumerate(POLICY.levels))
    controller = Controller(POLICY.model_copy(update={"levels": levels}), ManualClock())
    controller.update(PressureSignals(0, 0.0, lag_seconds=25.0))
    assert (controller.number, controller.transitions[-1].reason) == (2, "lag 25.0 s ≥ 20 s")


@pytest.mark.parametrize("lag", [10**6, 10**7])
def test_a_stall_shorter_than_the_window_is_no_overload(lag: int) -> None:
    clock = ManualClock()
    window = LagWindow(clock)
    assert window.add(0, 1.0) is None
    clock.advance(2.5)
    assert window.add(100, 1.0) == 100
    clock.advance(1.0)
    assert window.add(lag, 1.0) == 100
    clock.advance(2.5)
    assert window.add(lag, 1.0) == lag


@pytest.mark.parametrize(
    ("commits_every_s", "window_s"), [(0.0, 2.0), (0.2, 2.0), (1.5, 3.0), (4.0, 8.0), (15.0, 10.0), (300.0, 10.0)]
)
def test_lag_is_looked_at_over_two_commits_of_two_to_ten_seconds(commits_every_s: float, window_s: float) -> None:
    clock = ManualClock()
    window = LagWindow(clock)
    window.add(0, commits_every_s)
    clock.advance(0.001)
    seen_s = 0.001
    while (window.add(10**6, commits_every_s) or 0) < 10**6:
        clock.advance(0.1)
        seen_s += 0.1
    assert seen_s == pytest.approx(window_s, abs=0.11)
