"""A question to the cost room: a price book, what-ifs and measurements, for every profile it is asked about."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from k2ctl.cost.documents import read_estimate
from k2ctl.cost.estimate import Estimate, estimate
from k2ctl.cost.measured import Measured, Replaced, with_measurements
from k2ctl.cost.price_book import PriceBook
from k2ctl.cost.scenarios import profile_for_rate, with_settings
from k2ctl.errors import Infeasible, UsageError
from k2ctl.files import read_object
from k2ctl.profiles import Profile, load_profile, profile_names
from k2ctl.profiles.loader import place_of


@dataclass(frozen=True)
class Scenario:
    """A profile with its what-ifs."""

    # Before the what-ifs.
    base: Profile
    profile: Profile
    # Assumptions in whose place there are measurements.
    replaced: tuple[Replaced, ...] = ()
    # The profile that was named; empty for a bare rate.
    source: str = ""


@dataclass(frozen=True)
class Pricing:
    """Prices, what-ifs and measurements, for every profile that is asked about."""

    book: PriceBook
    # What-ifs, `key=value`.
    settings: Sequence[str] = ()
    # None leaves the profile's assumptions.
    measured: Measured | None = None

    def scenario(self, name: str, rate: float | None) -> Scenario:
        """A shipped profile by name, else a bare rate in trades per second, else a file.

        Raises:
            UsageError: none of the three, or a what-if that does not fit.
        """
        base = _profile(name, rate)
        source = "" if name not in profile_names() and rate is not None else name
        replaced: tuple[Replaced, ...] = ()
        if self.measured is not None:
            base, replaced = with_measurements(base, self.measured, self.book)
        return Scenario(base, with_settings(base, self.settings), replaced, source)

    def judged(self, scenario: Scenario) -> Estimate:
        """The estimate; where it cannot work, with the file and line, or the what-if, of each value that is why."""
        found = estimate(scenario.profile, self.book)
        return replace(found, infeasible=tuple(self._placed(scenario, reason) for reason in found.infeasible))

    def _placed(self, scenario: Scenario, reason: str) -> str:
        key, colon, _ = reason.partition(": ")
        if not colon or not re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", key):
            return reason
        asked = {setting.partition("=")[0].strip() for setting in self.settings}
        if key in asked or key.removeprefix("scale.") in asked:
            return f"--set {reason}"
        return f"{place_of(scenario.source, key)}: {reason}" if scenario.source else reason

    def estimate(self, profile: Profile, month: int | None = None) -> Estimate:
        """The estimate.

        Raises:
            Infeasible: it cannot work.
        """
        found = estimate(profile, self.book, month)
        if found.infeasible:
            raise Infeasible(found.profile, found.infeasible)
        return found

    def subject(self, name: str, rate: float | None) -> Estimate:
        """One side of a comparison, which may be one that cannot work: as `scenario`, or a saved `--json`.

        Raises:
            UsageError: none of those.
        """
        if name.endswith(".json"):
            return saved_estimate(Path(name))
        return estimate(self.scenario(name, rate).profile, self.book)


def _profile(name: str, rate: float | None) -> Profile:
    if name in profile_names():
        return load_profile(name)
    if rate is not None:
        return profile_for_rate(rate)
    if not Path(name).expanduser().is_file():
        raise UsageError(
            f"'{name}' is neither a profile, nor a rate, nor a file.",
            f"Profiles: {', '.join(profile_names())}. A rate: 250k. A file: ./mine.yaml",
        )
    return load_profile(name)


def saved_estimate(path: Path) -> Estimate:
    """An estimate that `k2ctl cost --json` printed.

    Raises:
        UsageError: it cannot be read, or is something else.
    """
    try:
        return read_estimate(read_object(path))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}", "Save one with: k2ctl cost --scale 1M --json") from error
