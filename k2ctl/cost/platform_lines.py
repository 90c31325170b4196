"""Costs of Kafka and transfer, clients and state, and of the infrastructure that all share."""

import math
from collections.abc import Iterator, Sequence

from k2ctl.cost.capacity import GIB, HOURS_PER_MONTH, SAMPLE_BYTES, SECONDS_PER_MONTH
from k2ctl.cost.kafka import KafkaPlan
from k2ctl.cost.lines import ASSUMED, BY_RULE, METERED, PLANNED, PRICE_SPREAD, Line, LinePlan, rate_text
from k2ctl.cost.price_book import Kind, Price, Quantity
from k2ctl.cost.volumes import days_held
from k2ctl.profiles.nodes import vcpus

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
    """Feeds, consumers and the service, as pods; and the nodes that are spare."""
    clients, fleet = plan.scale.clients, plan.sizing.fleet
    cpu_s, cores = dict(clients.cpu_s_per_million), f"{fleet.room.cores:.2f} of {vcpus(clients.node)} vCPU"
    for role in plan.sizing.clients:
        formula = f"rate × {cpu_s[role.role]:g} CPU-seconds a million × headroom = {role.vcpus:,.1f} vCPU, {cores}"
        if role.role == "lake_writer":
            formula = (
                f"{fleet.count} consumers, of which the busiest gets {fleet.busiest_rate:,.0f} trades/s at peak and "
                f"takes {fleet.capacity_rate:,.0f}/s ({cpu_s[role.role]:g} CPU-seconds a million); {fleet.per_node} of "
                f"{fleet.cores:g} core and {fleet.memory_mb:,} MB on the {cores} and {fleet.room.memory_mb:,.0f} MB"
            )
        yield _client_line(plan, role.role, role.nodes, f"for the {role.role.replace('_', ' ')}", formula)
    if clients.spare_nodes:
        formula = "room for the pods of a node that is drained or lost"
        yield _client_line(plan, "spare", clients.spare_nodes, "spare", formula)


def _client_line(plan: LinePlan, name: str, nodes: int, what: str, formula: str) -> Line:
    node = plan.scale.clients.node
    left = " a node, less what Kubernetes takes" if name != "spare" else ""
    return plan.line(
        f"clients.{name}",
        f"{nodes} × {node} {what}",
        Quantity(nodes * H, "node-hour"),
        "ec2",
        f"{formula}{left}; nodes × hours × price",
        f"{nodes} nodes × {H} h",
        ASSUMED,
        item=node,
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


H = HOURS_PER_MONTH
METRICS_MONTHS = 5
"""Amazon Managed Prometheus keeps samples for 150 days unless it is configured otherwise."""


def platform_lines(plan: LinePlan) -> Iterator[Line]:
    """What costs the same whatever the load is."""
    platform, zones = plan.scale.platform, plan.scale.topology.zones
    yield _hourly(plan, "platform.kubernetes", platform.clusters, "EKS cluster", "cluster-hour", "eks_cluster")
    yield _hourly(plan, "platform.nat", platform.nat_gateways, "NAT gateway", "gateway-hour", "nat_gateway")
    yield _hourly(
        plan, "platform.load_balancers", platform.load_balancers, "load balancer", "balancer-hour", "load_balancer"
    )
    if platform.interface_endpoints:
        count = platform.interface_endpoints * zones
        yield _hourly(plan, "platform.endpoints", count, "interface endpoint", "endpoint-hour", "interface_endpoint")


def _hourly(plan: LinePlan, name: str, count: int, what: str, unit: str, kind: Kind) -> Line:
    plural = "" if count == 1 else "s"
    return plan.line(
        name,
        f"{count} {what}{plural}",
        Quantity(count * H, unit),
        kind,
        f"{what}s × hours × price",
        f"{count} × {H} h",
        PLANNED,
    )


def internet_lines(plan: LinePlan) -> Iterator[Line]:
    """Traffic to the internet."""
    gib = plan.scale.platform.internet_out_gib_per_month
    yield plan.line(
        "internet.out",
        f"{gib:,.0f} GiB to the internet",
        Quantity(gib, "GiB"),
        "internet_out",
        "GiB that leave × price by tier, the first 100 free",
        f"{gib:,.0f} GiB",
        ASSUMED,
    )


def observability_lines(plan: LinePlan) -> Iterator[Line]:
    """Metrics, dashboards, logs."""
    seen = plan.scale.observability
    samples = seen.series * SECONDS_PER_MONTH / seen.scrape_s
    stored_gib = samples * SAMPLE_BYTES * METRICS_MONTHS / GIB
    yield plan.line(
        "observability.metrics",
        f"{samples / 1e9:,.2f} G samples of {seen.series:,} series",
        Quantity(samples / 1e7, "10M samples"),
        "metrics_ingest",
        "series × seconds a month / scrape interval × price by tier",
        f"{seen.series:,} × {SECONDS_PER_MONTH:,} s / {seen.scrape_s:g} s / 10 M",
        ASSUMED,
    )
    rest: tuple[tuple[str, str, Quantity, Kind], ...] = (
        ("metrics_storage", f"{stored_gib:,.1f} GiB of samples", Quantity(stored_gib, "GiB-month"), "metrics_storage"),
        ("editors", f"{seen.grafana_editors} Grafana editors", _users(seen.grafana_editors), "grafana_editor"),
        ("viewers", f"{seen.grafana_viewers} Grafana viewers", _users(seen.grafana_viewers), "grafana_viewer"),
        ("logs", f"{seen.log_gib_per_month:g} GiB of logs", Quantity(seen.log_gib_per_month, "GiB"), "logs_ingest"),
        (
            "logs_storage",
            f"{seen.log_gib_per_month:g} GiB of logs kept for a month",
            Quantity(seen.log_gib_per_month, "GiB-month"),
            "logs_storage",
        ),
    )
    for name, title, quantity, kind in rest:
        words = f"{quantity.unit}s × price"
        yield plan.line(
            f"observability.{name}", title, quantity, kind, words, f"{quantity.value:,.6g} {quantity.unit}", ASSUMED
        )


def _users(count: int) -> Quantity:
    return Quantity(float(count), "user-month")


def support_line(plan: LinePlan, others: Sequence[Line]) -> Iterator[Line]:
    """A share of everything else, by tier, and a minimum."""
    if plan.scale.terms.support == "none":
        return
    price, least = plan.book.price("support"), plan.book.price("support_minimum")
    bill = math.fsum(line.monthly_usd or 0.0 for line in others)
    amount, known = _support_usd(bill, price, least)
    low, _ = _support_usd(math.fsum(line.low_usd for line in others), price, least)
    high, _ = _support_usd(math.fsum(line.high_usd for line in others), price, least)
    off = PRICE_SPREAD[price.confidence]
    yield Line(
        name="support.plan",
        component="Support",
        title="Business Support+",
        quantity=bill,
        unit=price.unit,
        unit_price=amount / bill if bill and known else None,
        monthly_usd=amount if known else None,
        low_usd=low * (1 - off),
        high_usd=high * (1 + off),
        complete=known and all(line.complete for line in others),
        words="the sum of the other lines × percentage by tier, or the minimum",
        numbers=f"${bill:,.2f} × {rate_text(price)}, at least ${least.rate or 0:g}",
        sources=price.sources,
        date=price.date,
        confidence=price.confidence,
        note=price.note,
    )


def _support_usd(bill: float, price: Price, least: Price) -> tuple[float, bool]:
    amount, known = price.times(Quantity(bill, price.unit))
    return max(amount, least.rate or 0.0), known and least.rate is not None
