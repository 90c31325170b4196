"""Kafka and transfer costs: brokers, traffic between zones, clients, state."""

from collections.abc import Iterator

from k2ctl.cost.capacity import HOURS_PER_MONTH, vcpus
from k2ctl.cost.kafka import KafkaPlan
from k2ctl.cost.lines import ASSUMED, BY_RULE, METERED, Line, LinePlan
from k2ctl.cost.price_book import Quantity
from k2ctl.cost.volumes import days_held

H = HOURS_PER_MONTH


def kafka_lines(plan: LinePlan) -> Iterator[Line]:
    """Brokers, storage, Express's charge for data written, and clients' traffic between zones."""
    kafka, ingress_gib = plan.sizing.kafka, plan.sizing.volumes.ingress_gib
    if kafka is None:
        return
    yield plan.line(
        "kafka.brokers",
        f"{kafka.brokers} × {kafka.instance}",
        Quantity(kafka.brokers * H, "broker-hour"),
        "msk_broker",
        f"brokers × hours a month × price of a broker-hour; {kafka.limited_by} decides the number",
        f"{kafka.brokers} brokers × {H} h",
        BY_RULE,
        item=kafka.instance,
    )
    yield _kafka_storage(plan, kafka)
    if kafka.service == "express":
        yield plan.line(
            "kafka.data_in",
            f"{ingress_gib:,.0f} GiB written to Express",
            Quantity(ingress_gib, "GiB"),
            "msk_express_data_in",
            "trades a month × bytes on the wire, once, × price of a GiB written",
            f"{ingress_gib:,.1f} GiB",
            METERED,
        )
    yield from _zone_lines(plan)


def _kafka_storage(plan: LinePlan, kafka: KafkaPlan) -> Line:
    """Standard disks are provisioned from the first day; Express bills what is stored, which grows with retention."""
    topology, hours = plan.scale.topology, plan.profile.topic.retention_hours
    if kafka.service == "standard":
        words = "average rate × bytes × market hours in the retention × copies / fill of the disk"
        numbers = (
            f"{plan.sizing.volumes.kafka_gib:,.1f} GiB × {topology.replication} copies / {topology.disk_fill:g}"
            if topology.disk_gib_per_broker is None
            else f"{kafka.brokers} brokers × {topology.disk_gib_per_broker:,g} GiB"
        )
        gib = kafka.storage_gib
    else:
        full = days_held(0.0, hours / 24, plan.month) / (hours / 24)
        gib = kafka.storage_gib * full
        words = "average rate × bytes × market hours in the retention, one logical copy"
        numbers = f"{gib:,.1f} GiB"
    return plan.line(
        "kafka.storage",
        f"{hours:g} h on {gib:,.0f} GiB",
        Quantity(gib, "GiB-month"),
        "msk_storage",
        words,
        numbers,
        BY_RULE,
    )


def _zone_lines(plan: LinePlan) -> Iterator[Line]:
    """Clients pay both ways for what crosses zones; between MSK brokers it is free."""
    topology, ingress_gib = plan.scale.topology, plan.sizing.volumes.ingress_gib
    crossing = (topology.zones - 1) / topology.zones
    yield plan.line(
        "kafka.producers_cross_zone",
        f"{ingress_gib * crossing:,.0f} GiB from producers across zones",
        Quantity(2 * ingress_gib * crossing, "GiB one way"),
        "zone_transfer",
        "GiB written × share whose leader is in another zone × both sides",
        f"{ingress_gib:,.1f} GiB × {topology.zones - 1}/{topology.zones} × 2 sides",
        METERED,
    )
    # Without rack awareness every group reads from leaders; what was deferred is read a second time by the backfill.
    reads = topology.consumer_groups + plan.scale.workload.shed_share
    crossed_gib = 0.0 if topology.rack_aware else ingress_gib * crossing * reads
    how = "reads stay in their zone" if topology.rack_aware else f"{topology.zones - 1}/{topology.zones} from leaders"
    yield plan.line(
        "kafka.consumers_cross_zone",
        f"{topology.consumer_groups} groups, {how}",
        Quantity(2 * crossed_gib, "GiB one way"),
        "zone_transfer",
        "GiB written × groups × share read from another zone × both sides; nothing with rack-aware reads",
        f"{crossed_gib:,.1f} GiB × 2 sides",
        METERED,
    )


def client_lines(plan: LinePlan) -> Iterator[Line]:
    """Feeds, lake writers and projectors."""
    clients = plan.scale.clients
    cpu_s = dict(clients.cpu_s_per_million)
    for role in plan.sizing.clients:
        per_node = vcpus(clients.node)
        yield plan.line(
            f"clients.{role.role}",
            f"{role.nodes} × {clients.node} for the {role.role.replace('_', ' ')}",
            Quantity(role.nodes * H, "node-hour"),
            "ec2",
            f"rate × {cpu_s[role.role]:g} CPU-seconds a million trades × headroom = {role.vcpus:,.1f} vCPU, "
            f"{per_node} a node; nodes × hours × price",
            f"{role.nodes} nodes × {H} h",
            ASSUMED,
            item=clients.node,
            committed="discount_ec2",
        )


def state_lines(plan: LinePlan) -> Iterator[Line]:
    """Valkey for sequence state and recent ids."""
    state = plan.sizing.state
    if state is None:
        return
    yield plan.line(
        "state.valkey",
        f"{state.nodes} × {state.node}, {state.needed_gib:,.1f} GiB of state",
        Quantity(state.nodes * H, "node-hour"),
        "valkey",
        "(ids kept whole × bytes + symbols × bytes) / 75 % of a node = shards; × (1 + replicas) × hours × price",
        f"{state.nodes} nodes × {H} h",
        ASSUMED,
        item=state.node,
        committed="discount_valkey",
    )
