"""Shared infrastructure costs: Kubernetes, network, observability, support."""

import math
from collections.abc import Iterator, Sequence

from k2ctl.cost.capacity import GIB, HOURS_PER_MONTH, SAMPLE_BYTES, SECONDS_PER_MONTH
from k2ctl.cost.lines import ASSUMED, PLANNED, PRICE_SPREAD, Line, LinePlan, rate_text
from k2ctl.cost.price_book import Kind, Price, Quantity

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
