"""What is priced: a profile, a bare rate between two of them, what-ifs on either; the levers."""

import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from k2ctl.cost.estimate import estimate, scale_of
from k2ctl.cost.price_book import PriceBook
from k2ctl.errors import ProfileError, UsageError
from k2ctl.mistakes import said
from k2ctl.profiles import Profile, load_profile, strict_yaml
from k2ctl.profiles.fleet import CONSUMER_CORES
from k2ctl.profiles.nodes import room_of
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
    clients, memory_mb = content["scale"]["clients"], content["consumer"]["memory_limit_mb"]
    if not room_of(clients["node"]).holds(CONSUMER_CORES, memory_mb):
        clients["node"] = scale_of(rungs[above]).clients.node
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
        got = "" if isinstance(first["input"], dict) else f" (got {first['input']!r})"
        raise UsageError(f"--set: {at}: {said(first)}{got}.", "Correct that value.") from error


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


@dataclass(frozen=True)
class Lever:
    """A change and what it saves."""

    title: str
    # For `--set`.
    setting: str
    # A month.
    saves_usd: float
    # True if the profile has it already, and saves by it.
    in_use: bool


@dataclass(frozen=True)
class Swing:
    """The total at two values of an input."""

    key: str
    low_value: str
    high_value: str
    # None where it would not work.
    low_usd: float | None
    high_usd: float | None

    def width(self, base_usd: float) -> float:
        """How far the total moves between the two values."""
        ends = [base_usd, *(usd for usd in (self.low_usd, self.high_usd) if usd is not None)]
        return max(ends) - min(ends)


class _Switch(NamedTuple):
    """A lever that is on or off."""

    title: str
    key: str
    # The value that saves.
    saving: Any
    # The value to compare with where it is in use; None: no comparison.
    without: Any = None


_OFFERS: Final = (
    _Switch("rack-aware reads", "topology.rack_aware", saving=True, without=False),
    _Switch("3:1 compression on the wire", "workload.wire_ratio", saving=3.0, without=1.0),
    _Switch("a year's commitment", "terms.commitment", saving="1y_no_upfront", without="none"),
    _Switch("interval sets, not ids in Redis,", "state.dedup", saving="intervals", without="redis_keys"),
    _Switch("no support plan", "terms.support", saving="none"),
)

_HALVES: Final = (
    ("half the days in S3 Standard", "retention.hot_days"),
    ("half the hours in Kafka", "topic.retention_hours"),
    ("half the Trino nodes", "query.trino_nodes"),
    ("half the CPU per trade in the lake writer", "clients.cpu_s_per_million.lake_writer"),
)

_SWINGS: Final[tuple[tuple[str, Callable[[Any], Any], Callable[[Any], Any]], ...]] = (
    ("workload.average_rate", lambda v: v * 0.8, lambda v: v * 1.2),
    ("workload.peak_factor", lambda _: 1.0, lambda _: 3.0),
    ("workload.trade_bytes", lambda v: v * 0.75, lambda v: v * 1.5),
    ("workload.record_overhead_bytes", lambda _: 0.0, lambda _: 20.0),
    ("workload.wire_ratio", lambda _: 3.0, lambda _: 1.0),
    ("workload.parquet_ratio", lambda _: 8.0, lambda _: 3.0),
    ("topology.rack_aware", lambda _: True, lambda _: False),
    ("topology.consumer_groups", lambda _: 1, lambda _: 4),
    ("topic.retention_hours", lambda v: v / 2, lambda v: v * 2),
    ("retention.hot_days", lambda v: v / 2, lambda v: v * 3),
    ("clients.cpu_s_per_million.lake_writer", lambda v: v / 2, lambda v: v * 2),
    ("consumer.commit_interval_s", lambda v: v * 2, lambda v: v / 2),
    ("query.trino_nodes", lambda v: max(1, v // 2), lambda v: v * 2),
    ("query.queries_per_month", lambda v: v / 2, lambda v: v * 2),
    ("platform.internet_out_gib_per_month", lambda v: v / 2, lambda v: v * 2),
    ("observability.series", lambda v: v // 2, lambda v: v * 2),
    ("terms.commitment", lambda _: "1y_no_upfront", lambda _: "none"),
)
"""Inputs and the two values that each is tried at: the range that is met in practice, or half and double."""


def levers(profile: Profile, book: PriceBook) -> list[Lever]:
    """What saves, the most first. What would not work, or saves nothing, is not offered."""
    base_usd = estimate(profile, book).total_monthly_usd
    found = [*_switches(profile, book, base_usd), *_halved(profile, book, base_usd)]
    return sorted((lever for lever in found if lever.saves_usd >= 0.5), key=lambda lever: -lever.saves_usd)


def _switches(profile: Profile, book: PriceBook, base_usd: float) -> Iterator[Lever]:
    for offer in _OFFERS:
        if offer.key == "workload.wire_ratio" and scale_of(profile).workload.wire_bytes_per_trade is not None:
            continue  # bytes on the wire are measured, compression and all
        now = value_of(profile, offer.key)
        in_use = now == offer.saving or (offer.key == "workload.wire_ratio" and now > offer.saving)
        if in_use and offer.without is None:
            continue
        other_usd = total_with(profile, book, offer.key, offer.without if in_use else offer.saving)
        if other_usd is not None:
            saves_usd = other_usd - base_usd if in_use else base_usd - other_usd
            yield Lever(offer.title, f"{offer.key}={_text(offer.saving)}", saves_usd, in_use)


def _halved(profile: Profile, book: PriceBook, base_usd: float) -> Iterator[Lever]:
    for title, key in _HALVES:
        now = value_of(profile, key)
        value = -(-now // 2) if isinstance(now, int) else now / 2
        other_usd = total_with(profile, book, key, value)
        if value != now and other_usd is not None:
            yield Lever(title, f"{key}={_text(value)}", base_usd - other_usd, in_use=False)


def sensitivity(profile: Profile, book: PriceBook) -> list[Swing]:
    """The total at two values of every input, the widest first: a tornado."""
    base_usd = estimate(profile, book).total_monthly_usd
    swings = []
    for key, low, high in _SWINGS:
        now = value_of(profile, key)
        ends = low(now), high(now)
        totals = [base_usd if end == now else total_with(profile, book, key, end) for end in ends]
        swings.append(Swing(key, _text(ends[0]), _text(ends[1]), totals[0], totals[1]))
    return sorted(swings, key=lambda swing: -swing.width(base_usd))


def total(profile: Profile, book: PriceBook) -> float | None:
    """US dollars a month; None for what would not work."""
    found = estimate(profile, book)
    return None if found.infeasible else found.total_monthly_usd


def total_with(profile: Profile, book: PriceBook, key: str, value: Any) -> float | None:
    """US dollars a month with one value changed; None where that would not work."""
    try:
        return total(with_value(profile, key, value), book)
    except UsageError:
        return None


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
