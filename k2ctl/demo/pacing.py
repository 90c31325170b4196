"""The demo's durations, quick for a test or full for an audience, and a profile whose ladder fits them."""

from dataclasses import dataclass
from typing import Final

from k2ctl.profiles import Profile

WAIT_AT_MOST_S: Final = 90.0
"""How long the demo waits for a state before the check of it fails."""


@dataclass(frozen=True)
class Pacing:
    """How fast the demo goes."""

    quick: bool = False
    """True for tests: nothing waits for an audience."""
    factor: float = 1.0
    """Multiplies what lasts for the audience; never what the platform needs."""

    def last(self, full_s: float, quick_s: float) -> float:
        """A duration in seconds; at least one, so that there is something to measure."""
        return max(1.0, (quick_s if self.quick else full_s) * self.factor)

    def read(self, seconds: float) -> float:
        """Time to read what is shown; a test does not read."""
        return 0.0 if self.quick else seconds * self.factor

    @property
    def cooldown_s(self) -> float:
        """What a level waits before it gets better: 30 s in production."""
        return 1.0 if self.quick else 3.0


OUT_OF_REACH: Final = 1_000_000


def for_the_stage(profile: Profile, engine: str, pacing: Pacing) -> Profile:
    """The profile with a cooldown and thresholds that fit an audience's patience; on every engine the same ones."""
    divisor = 1 if engine == "embedded" else profile.degradation.embedded_divisor
    return _with_ladder(profile, 1 / divisor, pacing.cooldown_s)


def unhurried(profile: Profile) -> Profile:
    """The profile with a ladder out of reach, for what is measured without any trade being deferred."""
    return _with_ladder(profile, OUT_OF_REACH, profile.degradation.cooldown_s)


def thresholds_of(profile: Profile, engine: str) -> tuple[tuple[str, int], ...]:
    """Level → the lag at which it is entered on this engine, in trades."""
    divisor = profile.degradation.embedded_divisor if engine == "embedded" else 1
    return tuple((level.name, level.lag // divisor) for level in profile.degradation.levels)


def _with_ladder(profile: Profile, factor: float, cooldown_s: float) -> Profile:
    degradation = profile.degradation
    levels = tuple(level.model_copy(update={"lag": int(level.lag * factor)}) for level in degradation.levels)
    changed = degradation.model_copy(update={"cooldown_s": cooldown_s, "levels": levels})
    return profile.model_copy(update={"degradation": changed})
