"""Quix Streams, Kafka to Iceberg: ADDRESS TOPIC CATALOG-URI WAREHOUSE STATE COMMIT_S.

Its sink knows AWS Glue as the only catalog; here pyiceberg's SqlCatalog is put in its place, and nothing else is
changed.
"""

import os
import sys
import time
from datetime import datetime

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import HourTransform
from pyiceberg.types import LongType, NestedField, StringType, TimestampType, TimestamptzType
from quixstreams import Application
from quixstreams.sinks.community import iceberg

address, topic_name, uri, warehouse, state, commit_s = sys.argv[1:]
iceberg._import_data_catalog = lambda _: lambda _, **properties: SqlCatalog("peers", **properties)


class Local(iceberg.BaseIcebergConfig):
    """A table on local files."""


TIMES = ("timestamp", "ingestion_timestamp")
COLUMNS = (
    "message_id",
    "trade_id",
    "symbol",
    "exchange",
    "asset_class",
    "timestamp",
    "ingestion_timestamp",
    "price",
    "quantity",
    "currency",
    "side",
    "trade_conditions",
    "source_sequence",
)
KINDS = {
    "trade_id": LongType(),
    "source_sequence": LongType(),
    "timestamp": TimestamptzType(),
    "ingestion_timestamp": TimestamptzType(),
}
schema = Schema(
    NestedField(1, "_timestamp", TimestampType(), required=False),
    NestedField(2, "_key", StringType(), required=False),
    *(NestedField(n, name, KINDS.get(name, StringType()), required=False) for n, name in enumerate(COLUMNS, 3)),
)
sink = iceberg.IcebergSink(
    "bench.trades",
    Local(f"{warehouse}/bench/trades", {"uri": uri, "warehouse": warehouse}),
    "aws_glue",
    schema,
    PartitionSpec(PartitionField(schema.find_field("timestamp").field_id, 1000, HourTransform(), "timestamp_hour")),
)
app = Application(
    broker_address=address,
    consumer_group="peers",
    auto_offset_reset="earliest",
    commit_interval=float(commit_s),
    commit_every=int(os.environ.get("QUIX_COMMIT_EVERY", "0")),
    state_dir=state,
    auto_create_topics=False,
    loglevel="WARNING",
    use_changelog_topics=False,
)


def times(trade: dict) -> dict:
    for name in TIMES:
        trade[name] = datetime.fromisoformat(trade[name])
    return trade


frame = app.dataframe(app.topic(topic_name, value_deserializer="json")).apply(times)
frame.sink(sink)
sys.stderr.write(f"PEER-READY {time.time():.3f}\n")
app.run()
