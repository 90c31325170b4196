"""Storage costs: the lake by tier, its requests and maintenance, the catalog; and the queries that read it."""

from collections.abc import Iterator

from k2ctl.cost.capacity import DAYS_PER_MONTH, GIB, HOURS_PER_MONTH, METADATA_OBJECTS_PER_COMMIT, MIB
from k2ctl.cost.lines import ASSUMED, BY_RULE, PLANNED, Line, LinePlan
from k2ctl.cost.price_book import Kind, Quantity
from k2ctl.cost.volumes import days_held, days_moved
from k2ctl.profiles.nodes import vcpus

H = HOURS_PER_MONTH
TARGET_FILE_MIB = 512
"""What compaction makes of an hour: Iceberg's write.target-file-size-bytes. Objects of this size move between tiers."""


def lake_lines(plan: LinePlan) -> Iterator[Line]:
    """Storage by tier, objects that move between them, requests, maintenance."""
    retention = plan.scale.retention
    yield _stored(plan, "lake.hot", "S3 Standard", "s3_standard", 0.0, retention.hot_days)
    if retention.warm_days:
        yield from _warm(plan, retention.hot_days, retention.warm_days)
    if retention.archive_days:
        yield from _archive(plan, retention.hot_days + retention.warm_days, retention.archive_days)
    yield from _requests(plan)
    yield _maintenance(plan)


def _stored(plan: LinePlan, name: str, where: str, kind: Kind, from_day: float, days: float) -> Line:
    per_day_gib = plan.sizing.volumes.parquet_gib / DAYS_PER_MONTH
    held_days = days_held(from_day, days, plan.month)
    gib = per_day_gib * held_days
    return plan.line(
        name,
        f"{days:g} days in {where}, {gib:,.0f} GiB",
        Quantity(gib, "GiB-month"),
        kind,
        "trades a day × Parquet bytes a trade × days kept, averaged over the month",
        f"{per_day_gib:,.2f} GiB a day × {held_days:,.1f} days",
        ASSUMED,
    )


def _objects(plan: LinePlan, days: float) -> float:
    return plan.sizing.volumes.parquet_gib / DAYS_PER_MONTH * days * GIB / MIB / TARGET_FILE_MIB


def _warm(plan: LinePlan, from_day: float, days: float) -> Iterator[Line]:
    yield _stored(plan, "lake.warm", "infrequent access", "s3_warm", from_day, days)
    watched = _objects(plan, days_held(from_day, days, plan.month)) / 1000
    yield plan.line(
        "lake.warm_monitoring",
        f"{watched * 1000:,.0f} objects watched",
        Quantity(watched, "1k objects-month"),
        "s3_warm_monitoring",
        f"objects of {TARGET_FILE_MIB} MiB in the tier × monitoring",
        f"{watched:,.3f} thousand objects",
        ASSUMED,
    )
    yield _moves(plan, "lake.to_warm", "s3_to_warm", from_day)


def _archive(plan: LinePlan, from_day: float, days: float) -> Iterator[Line]:
    yield _stored(plan, "lake.archive", "Glacier", "s3_archive", from_day, days)
    yield _moves(plan, "lake.to_archive", "s3_to_archive", from_day)


def _moves(plan: LinePlan, name: str, kind: Kind, from_day: float) -> Line:
    moved = _objects(plan, days_moved(from_day, plan.month)) / 1000
    return plan.line(
        name,
        f"{moved * 1000:,.0f} objects moved there",
        Quantity(moved, "1k requests"),
        kind,
        f"objects of {TARGET_FILE_MIB} MiB that reach the tier's age × price of a transition",
        f"{moved:,.3f} thousand objects",
        ASSUMED,
    )


def _requests(plan: LinePlan) -> Iterator[Line]:
    """A PUT per part and file, once when written and once more per rewrite, and four per commit of the table."""
    volumes, files, compaction = plan.sizing.volumes, plan.sizing.files, plan.scale.compaction
    parts = volumes.parquet_gib * GIB / MIB / compaction.part_mib
    puts = parts * (1 + compaction.rewrites) + files.files + files.commits * METADATA_OBJECTS_PER_COMMIT
    yield plan.line(
        "lake.puts",
        f"{puts / 1e6:,.2f} M PUTs, {files.writers} writers every {files.interval_s:.4g} s",
        Quantity(puts / 1000, "1k requests"),
        "s3_put",
        f"parts of {compaction.part_mib:g} MiB × (1 + rewrites) + a file of each consumer an interval + commits, of "
        f"several consumers together, × {METADATA_OBJECTS_PER_COMMIT} (manifest, manifest list, metadata, copy of the "
        "offsets)",
        f"({parts:,.0f} × {1 + compaction.rewrites:g} + {files.files:,.0f} + {files.commits:,.0f} × "
        f"{METADATA_OBJECTS_PER_COMMIT}) / 1,000",
        BY_RULE,
    )
    read = parts * compaction.rewrites
    yield plan.line(
        "lake.gets",
        f"{(read + files.commits) / 1e6:,.2f} M GETs of the rewrites and commits",
        Quantity((read + files.commits) / 1000, "1k requests"),
        "s3_get",
        "parts read by the rewrites + the metadata of each commit's base × price of a GET",
        f"({read:,.0f} + {files.commits:,.0f}) / 1,000",
        BY_RULE,
    )


def _maintenance(plan: LinePlan) -> Line:
    """The rewrite of hours, in CPU; expiry, manifests and orphan removal are minutes beside it."""
    compaction, node = plan.scale.compaction, plan.scale.clients.node
    mib = plan.sizing.volumes.parquet_gib * GIB / MIB * compaction.rewrites
    node_hours = mib / compaction.mib_s_per_vcpu / vcpus(node) / 3600
    who = "Spark" if compaction.engine == "spark" else "compaction"
    return plan.line(
        "lake.maintenance",
        f"{node_hours:,.0f} hours of {node} for {who}, {compaction.rewrites:g} rewrite",
        Quantity(node_hours, "node-hour"),
        "ec2",
        f"Parquet MiB × rewrites / ({compaction.mib_s_per_vcpu:g} MiB/s × {vcpus(node)} vCPU, measured on two cores) × "
        "price of a node-hour",
        f"{mib:,.0f} MiB / {compaction.mib_s_per_vcpu * vcpus(node):g} MiB/s / 3,600",
        ASSUMED,
        item=node,
    )


def catalog_lines(plan: LinePlan) -> Iterator[Line]:
    """PostgreSQL for the catalog: one instance, because each table has one current metadata file, and its standby."""
    catalog, instance = plan.scale.catalog, plan.sizing.catalog
    if instance is None:
        return
    instances = 2 if catalog.multi_az else 1
    where = "multi_az" if catalog.multi_az else "single_az"
    yield plan.line(
        "catalog.instances",
        f"{instances} × {instance}",
        Quantity(instances * H, "instance-hour"),
        "rds_postgresql",
        f"the cheapest class with {catalog.memory_gib:g} GiB × hours × price, twice for a standby in another zone",
        f"{instances} × {H} h",
        BY_RULE,
        item=instance,
        committed="discount_rds",
    )
    yield plan.line(
        "catalog.storage",
        f"{catalog.disk_gib:g} GiB",
        Quantity(catalog.disk_gib, "GiB-month"),
        "rds_storage",
        "GiB × price",
        f"{catalog.disk_gib:g} GiB",
        PLANNED,
        item=where,
    )
    if catalog.rest_nodes:
        yield plan.line(
            "catalog.rest",
            f"{catalog.rest_nodes} × {catalog.rest_node}, REST catalog",
            Quantity(catalog.rest_nodes * H, "node-hour"),
            "ec2",
            f"nodes × hours × price; {plan.sizing.files.commits / 1e6:,.2f} M commits a month are one request each, of "
            "some that load the table beside it",
            f"{catalog.rest_nodes} nodes × {H} h",
            ASSUMED,
            item=catalog.rest_node,
            committed="discount_ec2",
        )


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
