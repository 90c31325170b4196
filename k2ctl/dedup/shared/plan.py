"""The memory that claims take in the store, planned from the profile and compared with what there is. Arithmetic."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from k2ctl.errors import ProfileError
from k2ctl.profiles.model import Dedup

BYTES_PER_ID: Final = 90
"""Of a claim in Redis, measured on 7.0 over 1,000,000 ids at 500 to 150,000 ids/s: 72 to 77 with `MEMORY USAGE`, 80 to
86 of `used_memory`. A process takes 123 to 139 for one in its own memory."""

EVICTS_NOTHING: Final = "noeviction"


@dataclass(frozen=True)
class SharedPlan:
    """The claims of a scope."""

    scope: Literal["topic", "feeds"]
    window_s: float
    ids_per_s: int

    @property
    def bytes(self) -> int:
        """What the claims of a window take in Redis."""
        return math.ceil(self.ids_per_s * self.window_s * BYTES_PER_ID)

    def require_room(self, server: Mapping[str, object]) -> None:
        """Compare with a Redis' own figures (`ClaimStore.server`).

        Raises:
            ProfileError: the claims do not fit into its `maxmemory`, or it evicts keys to make room.
        """
        most = int(str(server.get("maxmemory", 0)))
        if not most:
            return
        if self.bytes > most:
            fitting = f"{math.floor(most / 1e6):,} MB"
            raise ProfileError(
                f"consumer.dedup.scope is {self.scope}: {self._needs()}, and Redis' maxmemory is {fitting}.",
                f"Raise its maxmemory to {math.ceil(self.bytes / 1e6):,} MB, or {self._ways(most)}.",
            )
        policy = str(server.get("maxmemory_policy", EVICTS_NOTHING))
        if policy != EVICTS_NOTHING:
            raise ProfileError(
                f"consumer.dedup.scope is {self.scope}, and Redis' maxmemory-policy is {policy}: it evicts claims.",
                f"Set it to {EVICTS_NOTHING}, or give the state store a Redis of its own.",
            )

    def require_budget(self, budget_mb: int) -> None:
        """Compare with the profile's budget.

        Raises:
            ProfileError: the claims do not fit, with the figures and the ways out.
        """
        if self.bytes > budget_mb * 1_000_000:
            raise ProfileError(
                f"consumer.dedup: {self._needs()}, and shared_budget_mb is {budget_mb:,}.",
                f"Raise shared_budget_mb to {math.ceil(self.bytes / 1e6):,}, or {self._ways(budget_mb * 1_000_000)}.",
            )

    def _needs(self) -> str:
        return (
            f"{self.ids_per_s:,} shared ids/s for {self.window_s / 60:g} min at {BYTES_PER_ID} bytes an id need "
            f"{self.bytes / 1e6:,.0f} MB in Redis"
        )

    def _ways(self, most: int) -> str:
        """What fits into so many bytes."""
        minutes = math.floor(10 * most / self.bytes * self.window_s / 60) / 10
        rate = math.floor(most / self.window_s / BYTES_PER_ID)
        shorter = f"shared_window_minutes {minutes:g}, or " if minutes >= 1 else ""
        return f"fit it: {shorter}shared_ids_per_s {rate:,}"


def planned_claims(settings: Dedup) -> SharedPlan | None:
    """The claims that a profile plans; None where its consumers share none."""
    if settings.scope == "partition":
        return None
    rate = settings.shared_ids_per_s or settings.ids_per_s
    return SharedPlan(settings.scope, settings.shared_window_minutes * 60, rate)


def plan_shared(settings: Dedup) -> SharedPlan | None:
    """The same, compared with the budget.

    Raises:
        ProfileError: they do not fit.
    """
    plan = planned_claims(settings)
    if plan is not None:
        plan.require_budget(settings.shared_budget_mb)
    return plan
