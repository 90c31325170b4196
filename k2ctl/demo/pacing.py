"""How long things take: quick for a test, full for an audience, and a factor for the presenter."""

from dataclasses import dataclass
from typing import Final

WAIT_AT_MOST_S: Final = 90.0
"""How long a condition is waited for before its assertion turns red."""


@dataclass(frozen=True)
class Pacing:
    """factor: of everything that lasts for the audience's sake; never of what the platform needs."""

    quick: bool = False
    factor: float = 1.0

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
