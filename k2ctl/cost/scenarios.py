"""What is priced: a profile, a bare rate between two of them, and what-ifs on either."""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from k2ctl.errors import ProfileError, UsageError
from k2ctl.profiles import Profile, load_profile, strict_yaml
from k2ctl.profiles.strict_yaml import brief

LADDER: Final = ("10K", "1M", "10M")
"""The shipped profiles between which a bare rate is sized, by rising rate."""


def profile_for_rate(rate: float) -> Profile:
    """A profile for any rate up to that of the largest shipped one.

    What the sizing rules do not derive from the rate (symbols, partitions, query volume, series, logs) is interpolated
    between the two neighbours, evenly on logarithmic scales; below the smallest profile it is the smallest's.

    Raises:
        UsageError: more than the largest shipped profile.
    """
    rungs = [load_profile(name) for name in LADDER]
    rates = [rung.scale.workload.average_rate if rung.scale else 0.0 for rung in rungs]
    if not 0 < rate <= rates[-1]:
        raise UsageError(
            f"A bare rate is above 0 and at most at {rates[-1]:,.0f} trades a second, the largest shipped profile.",
            f"For more, write a profile: copy {LADDER[-1]}.yaml, and --scale ./mine.yaml",
        )
    above = next(index for index, at in enumerate(rates) if rate <= at)
    below = max(0, above - 1)
    weight = 0.0 if above == 0 else math.log(rate / rates[below]) / math.log(rates[above] / rates[below])
    content = _blend(rungs[below].model_dump(), rungs[above].model_dump(), weight)
    content["name"] = f"{rate:,.0f}/s"
    content["description"] = f"{rate:,.0f} trades a second, between {LADDER[below]} and {LADDER[above]}"
    content["load"]["rate"] = max(1, round(rate))
    content["scale"]["workload"]["average_rate"] = rate
    return Profile.model_validate(content)


def _blend(low: Any, high: Any, weight: float) -> Any:
    """Between two values: numbers on a logarithmic scale, whole ones rounded up; the rest as in the lower one."""
    if isinstance(low, dict):
        return {key: _blend(value, high[key], weight) for key, value in low.items()}
    if isinstance(low, bool) or not isinstance(low, int | float) or not isinstance(high, int | float) or low == high:
        return low
    between = low * (high / low) ** weight if low > 0 and high > 0 else low + (high - low) * weight
    return math.ceil(between - 1e-6) if isinstance(low, int) and isinstance(high, int) else between


def with_settings(profile: Profile, settings: Sequence[str]) -> Profile:
    """A what-if: `retention.hot_days=90`. Keys are those of the profile, with or without `scale.` before them.

    Raises:
        UsageError: no such key, or no such value for it.
    """
    return _with(profile, dict(_parsed(setting) for setting in settings)) if settings else profile


def _parsed(setting: str) -> tuple[str, Any]:
    key, equals, text = setting.partition("=")
    try:
        if equals:
            return key.strip(), strict_yaml.load("--set", text)[0]
        reason = ""
    except ProfileError as error:
        reason = f": {str(error).split(': ', 1)[1]}"
    raise UsageError(f"{brief(setting)} is not key=value{reason}.", "Example: --set retention.hot_days=90")


def with_value(profile: Profile, key: str, value: object) -> Profile:
    """The profile with one value changed, checked as a file would be.

    Raises:
        UsageError: no such key, or no such value for it.
    """
    return _with(profile, {key: value})


def _with(profile: Profile, values: Mapping[str, Any]) -> Profile:
    """All values first, then one check: some keys go together."""
    content = profile.model_dump()
    for key, value in values.items():
        *sections, last = _path_of(content, key)
        section = content
        for name in sections:
            section = section[name]
        section[last] = value
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"]).removeprefix("scale.")
        message = first["msg"].removeprefix("Value error, ")
        got = "" if isinstance(first["input"], dict) else f" (got {first['input']!r})"
        raise UsageError(f"--set: {at}: {message}{got}.", "Correct that value.") from error


def value_of(profile: Profile, key: str) -> Any:
    """The value behind a dotted key."""
    content: Any = profile.model_dump()
    for name in _path_of(content, key):
        content = content[name]
    return content


def _path_of(content: dict[str, Any], key: str) -> tuple[str, ...]:
    known = set(_keys(content))
    for dotted in (key, f"scale.{key}"):
        if dotted in known:
            return tuple(dotted.split("."))
    near = difflib.get_close_matches(key, [name.removeprefix("scale.") for name in sorted(known)], n=3, cutoff=0.5)
    raise UsageError(
        f"There is no key '{key}' in the profile.", f"Near it: {', '.join(near)}" if near else "See profiles/10K.yaml."
    )


def _keys(content: dict[str, Any], before: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"
