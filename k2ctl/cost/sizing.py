"""What the platform needs besides Kafka: clients, state, catalog, query nodes, files; and what cannot work."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from k2ctl.cost.capacity import (
    BLOOM_BITS_PER_ID,
    GIB,
    RDS_MEMORY_GIB,
    REDIS_KEY_BYTES,
    SECONDS_PER_MONTH,
    VALKEY_MEMORY_GIB,
    VALKEY_USABLE,
)
from k2ctl.cost.fit import faults_of
from k2ctl.cost.kafka import KafkaPlan, demand_of, plan_kafka
from k2ctl.cost.price_book import PriceBook
from k2ctl.cost.volumes import Volumes, open_hours_within, open_share, volumes_of
from k2ctl.profiles.fleet import Fleet, fleet_of
from k2ctl.profiles.model import Profile
from k2ctl.profiles.nodes import memory_gib
from k2ctl.profiles.scale import Scale


@dataclass(frozen=True)
class ClientPlan:
    """Nodes of one role."""

    # feed, lake_writer or service.
    role: str
    # That are needed, before whole nodes.
    vcpus: float
    nodes: int


@dataclass(frozen=True)
class StatePlan:
    """Valkey."""

    # The node's type.
    node: str
    shards: int
    # shards × (1 + replicas).
    nodes: int
    # Data.
    needed_gib: float
    # Of all shards together.
    usable_gib: float


@dataclass(frozen=True)
class FilePlan:
    """What is written to the lake in a month."""

    # Consumers, each of which writes a file an interval.
    writers: int
    interval_s: float
    files: float
    # Of the table: of one consumer, or of several together.
    commits: float


@dataclass(frozen=True)
class Sizing:
    """All that is rented."""

    volumes: Volumes
    # None if no cluster fits.
    kafka: KafkaPlan | None
    clients: tuple[ClientPlan, ...]
    fleet: Fleet
    # None if no node fits.
    state: StatePlan | None
    files: FilePlan
    # The database class; None if none fits.
    catalog: str | None
    # Why it cannot work; empty if it can.
    faults: tuple[str, ...]


def size(profile: Profile, scale: Scale, book: PriceBook) -> Sizing:
    """Size everything by the rules; what is over a limit is a fault, in words."""
    volumes, fleet = volumes_of(profile, scale), fleet_of(profile, scale)
    kafka, kafka_faults = plan_kafka(demand_of(profile, scale, volumes), book)
    clients = client_plans(scale, fleet)
    state, state_faults = plan_state(profile, scale, book)
    catalog = cheapest_catalog(scale, book)
    fit_faults = map(str, faults_of(profile))
    faults = [*kafka_faults, *state_faults, *_dedup_faults(profile, scale, clients), *fit_faults]
    if catalog is None:
        faults.append(f"No PostgreSQL class has {scale.catalog.memory_gib:g} GiB of memory.")
    files = file_plan(scale, fleet, volumes)
    return Sizing(volumes, kafka, clients, fleet, state, files, catalog, tuple(faults))


def client_plans(scale: Scale, fleet: Fleet) -> tuple[ClientPlan, ...]:
    """Consumers as the fleet has them. For the others vCPUs = rate × CPU-seconds per trade × the larger of 1 / target
    and the peak factor, in whole nodes per role, of which the system's part is not theirs.

    So a core is busy by the target at the average rate, and never more than busy at the peak.
    """
    workload, clients = scale.workload, scale.clients
    headroom = max(1 / clients.cpu_target, workload.peak_factor)
    plans = []
    for role, cpu_s in clients.cpu_s_per_million:
        needed = workload.average_rate / 1e6 * cpu_s * headroom
        nodes = max(1, math.ceil(needed / fleet.room.cores - 1e-9))
        if role == "lake_writer":
            needed, nodes = fleet.count * fleet.cores, fleet.nodes
        plans.append(ClientPlan(role, needed, nodes))
    return tuple(plans)


def file_plan(scale: Scale, fleet: Fleet, volumes: Volumes) -> FilePlan:
    """A file of each consumer in each interval; commits of the table, which take the files of several together.

    The interval is that of the peak: on the average, when rows are fewer, it is no shorter.
    """
    open_s = SECONDS_PER_MONTH * open_share(scale.workload)
    files = min(fleet.files_per_s * open_s, volumes.trades)
    return FilePlan(fleet.count, fleet.interval_s, files, min(fleet.commits_per_s * open_s, files))


def state_gib(profile: Profile, scale: Scale) -> float:
    """Symbols × bytes each + the ids that are kept whole: of the exact window, or of the whole window as Redis keys."""
    state, workload = scale.state, scale.workload
    ids_bytes = workload.average_rate * state.exact_window_s * state.bytes_per_id
    if state.dedup == "redis_keys":
        ids_bytes = _ids_in_window(profile, scale) * REDIS_KEY_BYTES
    return (ids_bytes + profile.market.symbols * state.bytes_per_symbol) / GIB


def plan_state(profile: Profile, scale: Scale, book: PriceBook) -> tuple[StatePlan | None, list[str]]:
    """The shards that the profile names, or the cheapest that hold the state in 75 % of their memory."""
    needed_gib, state = state_gib(profile, scale), scale.state
    if state.node is not None and state.node not in VALKEY_MEMORY_GIB:
        return None, [f"There is no Valkey node '{state.node}'; there are {', '.join(VALKEY_MEMORY_GIB)}."]
    plans = []
    for node, memory in VALKEY_MEMORY_GIB.items():
        usable_gib = memory * VALKEY_USABLE
        shards = state.shards or max(1, math.ceil(needed_gib / usable_gib))
        plan = StatePlan(node, shards, shards * (1 + state.replicas), needed_gib, shards * usable_gib)
        if node == state.node:
            return plan, list(_state_faults(plan, scale))
        plans.append(plan)
    return min(plans, key=lambda plan: plan.nodes * (book.ranking("valkey", plan.node) or math.inf)), []


def _state_faults(plan: StatePlan, scale: Scale) -> Iterator[str]:
    if plan.needed_gib > plan.usable_gib:
        why = "every message id of the window as a key" if scale.state.dedup == "redis_keys" else "its ids and symbols"
        yield (
            f"This Redis needs {plan.needed_gib * GIB / 1e9:,.0f} GB for {why}; {plan.shards} × {plan.node} "
            f"hold {plan.usable_gib * GIB / 1e9:,.0f} GB."
        )


def _ids_in_window(profile: Profile, scale: Scale) -> float:
    hours = open_hours_within(scale.workload, profile.consumer.dedup.window_hours)
    return scale.workload.average_rate * hours * 3600


def _dedup_faults(profile: Profile, scale: Scale, clients: tuple[ClientPlan, ...]) -> Iterator[str]:
    """Bloom chunks of the whole window are in the lake writers' memory, half of which is left for batches."""
    if scale.state.dedup != "bloom":
        return
    writer_nodes = next(plan.nodes for plan in clients if plan.role == "lake_writer")
    needed_gib = _ids_in_window(profile, scale) * BLOOM_BITS_PER_ID / 8 / GIB
    held_gib = writer_nodes * memory_gib(scale.clients.node) / 2
    if needed_gib > held_gib:
        yield (
            f"Bloom filters of {profile.consumer.dedup.window_hours:g} hours need {needed_gib:,.0f} GiB; half the "
            f"memory of {writer_nodes} × {scale.clients.node} is {held_gib:,.0f} GiB. Interval sets need a few bytes "
            "a symbol."
        )


def cheapest_catalog(scale: Scale, book: PriceBook) -> str | None:
    """The cheapest PostgreSQL class with the memory that is asked for."""
    fits = [name for name, gib in RDS_MEMORY_GIB.items() if gib >= scale.catalog.memory_gib]
    return min(fits, key=lambda name: book.ranking("rds_postgresql", name) or math.inf, default=None)
