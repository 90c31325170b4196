"""How long a group waits for a member that is silent, or whose loop stands still.

A machine that has no time for its consumers lets their sessions run out. The others then open the partitions, have no
time for it either, and are taken for gone in their turn: everybody begins again and nobody gets on. So a member that
was taken for gone, and was not, comes back with twice the time.
"""

import math
from typing import Final

from k2ctl.clock import Clock, SystemClock
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.clients import session_timeout_s

AWAY_AFTER_S: Final = 120.0
"""A member whose loop stands still for so long has left: longer than a commit is retried."""

EMBEDDED_AWAY_AFTER_S: Final = 10.0
"""The embedded engine does not answer a member that joins during an assignment; librdkafka asks again once this and
three seconds are over."""

JOIN_MARGIN_S: Final = 30.0
MOST_TIMES: Final = 32
SESSION_MOST_S: Final = 45.0
AWAY_MOST_S: Final = 600.0

CALM_S: Final = 600.0
"""Who was not taken for gone for so long begins with the usual time."""


class Patience:
    """The times of one consumer's membership, over all the times that it joins."""

    def __init__(self, endpoints: Endpoints, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._session_s = session_timeout_s(endpoints)
        self._away_after_s = EMBEDDED_AWAY_AFTER_S if endpoints.control_socket else AWAY_AFTER_S
        self._lost_s = -math.inf
        self._times = 1

    def note_lost(self) -> None:
        """The group took the member for gone."""
        now_s = self._clock.monotonic_s()
        self._times = min(MOST_TIMES, 2 * (self._times if now_s - self._lost_s < CALM_S else 1))
        self._lost_s = now_s

    @property
    def session_s(self) -> float:
        """How long the member may be silent before its partitions go to others."""
        return min(self._times * self._session_s, max(SESSION_MOST_S, self._session_s))

    @property
    def away_after_s(self) -> float:
        """How long it may go without a `poll`."""
        return min(self._times * self._away_after_s, AWAY_MOST_S)

    @property
    def join_within_s(self) -> float:
        """How long the group may take to assign its topic: a member that stands still, and some time for the others."""
        return self._times * JOIN_MARGIN_S + self.away_after_s
