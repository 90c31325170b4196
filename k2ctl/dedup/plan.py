"""What deduplication may take of memory, decided before the first trade: rate × window × bits an id.

The bits follow from the rate of error (`k2ctl.dedup.bloom.filter_bits`). A plan over the budget is refused here; a
burst over the plan is not refused but forgets the oldest chunks early, and looks those ids up in the lake instead.
"""

import math

from k2ctl.dedup.chunks import LEAST_CHUNKS, ChunkPlan
from k2ctl.errors import ProfileError
from k2ctl.profiles.model import ConsumerSettings


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
