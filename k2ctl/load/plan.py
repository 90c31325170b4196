"""What to load, checked before anything starts, and when each trade of it is due."""

import math
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from k2ctl.errors import UsageError
from k2ctl.load.market import Faults, new_run_id
from k2ctl.load.replay import ReplayPlan
from k2ctl.profiles import Profile

UNFRAMED_PER_WORKER = 250_000
FRAMED_PER_WORKER = 1_200_000
"""Trades per second that one worker process is trusted with, before a second one is started."""

RAMP_FROM: Final = 10
"""Where only the peak is said, a load starts at this part of it."""

Shape = Literal["constant", "linear", "step", "spike", "sine"]
SHAPES: Final = ("constant", "linear", "step", "spike", "sine")
STEPS: Final = 5
SPIKE_FROM, SPIKE_TO = 0.4, 0.6
"""The part of the duration for which a spike lasts."""


@dataclass(frozen=True)
class Schedule:
    """A rate over time, and its exact integral.

    linear: rises evenly from rate to peak. step: rises in five equal steps. spike: rate, and peak in the middle
    fifth. sine: from rate to peak and back, as one wave of a raised cosine.
    """

    shape: Shape
    # Trades per second at the start.
    rate: float
    # Trades per second that all shapes but a constant one rise to.
    peak: float
    # After it nothing more is due.
    duration_s: float

    def rate_at(self, elapsed_s: float) -> float:
        """Trades per second at a moment."""
        if not 0 <= elapsed_s < self.duration_s:
            return 0.0
        passed, rise = elapsed_s / self.duration_s, self.peak - self.rate
        if self.shape == "linear":
            return self.rate + rise * passed
        if self.shape == "step":
            return self.rate + rise * math.floor(passed * STEPS) / (STEPS - 1)
        if self.shape == "spike":
            return self.peak if SPIKE_FROM <= passed < SPIKE_TO else self.rate
        if self.shape == "sine":
            return self.rate + rise * (1 - math.cos(2 * math.pi * passed)) / 2
        return self.rate

    def due(self, elapsed_s: float) -> float:
        """Trades that should have been sent by then: the integral of the rate; at the end not less than `total`."""
        if elapsed_s >= self.duration_s:
            # A sum that falls short by a rounding error would leave the last trade waiting for ever.
            return max(float(self.total), self._integral(self.duration_s))
        return self._integral(max(0.0, elapsed_s))

    def _integral(self, elapsed_s: float) -> float:
        passed, rise = elapsed_s / self.duration_s, self.peak - self.rate
        base = self.rate * elapsed_s
        if self.shape == "linear":
            return base + rise * elapsed_s * passed / 2
        if self.shape == "step":
            full = min(STEPS - 1, math.floor(passed * STEPS))
            length_s = self.duration_s / STEPS
            risen = sum(range(full)) * length_s + full * (elapsed_s - full * length_s)
            return base + rise * risen / (STEPS - 1)
        if self.shape == "spike":
            return base + rise * self.duration_s * min(max(0.0, passed - SPIKE_FROM), SPIKE_TO - SPIKE_FROM)
        if self.shape == "sine":
            return base + rise * (elapsed_s - self.duration_s * math.sin(2 * math.pi * passed) / (2 * math.pi)) / 2
        return base

    @property
    def total(self) -> int:
        """Trades in all."""
        return round(self._integral(self.duration_s))


@dataclass(frozen=True)
class LoadPlan:
    """A load. Rates are trades per second."""

    profile: Profile
    schedule: Schedule
    # Trades per Kafka record.
    frame: int = 1
    # Worker processes.
    workers: int = 1
    faults: Faults = field(default_factory=Faults)
    run_id: str = field(default_factory=new_run_id)
    # Trades of files, instead of a synthetic market.
    replay: ReplayPlan | None = None
    # Do not pause when a consumer closes the intake.
    ignore_intake: bool = False

    def on(self, partitions: int) -> "LoadPlan":
        """The same for a topic of so many partitions; one with more of them than the profile says changes nothing."""
        topic = self.profile.topic
        if partitions >= topic.partitions:
            return self
        fitting = {"partitions": partitions, "critical_partitions": min(topic.critical_partitions, partitions - 1)}
        profile = self.profile.model_copy(update={"topic": topic.model_copy(update=fitting)})
        return replace(self, profile=profile)


def plan_load(
    profile: Profile,
    *,
    rate: int | None = None,
    ramp_to: int | None = None,
    duration_s: float | None = None,
    shape: str | None = None,
    frame: int | None = None,
    workers: int | None = None,
    faults: Faults | None = None,
    replay: ReplayPlan | None = None,
    ignore_intake: bool = False,
) -> LoadPlan:
    """A plan from what was said and the profile's defaults.

    Raises:
        UsageError: something does not go together.
    """
    base = rate if rate is not None else profile.load.rate if ramp_to is None else max(1, ramp_to // RAMP_FROM)
    shape = shape or ("constant" if ramp_to is None else "linear")
    if shape not in SHAPES:
        raise UsageError(f"There is no shape '{shape}'.", f"Shapes: {', '.join(SHAPES)}")
    if shape != "constant" and ramp_to is None:
        raise UsageError(f"A {shape} load needs a peak.", f"Say it: --shape {shape} --ramp-to {base * 5}")
    if ramp_to is not None and shape == "constant":
        raise UsageError("A constant load has no peak.", "Leave --ramp-to out, or choose --shape linear")
    peak = base if ramp_to is None else ramp_to
    if not 0 < base <= 10_000_000 or not 0 < peak <= 10_000_000:
        raise UsageError("A rate is between 1 and 10M trades a second.", "Example: k2ctl load --rate 10k")
    seconds = profile.load.duration_s if duration_s is None else duration_s
    if not 0.1 <= seconds <= 86_400:
        raise UsageError("A load lasts between 0.1 s and 24 h.", "Example: k2ctl load --duration 5m")
    per_frame = frame or profile.load.frame
    if not 1 <= per_frame <= 1000:
        raise UsageError("A frame holds 1 to 1,000 trades.", "Example: k2ctl load --frame 100")
    count = 1 if replay else workers or _enough_workers(max(base, peak), per_frame)
    if not 1 <= count <= 16:
        raise UsageError("Between 1 and 16 workers make load.", "Leave --workers out to let k2ctl choose.")
    schedule = Schedule(shape, base, peak, seconds)  # type: ignore[arg-type]
    return LoadPlan(
        profile,
        schedule,
        per_frame,
        count,
        faults or Faults(),
        replay=replay,
        ignore_intake=ignore_intake,
    )


def _enough_workers(rate: float, frame: int) -> int:
    per_worker = UNFRAMED_PER_WORKER if frame < 10 else FRAMED_PER_WORKER
    return max(1, min(16, -(-round(rate) // per_worker)))
