"""Whether a profile's consumers fit what they run on, and whether queries keep up with them: what cannot work, by key.

The rules are those that size and price; `k2ctl cost`, `k2ctl doctor` and whatever renders a platform ask here.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from k2ctl.cost.capacity import (
    QUERY_LIMIT_RECORDS,
    QUERY_LIMIT_S,
    READ_S_PER_RECORD,
    READ_S_PER_TRADE,
)
from k2ctl.dedup.chunk_plan import plan_chunks
from k2ctl.dedup.shared.plan import plan_shared
from k2ctl.errors import ProfileError
from k2ctl.profiles.fleet import Fleet, fleet_of, least_interval_s, memory_mb_with, swap_s, top_share
from k2ctl.profiles.loader import place_of
from k2ctl.profiles.model import Profile
from k2ctl.profiles.scale import Scale


@dataclass(frozen=True)
class Fault:
    """A value of a profile that cannot work."""

    # Dotted.
    key: str
    reason: str
    # What helps.
    step: str

    def __str__(self) -> str:
        return f"{self.key}: {self.reason} {self.step}"


def faults_of(profile: Profile) -> tuple[Fault, ...]:
    """What cannot work of a profile; of one without a scale, what its consumer's own settings say."""
    faults = [*_dedup(profile), *_pending_rows(profile)]
    if profile.scale is not None:
        fleet = fleet_of(profile, profile.scale)
        faults += [*_dealing(profile, profile.scale, fleet), *_node(profile.scale, fleet)]
        faults += [*_memory_at_work(profile, fleet), *_commits(profile, fleet)]
        faults += _reading(profile, profile.scale, fleet)
    return tuple(faults)


def require_fit(profile: Profile, name_or_path: str) -> None:
    """Refuse a profile that cannot work, as other mistakes in it are: with file, line and key.

    Raises:
        ProfileError: the first fault of several.
    """
    faults = faults_of(profile)
    if faults:
        first, more = faults[0], f" And {len(faults) - 1} more." if len(faults) > 1 else ""
        raise ProfileError(f"{place_of(name_or_path, first.key)}: {first.key}: {first.reason}{more}", first.step)


def _dedup(profile: Profile) -> Iterator[Fault]:
    """The memory of ids, a consumer's own and that of Redis, as a consumer refuses it when it starts."""
    try:
        plan_chunks(profile.consumer)
    except ProfileError as error:
        reason = str(error).removeprefix("consumer.dedup: ").removeprefix("consumer.dedup.")
        yield Fault("consumer.dedup.budget_mb", reason, error.hint)
    try:
        plan_shared(profile.consumer.dedup)
    except ProfileError as error:
        yield Fault("consumer.dedup.shared_budget_mb", str(error).removeprefix("consumer.dedup: "), error.hint)


def _pending_rows(profile: Profile) -> Iterator[Fault]:
    """All rows that may wait, beside a full commit under way."""
    consumer = profile.consumer
    needed_mb = memory_mb_with(consumer, consumer.pending_limit_rows, consumer.commit_rows)
    if needed_mb > consumer.memory_limit_mb:
        yield Fault(
            "consumer.pending_limit_rows",
            f"{consumer.pending_limit_rows:,} rows that wait beside a commit of {consumer.commit_rows:,} take "
            f"{needed_mb:,.0f} MB, deduplication included, and memory_limit_mb is {consumer.memory_limit_mb:,}.",
            "Fewer pending_limit_rows or commit_rows, or more memory_limit_mb.",
        )


def _dealing(profile: Profile, scale: Scale, fleet: Fleet) -> Iterator[Fault]:
    """Partitions, consumers, and the symbol that nobody can divide."""
    top, peak_rate = top_share(profile.market), fleet.peak_rate
    if top * peak_rate > fleet.capacity_rate:
        yield Fault(
            "market.zipf_exponent",
            f"the most traded of {profile.market.symbols:,} symbols has {top:.1%} of the trades, all in one partition: "
            f"{top * peak_rate:,.0f}/s at the peak, and a consumer takes {fleet.capacity_rate:,.0f}/s.",
            "A flatter market, a lower rate or peak, or less CPU a trade (--measured).",
        )
    elif fleet.hottest_share * peak_rate > fleet.capacity_rate or fleet.count > profile.topic.partitions:
        yield Fault(
            "topic.partitions",
            f"the fullest of {profile.topic.partitions:,} has {fleet.hottest_share * peak_rate:,.0f} trades/s at the "
            f"peak, and a consumer, which reads whole partitions, takes {fleet.capacity_rate:,.0f}/s.",
            "More partitions.",
        )
    elif fleet.busiest_rate > fleet.capacity_rate * (1 + 1e-6):
        any_number = scale.clients.model_copy(update={"consumers": None})
        needed = fleet_of(profile, scale.model_copy(update={"clients": any_number})).count
        yield Fault(
            "scale.clients.consumers",
            f"the busiest of {fleet.count} gets {fleet.busiest_rate:,.0f} trades/s at the peak and takes "
            f"{fleet.capacity_rate:,.0f}/s.",
            f"At least {needed}, or null.",
        )


def _node(scale: Scale, fleet: Fleet) -> Iterator[Fault]:
    room, node = fleet.room, scale.clients.node
    if fleet.per_node:
        return
    if room.memory_mb < fleet.memory_mb:
        yield Fault(
            "consumer.memory_limit_mb",
            f"a consumer wants {fleet.memory_mb:,} MB, and {node} has {max(0, room.memory_mb):,.0f} MB for pods.",
            f"Less memory, or a larger scale.clients.node than {node}.",
        )
    else:
        yield Fault(
            "scale.clients.node",
            f"a consumer wants {fleet.cores:g} core, and {node} has {room.cores:.2f} for pods.",
            "A larger node.",
        )


def _memory_at_work(profile: Profile, fleet: Fleet) -> Iterator[Fault]:
    """At the peak one commit is under way and another fills: that must not be pressure."""
    consumer, soft = profile.consumer, profile.degradation.levels[1]
    rows = fleet.busiest_rate * fleet.interval_s
    used_mb = memory_mb_with(consumer, rows, rows) - consumer.dedup.budget_mb
    room_mb = consumer.memory_limit_mb - consumer.dedup.budget_mb
    if used_mb > soft.memory * room_mb:
        yield Fault(
            "consumer.memory_limit_mb",
            f"at the peak {rows:,.0f} rows come between two commits, with which a consumer takes {used_mb:,.0f} MB: "
            f"more than {soft.memory:.0%} of the {room_mb:,} MB beside deduplication, where {soft.name} begins.",
            f"At least {math.ceil(used_mb / soft.memory) + consumer.dedup.budget_mb:,}, or a shorter interval.",
        )


def _commits(profile: Profile, fleet: Fleet) -> Iterator[Fault]:
    """One table head, memory until a commit is due, and what retention leaves."""
    consumer = profile.consumer
    if fleet.interval_s < fleet.swap_s:
        full, least_s = fleet.interval_s < consumer.commit_interval_s, least_interval_s(fleet.count)
        yield Fault(
            "consumer.commit_rows" if full else "consumer.commit_interval_s",
            f"{fleet.count} consumers would each commit every {fleet.interval_s:.2g} s"
            f"{', when commit_rows are together' if full else ''}, and one table takes a commit every "
            f"{fleet.swap_s:.2g} s.",
            f"At least {math.ceil(least_s * fleet.busiest_rate):,} rows."
            if full
            else f"At least {math.ceil(least_s * 10) / 10:g} s.",
        )
    waiting = min(consumer.commit_rows, fleet.busiest_rate * consumer.commit_interval_s)
    if consumer.pending_limit_rows < waiting:
        yield Fault(
            "consumer.pending_limit_rows",
            f"at the peak {waiting:,.0f} rows come until a commit is due, and a consumer stops reading before it.",
            f"At least {math.ceil(waiting):,}, or a shorter commit_interval_s.",
        )
    if consumer.commit_interval_s > profile.topic.retention_hours * 3600:
        yield Fault(
            "topic.retention_hours",
            f"Kafka deletes after {profile.topic.retention_hours:g} hours what is committed every "
            f"{consumer.commit_interval_s:g} s.",
            "A longer retention.",
        )


def _reading(profile: Profile, scale: Scale, fleet: Fleet) -> Iterator[Fault]:
    """What lies between two commits, at the peak, against what a query of a symbol reads within its limit."""
    placed, frame = profile.topic.is_placed, profile.load.frame
    rate = scale.workload.average_rate * scale.workload.peak_factor * (fleet.hottest_share if placed else 1)
    every_s = profile.consumer.commit_interval_s
    behind_s = every_s + fleet.commit_s
    records = rate * behind_s / frame
    reads_s = records * (READ_S_PER_RECORD + frame * READ_S_PER_TRADE)
    readable = min(QUERY_LIMIT_S / reads_s, QUERY_LIMIT_RECORDS / records)
    if readable >= 1:
        return
    where = "in the partition of one symbol" if placed else "in the stream"
    interval_s = _interval_with(fleet, behind_s * readable)
    step = f"At most {math.floor(interval_s * 10) / 10:g} s" if interval_s >= fleet.swap_s else "Less load"
    yield Fault(
        "consumer.commit_interval_s",
        f"commits every {every_s:.4g} s leave {rate * behind_s:,.0f} trades {where} at the peak, which take a "
        f"query {reads_s:,.1f} s to read; it has {QUERY_LIMIT_S:g} s and {QUERY_LIMIT_RECORDS:,} records, so no answer "
        "would be complete.",
        f"{step}{'' if placed else ', or topic.placed_by_symbol: true, with which a query reads one partition'}.",
    )


def _interval_with(fleet: Fleet, behind_s: float) -> float:
    """An interval with which no more is behind: writing takes in proportion to it."""
    fixed_s = swap_s(fleet.count, fleet.interval_s)
    growing = 1 + (fleet.commit_s - fixed_s) / fleet.interval_s
    return max(0.0, behind_s - fixed_s) / growing
