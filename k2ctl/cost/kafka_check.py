"""Why a Kafka cluster would not carry what it is asked to: each reason a sentence with its figures."""

import math
from collections.abc import Iterator
from dataclasses import replace

from k2ctl.cost.capacity import (
    BROKER_DISK_GIB_MOST,
    BROKERS_MOST,
    EXPRESS,
    EXPRESS_COPIES,
    EXPRESS_PARTITION_MB_S_MOST,
    GIB,
    MIB,
    STANDARD,
)
from k2ctl.cost.kafka import Demand, KafkaPlan, cheapest_cluster, express_plan, standard_plan
from k2ctl.cost.price_book import PriceBook
from k2ctl.profiles.scale import Topology


def plan_kafka(demand: Demand, book: PriceBook) -> tuple[KafkaPlan | None, list[str]]:
    """The cluster that the profile names, or the cheapest that carries the demand; and why it would not, if so."""
    if demand.topology.brokers is not None:
        plan, faults = check_cluster(demand)
    else:
        plan, faults = cheapest_cluster(demand, book)
    return plan, [*faults, *(_partition_faults(plan, demand) if plan else ())]


def check_cluster(demand: Demand) -> tuple[KafkaPlan | None, list[str]]:
    """The cluster that the profile names, and every reason why it does not carry the demand."""
    topology = demand.topology
    instance, brokers = topology.instance or "", topology.brokers or 0
    if instance not in STANDARD and instance not in EXPRESS:
        return None, [f"There is no broker type '{instance}'; there are {', '.join([*STANDARD, *EXPRESS])}."]
    needed = standard_plan(demand, instance) if instance in STANDARD else express_plan(demand, instance)
    storage_gib = needed.storage_gib
    if needed.service == "standard" and topology.disk_gib_per_broker is not None:
        storage_gib = topology.disk_gib_per_broker * brokers
    plan = replace(needed, brokers=brokers, storage_gib=storage_gib, limited_by="the profile")
    return plan, [*_shape_faults(plan, topology), *_load_faults(plan, demand), *_disk_faults(plan, demand)]


def _shape_faults(plan: KafkaPlan, topology: Topology) -> Iterator[str]:
    if plan.brokers % topology.zones:
        yield f"{plan.brokers} brokers do not spread evenly over {topology.zones} zones."
    if plan.brokers > BROKERS_MOST:
        yield f"{plan.brokers} brokers are more than the quota of {BROKERS_MOST}."
    if topology.replication > plan.brokers:
        yield f"{topology.replication} copies need as many brokers, there are {plan.brokers}."
    if plan.service == "express" and (topology.replication > EXPRESS_COPIES or topology.zones != EXPRESS_COPIES):
        yield f"Express brokers keep {EXPRESS_COPIES} copies in {EXPRESS_COPIES} zones, no other way."


def _load_faults(plan: KafkaPlan, demand: Demand) -> Iterator[str]:
    carried = plan.brokers * plan.in_mib_s
    if demand.volumes.peak_mib_s > carried:
        yield (
            f"{plan.brokers} × {plan.instance} take {carried:,.1f} MiB/s, "
            f"the peak is {demand.volumes.peak_mib_s:,.1f} MiB/s."
        )
    copies = demand.partitions * (EXPRESS_COPIES if plan.service == "express" else demand.topology.replication)
    most = (EXPRESS[plan.instance] if plan.service == "express" else STANDARD[plan.instance]).partitions_most
    if copies > most * plan.brokers:
        yield f"{copies:,} copies of partitions on {plan.brokers} brokers: {most:,} are the most on a {plan.instance}."


def _disk_faults(plan: KafkaPlan, demand: Demand) -> Iterator[str]:
    if plan.service == "express":
        return
    per_broker = plan.storage_gib / plan.brokers
    if per_broker > BROKER_DISK_GIB_MOST:
        yield f"{per_broker:,.0f} GiB per broker are more than the quota of {BROKER_DISK_GIB_MOST:,} GiB."
    if demand.stored_gib > plan.storage_gib:
        written_gib_s = demand.volumes.average_mib_s * demand.topology.replication * MIB / GIB
        yield (
            f"{plan.storage_gib:,.0f} GiB of Kafka disk hold {_duration(plan.storage_gib / written_gib_s)} of "
            f"{written_gib_s * GIB / 1e6:,.0f} MB/s written; retention asks for {demand.retention_hours:g} hours, "
            f"{demand.stored_gib:,.0f} GiB, and {demand.stored_gib / demand.topology.disk_fill:,.0f} GiB at "
            f"{demand.topology.disk_fill:.0%} fill."
        )


def _partition_faults(plan: KafkaPlan, demand: Demand) -> Iterator[str]:
    """A partition of an Express cluster that is asked for more than it takes."""
    per_partition_mb_s = demand.volumes.peak_mib_s * MIB / 1e6 / demand.partitions
    if plan.service == "express" and per_partition_mb_s > EXPRESS_PARTITION_MB_S_MOST:
        needed = math.ceil(demand.volumes.peak_mib_s * MIB / 1e6 / EXPRESS_PARTITION_MB_S_MOST)
        yield (
            f"{demand.partitions} partitions take {per_partition_mb_s:,.1f} MB/s each at peak, the limit is "
            f"{EXPRESS_PARTITION_MB_S_MOST} MB/s: at least {needed} partitions are needed."
        )


def _duration(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
