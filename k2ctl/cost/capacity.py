"""What rented machines carry: throughput, partitions, memory. Figures of AWS, with their sources."""

from collections.abc import Mapping
from typing import Final, NamedTuple

GIB: Final = 2**30
MIB: Final = 2**20
HOURS_PER_MONTH: Final = 730
SECONDS_PER_MONTH: Final = HOURS_PER_MONTH * 3600
DAYS_PER_MONTH: Final = HOURS_PER_MONTH / 24


class StandardBroker(NamedTuple):
    """An MSK Standard broker: EBS and network MiB/s, partitions (with replicas) recommended and at the most."""

    disk_mib_s: float
    network_mib_s: float
    partitions: int
    partitions_most: int


class ExpressBroker(NamedTuple):
    """An MSK Express broker: sustained MiB/s in and out, partitions recommended and at the most."""

    in_mib_s: float
    out_mib_s: float
    partitions: int
    partitions_most: int


STANDARD: Final[Mapping[str, StandardBroker]] = {
    "kafka.m5.large": StandardBroker(81.0, 96, 1000, 1500),
    "kafka.m5.xlarge": StandardBroker(144.0, 160, 1000, 1500),
    "kafka.m5.2xlarge": StandardBroker(250.0, 320, 2000, 3000),
    "kafka.m5.4xlarge": StandardBroker(593.75, 640, 4000, 6000),
    "kafka.m7g.large": StandardBroker(78.75, 117, 1000, 1500),
    "kafka.m7g.xlarge": StandardBroker(156.25, 234, 1000, 1500),
    "kafka.m7g.2xlarge": StandardBroker(312.5, 469, 2000, 3000),
    "kafka.m7g.4xlarge": StandardBroker(625.0, 937, 4000, 6000),
    "kafka.m7g.8xlarge": StandardBroker(1000.0, 1875, 4000, 6000),
    "kafka.m7g.16xlarge": StandardBroker(1000.0, 3750, 4000, 6000),
}
"""Hardware from AWS's sizing script (msk_sizing.py, 2026-06-23); partitions from the MSK best practices."""

EXPRESS: Final[Mapping[str, ExpressBroker]] = {
    "express.m7g.large": ExpressBroker(15.6, 31.2, 1000, 1500),
    "express.m7g.xlarge": ExpressBroker(31.2, 62.5, 1000, 2000),
    "express.m7g.2xlarge": ExpressBroker(62.5, 125.0, 2500, 4000),
    "express.m7g.4xlarge": ExpressBroker(124.9, 249.8, 6000, 8000),
    "express.m7g.8xlarge": ExpressBroker(250.0, 500.0, 12000, 16000),
    "express.m7g.12xlarge": ExpressBroker(375.0, 750.0, 16000, 24000),
    "express.m7g.16xlarge": ExpressBroker(500.0, 1000.0, 20000, 32000),
}
"""MSK best practices for Express brokers, and its quotas."""

USED_SHARE_STANDARD: Final = 0.5
USED_SHARE_EXPRESS: Final = 0.75
EXPRESS_OUT_PER_IN: Final = 2.5
EXPRESS_COPIES: Final = 3
BROKERS_MOST: Final = 60
BROKER_DISK_GIB_MOST: Final = 16384
EXPRESS_PARTITION_MB_S_MOST: Final = 15
"""AWS's script plans half of a Standard broker, three quarters of an Express one; the rest are MSK quotas (KRaft)."""

VALKEY_MEMORY_GIB: Final[Mapping[str, float]] = {
    "cache.r7g.large": 13.07,
    "cache.r7g.xlarge": 26.32,
    "cache.r7g.2xlarge": 52.82,
    "cache.r7g.4xlarge": 105.81,
    "cache.r7g.8xlarge": 209.55,
}
VALKEY_USABLE: Final = 0.75
"""ElastiCache: maxmemory by node, a quarter of it reserved for snapshots and failover."""

RDS_MEMORY_GIB: Final[Mapping[str, float]] = {
    "db.t4g.micro": 1, "db.t4g.small": 2, "db.t4g.medium": 4, "db.t4g.large": 8,
    "db.m6g.large": 8, "db.m7g.large": 8, "db.m7g.xlarge": 16, "db.m7g.2xlarge": 32,
    "db.r6g.large": 16, "db.r6g.xlarge": 32, "db.r6g.2xlarge": 64,
    "db.r7g.large": 16, "db.r7g.xlarge": 32, "db.r7g.2xlarge": 64,
}  # fmt: skip
"""RDS instance classes; memory in GiB."""

BLOOM_BITS_PER_ID: Final = 15.8
"""Bloom chunks at 0.05 % false positives: a billion ids in 1.98 GB, measured."""

REDIS_KEY_BYTES: Final = 131
"""A message id as a Redis key with an expiry: 36 bytes of text, the rest headers and dictionary entries; estimated."""

READ_S_PER_TRADE: Final = 0.48e-6
READ_S_PER_RECORD: Final = 1.2e-6
"""Kafka to memory: 2.05 M trades/s at a hundred a record and 0.59 M/s at one, measured (k2ctl/checks/README.md)."""

QUERY_LIMIT_S: Final = 5.0
QUERY_LIMIT_RECORDS: Final = 500_000
"""What the service reads of Kafka for one answer; `k2ctl query` reads four times as much."""

METADATA_OBJECTS_PER_COMMIT: Final = 4
"""Manifests, manifest list and metadata.json of an Iceberg append (AWS's guide to Flink and Iceberg)."""

SAMPLE_BYTES: Final = 2
"""A Prometheus sample on disk, one to two bytes after compression (Prometheus documentation)."""
