"""When each trade is due: from elapsed seconds to the number of trades that should have been sent. Pure."""

import math
from dataclasses import dataclass
from typing import Final, Literal

Shape = Literal["constant", "linear", "step", "spike", "sine"]
SHAPES: Final = ("constant", "linear", "step", "spike", "sine")
STEPS: Final = 5
SPIKE_FROM, SPIKE_TO = 0.4, 0.6
"""The part of the duration for which a spike lasts."""


@dataclass(frozen=True)
class Schedule:
    """A rate over time, and its exact integral.

    rate: trades/s at the start. peak: trades/s that linear, step, spike and sine rise to. duration_s: seconds;
    afterwards nothing more is due.

    linear: rises evenly from rate to peak. step: rises in five equal steps. spike: rate, and peak in the middle
    fifth. sine: from rate to peak and back, as one wave of a raised cosine.
    """

    shape: Shape
    rate: float
    peak: float
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
