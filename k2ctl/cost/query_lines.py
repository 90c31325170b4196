"""Query costs: Athena by the scan, or Trino nodes that always run."""

from collections.abc import Iterator

from k2ctl.cost.capacity import HOURS_PER_MONTH, MIB
from k2ctl.cost.lines import ASSUMED, Line, LinePlan
from k2ctl.cost.price_book import Quantity

H = HOURS_PER_MONTH
ATHENA_LEAST_BYTES = 10_000_000
"""Athena bills 10 MB a query at the least."""


def query_lines(plan: LinePlan) -> Iterator[Line]:
    """Athena by what is scanned, or Trino nodes that always run; either reads its bytes from S3 in GETs."""
    query = plan.scale.query
    athena = _athena(plan)
    trino = list(_trino(plan))
    engine = query.engine
    if engine == "cheapest":
        engine = "athena" if _athena_is_cheaper(plan) else "trino"
    yield from [athena] if engine == "athena" else trino
    gets = query.queries_per_month * query.scanned_mib_per_query / plan.scale.compaction.part_mib
    yield plan.line(
        "query.gets",
        f"{gets / 1e6:,.2f} M GETs of the queries",
        Quantity(gets / 1000, "1k requests"),
        "s3_get",
        f"MiB scanned / {plan.scale.compaction.part_mib:g} × price of a GET",
        f"{gets:,.0f} / 1,000",
        ASSUMED,
    )


def _scanned_tib(plan: LinePlan) -> float:
    query = plan.scale.query
    per_query = max(query.scanned_mib_per_query * MIB, ATHENA_LEAST_BYTES)
    return query.queries_per_month * per_query / 2**40


def _athena_is_cheaper(plan: LinePlan) -> bool:
    """By list prices, of the reference region where this one has none, so that a missing price never wins."""
    query, book = plan.scale.query, plan.book
    node_usd = H * (book.ranking("ec2", query.trino_node) or 0.0)
    disk_usd = query.trino_disk_gib_per_node * (book.ranking("ebs_gp3") or 0.0)
    return _scanned_tib(plan) * (book.ranking("athena") or 0.0) <= query.trino_nodes * (node_usd + disk_usd)


def _athena(plan: LinePlan) -> Line:
    query = plan.scale.query
    return plan.line(
        "query.athena",
        f"{query.queries_per_month:,.0f} queries, {_scanned_tib(plan):,.2f} TiB",
        Quantity(_scanned_tib(plan), "TiB"),
        "athena",
        "queries × what each scans, 10 MB at the least, × price of a TiB",
        f"{query.queries_per_month:,.0f} × {query.scanned_mib_per_query:,g} MiB",
        ASSUMED,
    )


def _trino(plan: LinePlan) -> Iterator[Line]:
    query = plan.scale.query
    yield plan.line(
        "query.trino",
        f"{query.trino_nodes} × {query.trino_node}, Trino",
        Quantity(query.trino_nodes * H, "node-hour"),
        "ec2",
        "nodes × hours × price of a node-hour",
        f"{query.trino_nodes} nodes × {H} h",
        ASSUMED,
        item=query.trino_node,
        committed="discount_ec2",
    )
    disk_gib = query.trino_nodes * query.trino_disk_gib_per_node
    yield plan.line(
        "query.trino_disk",
        f"{disk_gib:,.0f} GiB of gp3",
        Quantity(disk_gib, "GiB-month"),
        "ebs_gp3",
        "nodes × GiB × price",
        f"{query.trino_nodes} × {query.trino_disk_gib_per_node:g} GiB",
        ASSUMED,
    )
