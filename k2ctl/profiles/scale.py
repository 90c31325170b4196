"""The section `scale` of a profile: the load that a platform carries and keeps, for `k2ctl cost`.

Kafka's partitions and retention, the number of symbols, trades per record, the commit interval and the dedup window
are not repeated here: they are the ones in `topic`, `market`, `load` and `consumer`, with which the platform runs.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from k2ctl.profiles.section import Amount, Count, Fraction, PositiveFloat, PositiveInt, Section

Ec2Node = Annotated[str, Field(pattern=r"^[cmr][0-9][a-z]*\.([0-9]*x)?large$")]
"""An EC2 type whose vCPUs and memory follow from its name."""


class Workload(Section):
    """How many trades, when, and how large."""

    # Trades per second while the market is open.
    average_rate: PositiveFloat
    # The busiest minutes, over the average.
    peak_factor: Annotated[float, Field(ge=1)]
    peak_hours_per_day: Annotated[float, Field(ge=0, le=24)]
    hours_per_day: Annotated[float, Field(gt=0, le=24)]
    days_per_week: Annotated[int, Field(ge=1, le=7)]
    # Encoded, uncompressed.
    trade_bytes: PositiveFloat
    # Of a Kafka record, which has `load.frame` trades.
    record_overhead_bytes: Amount
    # Uncompressed to compressed bytes.
    wire_ratio: Annotated[float, Field(ge=1)]
    # `trade_bytes` to bytes in Parquet.
    parquet_ratio: Annotated[float, Field(ge=1)]
    # Measured figures, in place of what the ratios give.
    wire_bytes_per_trade: PositiveFloat | None = None
    parquet_bytes_per_trade: PositiveFloat | None = None
    # Part of all trades that is deferred at peaks and read a second time by the backfill.
    shed_share: Fraction = 0.0

    @model_validator(mode="after")
    def _peaks_fit_the_average(self) -> "Workload":
        if self.peak_factor * self.peak_hours_per_day > self.hours_per_day:
            raise ValueError("the peak hours alone are more than the day's average allows")
        return self


class Topology(Section):
    """Kafka: what is rented, or, where brokers is null, what the sizing rules find cheapest."""

    service: Literal["cheapest", "standard", "express"] = "cheapest"
    replication: Annotated[int, Field(ge=1, le=6)]
    zones: Annotated[int, Field(ge=2, le=3)]
    # True if consumers read from the replica in their own zone (client.rack, KIP-392).
    rack_aware: bool
    consumer_groups: Annotated[int, Field(ge=1)]
    # The part of the provisioned disk that retention may take.
    disk_fill: Annotated[float, Field(gt=0, le=1)]
    # These three go together: a cluster that is there, to be checked and priced.
    brokers: PositiveInt | None = None
    instance: str | None = None
    disk_gib_per_broker: PositiveFloat | None = None

    @model_validator(mode="after")
    def _cluster_is_whole(self) -> "Topology":
        if (self.brokers is None) != (self.instance is None):
            raise ValueError("brokers and instance go together: both, or neither for the sizing rules to choose")
        if self.disk_gib_per_broker is not None and self.brokers is None:
            raise ValueError("disk_gib_per_broker needs brokers and instance")
        return self


class Retention(Section):
    """Days in each tier of the lake, one after the other: S3 Standard, infrequent access, Glacier."""

    hot_days: PositiveFloat
    warm_days: Amount
    archive_days: Amount


class Cpu(Section):
    """CPU-seconds per million trades, by role."""

    feed: PositiveFloat
    lake_writer: PositiveFloat
    service: PositiveFloat


class Clients(Section):
    """Feeds, lake writers (consumers) and the service that answers queries, as pods on EC2 nodes."""

    node: Ec2Node
    # How many consumers share the topic; null lets the sizing rules choose.
    consumers: PositiveInt | None = None
    cpu_s_per_million: Cpu
    # How busy they are at the average rate.
    cpu_target: Annotated[float, Field(gt=0, le=1)]
    # Room for the pods of a node that is drained or lost, so that no disruption budget waits for a machine.
    spare_nodes: Count = 0


class State(Section):
    """Sequence state and the recent exact tier of the deduplication, in Valkey."""

    # `intervals` and `bloom` are in the consumers' memory, `redis_keys` keeps an id per trade for the whole window.
    dedup: Literal["intervals", "bloom", "redis_keys"]
    # How long whole ids are kept.
    exact_window_s: Amount
    bytes_per_id: PositiveFloat
    bytes_per_symbol: PositiveFloat
    # Per shard, besides the primary.
    replicas: Count
    # These two go together; null lets the sizing rules choose.
    shards: PositiveInt | None = None
    node: str | None = None

    @model_validator(mode="after")
    def _shards_have_a_node(self) -> "State":
        if (self.shards is None) != (self.node is None):
            raise ValueError("shards and node go together: both, or neither for the sizing rules to choose")
        return self


class CompactionScale(Section):
    """How the lake's files are written and merged."""

    # What merges the files of an hour: a consumer, or Spark once the hour is closed.
    engine: Literal["built-in", "spark"] = "built-in"
    # Of a multipart upload.
    part_mib: PositiveFloat
    # How often a row is written again.
    rewrites: Amount
    # Parquet read, sorted and written again.
    mib_s_per_vcpu: PositiveFloat


class Catalog(Section):
    """PostgreSQL for the Iceberg catalog: the cheapest class with this much memory; and what answers before it."""

    memory_gib: PositiveFloat
    disk_gib: PositiveFloat
    multi_az: bool
    # Nodes of a REST catalog, which keeps its tables in that PostgreSQL; 0: k2ctl asks PostgreSQL itself.
    rest_nodes: Count = 0
    rest_node: Ec2Node = "c7g.large"


class QueryScale(Section):
    """The queries of the lake; they do not follow from messages per second."""

    # `cheapest` is Athena until Trino nodes that always run are cheaper.
    engine: Literal["cheapest", "athena", "trino"]
    queries_per_month: Amount
    scanned_mib_per_query: Amount
    trino_nodes: PositiveInt
    trino_node: Ec2Node
    trino_disk_gib_per_node: Amount


class PlatformScale(Section):
    """Kubernetes, network and traffic to the internet."""

    clusters: Count
    nat_gateways: Count
    load_balancers: Count
    interface_endpoints: Count
    internet_out_gib_per_month: Amount


class Observability(Section):
    """Metrics, logs and dashboards."""

    series: Count
    scrape_s: PositiveFloat
    log_gib_per_month: Amount
    grafana_editors: Count
    grafana_viewers: Count


class Terms(Section):
    """Commitment and support."""

    commitment: Literal["none", "1y_no_upfront"]
    support: Literal["none", "business_plus"]


class Scale(Section):
    """The workload and what it runs on, for sizing and pricing."""

    workload: Workload
    topology: Topology
    retention: Retention
    clients: Clients
    state: State
    compaction: CompactionScale
    catalog: Catalog
    query: QueryScale
    platform: PlatformScale
    observability: Observability
    terms: Terms
