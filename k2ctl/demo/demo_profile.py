"""The terms that the demo plays on: a profile's ladder, made to fit what is shown."""

from k2ctl.demo.pacing import Pacing
from k2ctl.profiles import Profile

OUT_OF_REACH = 1_000_000


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
