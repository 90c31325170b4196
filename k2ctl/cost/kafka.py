"""How many Kafka brokers, of which kind: throughput, partitions and disk decide, then the price."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from k2ctl.cost.capacity import (
    BROKER_DISK_GIB_MOST,
    BROKERS_MOST,
    EXPRESS,
    EXPRESS_COPIES,
    EXPRESS_OUT_PER_IN,
    EXPRESS_PARTITION_MB_S_MOST,
    GIB,
    HOURS_PER_MONTH,
    MIB,
    STANDARD,
    USED_SHARE_EXPRESS,
    USED_SHARE_STANDARD,
    ExpressBroker,
    StandardBroker,
)
from k2ctl.cost.price_book import PriceBook
from k2ctl.cost.volumes import Volumes
from k2ctl.profiles.model import Profile
from k2ctl.profiles.scale import Scale, Topology


@dataclass(frozen=True)
class KafkaPlan:
    """A cluster."""

    service: Literal["standard", "express"]
    instance: str
    brokers: int
    # Billed GiB-months.
    storage_gib: float
    # What a broker is planned to take in.
    in_mib_s: float
    # What decided the number of brokers.
    limited_by: str


@dataclass(frozen=True)
class Demand:
    """What the brokers are asked for, from the profile."""

    topology: Topology
    volumes: Volumes
    partitions: int
    retention_hours: float

    @property
    def stored_gib(self) -> float:
        """All copies of what retention keeps."""
        return self.volumes.kafka_gib * self.topology.replication

    @property
    def copies_of_partitions(self) -> int:
        """Partitions times replication."""
        return self.partitions * self.topology.replication


def demand_of(profile: Profile, scale: Scale, volumes: Volumes) -> Demand:
    """The demand on Kafka that a profile makes."""
    return Demand(scale.topology, volumes, profile.topic.partitions, profile.topic.retention_hours)


def cheapest_cluster(demand: Demand, book: PriceBook) -> tuple[KafkaPlan | None, list[str]]:
    """The cheapest cluster that carries the demand; or None, and why there is none."""
    fits = [plan for plan in _candidates(demand) if plan.brokers <= BROKERS_MOST]
    if not fits:
        return None, [_none_fits(demand)]
    return min(fits, key=lambda plan: _rank(plan, demand, book)), []


def standard_in_mib_s(broker: StandardBroker, topology: Topology) -> float:
    """What a Standard broker takes in: min(EBS / 6.5, network / (1.5 × groups + 5.7)) × 50 % (AWS's sizing script).

    The script's divisors are for three copies; more copies take in proportion, fewer are not credited.
    """
    network = broker.network_mib_s / (1.5 * topology.consumer_groups + 5.7)
    return min(broker.disk_mib_s / 6.5, network) * USED_SHARE_STANDARD / max(1.0, topology.replication / 3)


def _candidates(demand: Demand) -> Iterator[KafkaPlan]:
    topology = demand.topology
    if topology.service != "express":
        for instance in STANDARD:
            yield standard_plan(demand, instance)
    if topology.service != "standard" and topology.zones == 3 and topology.replication <= EXPRESS_COPIES:
        for instance in EXPRESS:
            yield express_plan(demand, instance)


def standard_plan(demand: Demand, instance: str) -> KafkaPlan:
    """Standard brokers of one type, as many as the demand needs; disk for all copies at the fill that is planned."""
    broker, topology = STANDARD[instance], demand.topology
    in_mib_s = standard_in_mib_s(broker, topology)
    disk_gib = demand.stored_gib / topology.disk_fill
    needs = {
        "throughput": demand.volumes.peak_mib_s / in_mib_s,
        "partitions": demand.copies_of_partitions / broker.partitions,
        "disk": disk_gib / BROKER_DISK_GIB_MOST,
    }
    return KafkaPlan("standard", instance, *_brokers(needs, topology, disk_gib, in_mib_s))


def express_plan(demand: Demand, instance: str) -> KafkaPlan:
    """Express brokers of one type, as many as the demand needs; they bill one logical copy."""
    broker, topology = EXPRESS[instance], demand.topology
    in_mib_s = express_in_mib_s(broker, topology)
    needs = {
        "throughput": demand.volumes.peak_mib_s / in_mib_s,
        "partitions": demand.partitions * EXPRESS_COPIES / broker.partitions,
    }
    return KafkaPlan("express", instance, *_brokers(needs, topology, demand.volumes.kafka_gib, in_mib_s))


def express_in_mib_s(broker: ExpressBroker, topology: Topology) -> float:
    """What an Express broker takes in: 75 % of its sustained rate, 2.5 times that going out to the groups."""
    taken = broker.in_mib_s * USED_SHARE_EXPRESS
    return min(taken, EXPRESS_OUT_PER_IN * taken / topology.consumer_groups)


def _brokers(
    needs: dict[str, float], topology: Topology, storage_gib: float, in_mib_s: float
) -> tuple[int, float, float, str]:
    """Whole brokers in multiples of the zones, and at least as many as there are copies."""
    needs = {**needs, "copies": float(topology.replication)}
    most = max(needs, key=lambda name: needs[name])
    count = max(1, math.ceil(needs[most] / topology.zones - 1e-9)) * topology.zones
    return count, storage_gib, in_mib_s, "one broker in every zone" if needs[most] <= topology.zones else most


def _rank(plan: KafkaPlan, demand: Demand, book: PriceBook) -> float:
    """US dollars a month of what the choice decides: brokers, storage, and Express's charge for data written."""
    broker = book.ranking("msk_broker", plan.instance)
    if broker is None:
        return math.inf
    data_in = demand.volumes.ingress_gib * (book.ranking("msk_express_data_in") or 0.0)
    storage = plan.storage_gib * (book.ranking("msk_storage") or 0.0)
    total = plan.brokers * HOURS_PER_MONTH * broker + storage + (data_in if plan.service == "express" else 0.0)
    return round(total, 4)  # so that types that cost the same are equal, and the smaller one is taken


def _none_fits(demand: Demand) -> str:
    topology = demand.topology
    kinds = "broker" if topology.service == "cheapest" else f"{topology.service} broker"
    return (
        f"No {kinds} type carries {demand.volumes.peak_mib_s:,.0f} MiB/s at peak, {demand.copies_of_partitions:,} "
        f"copies of partitions and {demand.stored_gib:,.0f} GiB in {BROKERS_MOST} brokers, the quota of a cluster."
    )


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
