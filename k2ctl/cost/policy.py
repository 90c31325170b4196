"""What the degradation policy is worth: enough lake writers for every peak, or fewer that shed and catch up later."""

import math
from dataclasses import dataclass

from k2ctl.cost.capacity import GIB, HOURS_PER_MONTH, MIB
from k2ctl.cost.estimate import scale_of
from k2ctl.cost.price_book import PriceBook, Quantity
from k2ctl.profiles.fleet import fleet_of
from k2ctl.profiles.model import Level, Profile
from k2ctl.profiles.scale import Scale, Workload

BUSY_SHARE = 0.8
"""How busy lake writers may be over the day when peaks are deferred, the catching up included."""
DAYS = HOURS_PER_MONTH / 24


@dataclass(frozen=True)
class PolicyCost:
    """Both ways, in US dollars a month; None is a price that was not found."""

    # Lake writers that process everything at peak, and those of the other way.
    everything_nodes: int
    shedding_nodes: int
    everything_usd: float | None
    shedding_nodes_usd: float | None
    spill_usd: float | None
    reread_usd: float | None
    # The mildest one that defers what the fewer nodes cannot take; None: not even the last one does.
    level: str | None
    # Of the trades at peak.
    deferred_share: float
    # The part of the deferred trades that is spilled; the rest is read again from Kafka.
    spill_share: float
    trades_deferred_per_day: float
    # After the peak; None if never.
    caught_up_hours: float | None
    problem: str

    @property
    def shedding_usd(self) -> float | None:
        """Nodes, spill files and the second reading together."""
        parts = (self.shedding_nodes_usd, self.spill_usd, self.reread_usd)
        return None if None in parts else math.fsum(part or 0.0 for part in parts)

    @property
    def saves_usd(self) -> float | None:
        """What shedding saves against processing everything at peak."""
        together = self.shedding_usd
        return None if together is None or self.everything_usd is None else self.everything_usd - together

    @property
    def worth_it(self) -> bool:
        """It works, and it costs less."""
        return not self.problem and (self.saves_usd or 0.0) > 0


def policy_cost(profile: Profile, book: PriceBook) -> PolicyCost:
    """The lake writers that the estimate has, which carry the peak, against enough for the average at 80 % busy.

    Kafka takes the peak either way; feeds and the service are the same.
    """
    scale = scale_of(profile)
    workload = scale.workload
    cpu_s = scale.clients.cpu_s_per_million.lake_writer / 1e6
    peak_rate = workload.average_rate * workload.peak_factor
    fleet = fleet_of(profile, scale)
    everything = fleet.nodes
    consumers = max(1, math.ceil(workload.average_rate * cpu_s / BUSY_SHARE / fleet.cores - 1e-9))
    shedding = math.ceil(consumers / fleet.per_node)
    capacity_rate = consumers * fleet.cores / cpu_s
    share = _deferred_share(workload, capacity_rate)
    deferred = share * peak_rate * workload.peak_hours_per_day * 3600
    level, spill_share = _level_for(profile, share)
    hours = _hours_to_catch_up(scale, capacity_rate, deferred)
    return PolicyCost(
        everything_nodes=everything,
        shedding_nodes=shedding,
        everything_usd=_nodes_usd(scale, book, everything),
        shedding_nodes_usd=_nodes_usd(scale, book, shedding),
        spill_usd=_spill_usd(scale, book, deferred * spill_share, hours or 0.0),
        reread_usd=_reread_usd(scale, book, deferred * (1 - spill_share)),
        level=level,
        deferred_share=share,
        spill_share=spill_share,
        trades_deferred_per_day=deferred,
        caught_up_hours=hours,
        problem=_problem(profile, level, share, hours),
    )


def _deferred_share(workload: Workload, capacity_rate: float) -> float:
    """Of the trades at peak: what exceeds the capacity, or what was measured over the day, brought to the peak."""
    peak_share = workload.peak_factor * workload.peak_hours_per_day / workload.hours_per_day
    if not peak_share:
        return 0.0
    if workload.shed_share:
        return min(1.0, workload.shed_share / peak_share)
    return max(0.0, 1 - capacity_rate / (workload.average_rate * workload.peak_factor))


def _nodes_usd(scale: Scale, book: PriceBook, nodes: int) -> float | None:
    rate = book.price("ec2", scale.clients.node).rate
    return None if rate is None else nodes * HOURS_PER_MONTH * rate


def priority_shares(profile: Profile) -> dict[str, float]:
    """Each priority's share of the trades, by Zipf's law over the symbols' ranks, as in the synthetic market."""
    market, tiers = profile.market, profile.market.tiers
    weights = [rank**-market.zipf_exponent for rank in range(1, market.symbols + 1)]
    total, edge = math.fsum(weights), tiers.critical + tiers.high
    low_from = market.symbols - tiers.low
    parts = {
        "CRITICAL": weights[: tiers.critical],
        "HIGH": weights[tiers.critical : edge],
        "NORMAL": weights[edge:low_from],
        "LOW": weights[low_from:],
    }
    return {name: math.fsum(part) / total for name, part in parts.items()}


def _level_for(profile: Profile, share: float) -> tuple[str | None, float]:
    """The mildest level that defers at least `share`, and which part of what it defers it spills."""
    shares = priority_shares(profile)
    spill_share = 0.0
    for level in profile.degradation.levels:
        deferred = {name: part for name, part in shares.items() if _action(level, name) != "process"}
        spilled = math.fsum(part for name, part in deferred.items() if _action(level, name) == "spill")
        spill_share = spilled / math.fsum(deferred.values()) if deferred else 0.0
        if math.fsum(deferred.values()) >= share:
            return level.name, spill_share
    return None, spill_share


def _action(level: Level, priority: str) -> str:
    return str(getattr(level, priority))


def _hours_to_catch_up(scale: Scale, capacity_rate: float, deferred: float) -> float | None:
    """Deferred trades / (capacity − the rate outside the peak); the average of the day is the profile's."""
    workload = scale.workload
    quiet_hours = workload.hours_per_day - workload.peak_hours_per_day
    if not deferred:
        return 0.0
    if not quiet_hours:
        return None
    traded = workload.average_rate * (workload.hours_per_day - workload.peak_factor * workload.peak_hours_per_day)
    spare_rate = capacity_rate - traded / quiet_hours
    return deferred / spare_rate / 3600 if spare_rate > 0 else None


def _spill_usd(scale: Scale, book: PriceBook, trades: float, hours: float) -> float | None:
    """Arrow files: a PUT and a GET per part, and storage from the peak until they are caught up, on every day."""
    gib = trades * scale.workload.trade_bytes / GIB
    parts = gib * GIB / MIB / scale.compaction.part_mib * DAYS / 1000
    stored_gib = gib * hours / 24
    return _sum(
        book.price("s3_put").times(Quantity(parts, "1k requests")),
        book.price("s3_get").times(Quantity(parts, "1k requests")),
        book.price("s3_standard").times(Quantity(stored_gib, "GiB-month")),
    )


def _reread_usd(scale: Scale, book: PriceBook, trades: float) -> float | None:
    """What is read from Kafka a second time crosses zones unless reads are rack-aware."""
    topology = scale.topology
    if topology.rack_aware:
        return 0.0
    wire_bytes = scale.workload.wire_bytes_per_trade or scale.workload.trade_bytes / scale.workload.wire_ratio
    gib = trades * DAYS * wire_bytes / GIB * (topology.zones - 1) / topology.zones
    return _sum(book.price("zone_transfer").times(Quantity(2 * gib, "GiB one way")))


def _sum(*amounts: tuple[float, bool]) -> float | None:
    return math.fsum(usd for usd, _ in amounts) if all(known for _, known in amounts) else None


def _problem(profile: Profile, level: str | None, share: float, hours: float | None) -> str:
    if level is None:
        return f"No level defers {share:.0%} of the trades: CRITICAL is always processed, and the lag would grow."
    if hours is None:
        return "It is never caught up: outside the peak there is no capacity left."
    if hours > profile.topic.retention_hours:
        return f"Caught up after {hours:,.1f} hours, and Kafka keeps {profile.topic.retention_hours:g}."
    return ""
