"""The memory that a consumer's Bloom chunks may take, and whether a day of ids fits into it. Pure arithmetic."""

import math
from dataclasses import dataclass
from typing import Final

from k2ctl.errors import ProfileError
from k2ctl.profiles.model import ConsumerSettings

LEAST_CHUNKS: Final = 3
"""Two open ones, and one that is closed."""


def filter_bits(capacity: int, error_rate: float) -> int:
    """The bits of a filter, as pybloom-live sizes it: 15.8 an id at 0.05 %.

    k = ceil(log2(1 / p)) slices of n |ln p| / (k ln² 2) bits.
    """
    slices = math.ceil(math.log2(1 / error_rate))
    return slices * math.ceil(capacity * abs(math.log(error_rate)) / (slices * math.log(2) ** 2))


@dataclass(frozen=True)
class ChunkPlan:
    """How chunks are cut."""

    # How long a chunk is kept.
    window_us: int
    # Ids of one chunk, and its rate of false positives.
    ids: int
    error_rate: float
    # At most this many chunks.
    limit: int

    @property
    def look_up_error_rate(self) -> float:
        """The rate of false positives of a look-up, which tests two chunks at most where trades come in time."""
        return 2 * self.error_rate

    @property
    def chunk_bytes(self) -> int:
        """What one chunk takes, full or empty."""
        return -(-filter_bits(self.ids, self.error_rate) // 8)


def plan_chunks(consumer: ConsumerSettings) -> ChunkPlan:
    """The chunks of a consumer.

    One chunk covers a trade's time, or two at an edge, so each gets half the rate of error.

    Raises:
        ProfileError: the chunks of the window do not fit into the budget, with the figures and the ways out.
    """
    settings = consumer.dedup
    window_s = settings.window_hours * 3600
    plan = ChunkPlan(
        window_us=round(window_s * 1e6), ids=settings.chunk_ids, error_rate=settings.error_rate / 2, limit=LEAST_CHUNKS
    )
    ids = settings.ids_per_s * window_s
    needed = planned_bytes(plan, ids)
    budget = settings.budget_mb * 1_000_000
    if needed > budget:
        rate = budget / plan.chunk_bytes * plan.ids / window_s
        hours = settings.window_hours * budget / needed
        raise ProfileError(
            f"consumer.dedup: {settings.ids_per_s:,} random ids/s for {settings.window_hours:g} h at "
            f"{settings.error_rate:.2%} need {needed / 1e6:,.0f} MB, and budget_mb is {settings.budget_mb:,}.",
            f"Raise budget_mb to {math.ceil(needed / 1e6):,}, or fit the budget: window_hours {hours:.1f}, or "
            f"ids_per_s {rate:,.0f} (more consumers), or a higher error_rate (more look-ups), or ids of feed session "
            "and sequence, which need a few bytes a symbol.",
        )
    if budget >= consumer.memory_limit_mb * 1_000_000:
        raise ProfileError(
            f"consumer.dedup.budget_mb is {settings.budget_mb:,}, and the whole consumer has memory_limit_mb "
            f"{consumer.memory_limit_mb:,}.",
            "Leave room for batches: a lower budget_mb, or a higher memory_limit_mb.",
        )
    limit = max(LEAST_CHUNKS, budget // plan.chunk_bytes)
    return ChunkPlan(plan.window_us, plan.ids, plan.error_rate, limit)


def planned_bytes(plan: ChunkPlan, ids: float) -> int:
    """What the chunks of so many ids take, the open ones included."""
    return (math.ceil(ids / plan.ids) + 2) * plan.chunk_bytes
