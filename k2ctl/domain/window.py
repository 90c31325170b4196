"""The span of exchange time that a query asks for."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """Exchange timestamps in [since_us, until_us), microseconds UTC; None leaves that side open."""

    since_us: int | None = None
    until_us: int | None = None

    def holds(self, timestamps: np.ndarray) -> np.ndarray:
        """bool[n]: which of the int64[n] timestamps lie within."""
        mask = np.ones(len(timestamps), np.bool_)
        if self.since_us is not None:
            mask &= timestamps >= self.since_us
        if self.until_us is not None:
            mask &= timestamps < self.until_us
        return mask


WHOLE_HISTORY = Window()
