"""Spark Structured Streaming, Kafka to Iceberg: ADDRESS TOPIC JDBC-URI WAREHOUSE CHECKPOINT now|TRIGGER_MS BATCH."""

import os
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, from_json

address, topic, uri, warehouse, checkpoint, trigger, batch = sys.argv[1:]
spark = (
    SparkSession.builder.master(f"local[{os.cpu_count()}]")
    .appName("peers")
    .config("spark.driver.extraClassPath", os.environ["PEER_JARS"])
    .config("spark.driver.memory", os.environ.get("PEER_HEAP", "2g"))
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions")
    .config("spark.sql.catalog.peers", "org.apache.iceberg.spark.SparkCatalog")
    .config("spark.sql.catalog.peers.type", "jdbc")
    .config("spark.sql.catalog.peers.uri", uri)
    .config("spark.sql.catalog.peers.jdbc.schema-version", "V1")
    .config("spark.sql.catalog.peers.warehouse", warehouse)
    .getOrCreate()
)
spark.sparkContext.setLogLevel("WARN")
SCHEMA = (
    "message_id string, trade_id bigint, symbol string, exchange string, asset_class string, timestamp timestamp, "
    "ingestion_timestamp timestamp, price decimal(18,8), quantity decimal(18,8), currency string, side string, "
    "trade_conditions string, source_sequence bigint"
)
records = (
    spark.readStream.format("kafka")
    .option("kafka.bootstrap.servers", address)
    .option("subscribe", topic)
    .option("startingOffsets", "earliest")
    .option("maxOffsetsPerTrigger", batch)
    .load()
)
trades = records.select(from_json(col("value").cast("string"), SCHEMA).alias("t")).select("t.*")
sys.stderr.write(f"PEER-READY {time.time():.3f}\n")
writer = (
    trades.writeStream.format("iceberg")
    .outputMode("append")
    .option("checkpointLocation", checkpoint)
    .option("fanout-enabled", "true")
)
writer = (
    writer.trigger(availableNow=True) if trigger == "now" else writer.trigger(processingTime=f"{trigger} milliseconds")
)
query = writer.toTable("peers.bench.trades")
query.awaitTermination()
spark.stop()
