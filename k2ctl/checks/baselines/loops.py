"""Stripped loops: what Kafka's client and tools, Parquet and DuckDB reach alone. Benchmarks are compared with them."""

import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from k2ctl.domain.rows import Rows, hours_in_order
from k2ctl.domain.trade import Window
from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed, StackError
from k2ctl.kafka.admin import Watermarks
from k2ctl.kafka.clients import consumer_config, producer_config
from k2ctl.lake.catalog import Lake
from k2ctl.lake.files import ROW_GROUP_ROWS, parquet_options, row_groups
from k2ctl.lake.snapshots import TableFollower
from k2ctl.query.history import Asked, History
from k2ctl.query.seam import planned
from k2ctl.stack.kafka_jars import java_program, kafka_libraries


def bare_produce_s(endpoints: Endpoints, topic: str, values_by_partition: list[list[bytes]]) -> float:
    """Seconds to hand ready-made values to `produce_batch`, in the fresh dicts it wants, until all are acknowledged."""
    producer = Producer(producer_config(endpoints))
    producer.list_topics(topic, timeout=10)
    started_s = time.perf_counter()
    for partition, values in enumerate(values_by_partition):
        for at in range(0, len(values), 5000):
            messages: list[Any] = [{"value": value} for value in values[at : at + 5000]]
            while messages and producer.produce_batch(topic, messages, partition=partition) < len(messages):
                messages = [{"value": m["value"]} for m in messages if "_error" in m]
                producer.poll(0.05)
            producer.poll(0)
    producer.flush(60)
    return time.perf_counter() - started_s


def bare_consume_s(endpoints: Endpoints, topic: str, marks: dict[int, Watermarks], batch: int) -> tuple[float, int]:
    """Seconds to `consume()` a topic and join the values of each batch, and the bytes joined."""
    consumer = Consumer(consumer_config(endpoints, **{"group.id": "k2ctl-baseline"}))
    left = sum(mark.high - mark.low for mark in marks.values())
    started_s = time.perf_counter()
    consumer.assign([TopicPartition(topic, partition, mark.low) for partition, mark in marks.items()])
    size = 0
    while left > 0:
        messages = consumer.consume(min(batch, left), 1.0)
        size += len(b"".join(map(Message.value, messages)))  # type: ignore[arg-type]
        left -= len(messages)
    seconds = time.perf_counter() - started_s
    consumer.close()
    return seconds, size


def bare_query_s(query: str, values: Sequence[bytes], batch: int) -> float:
    """Seconds of DuckDB on one core for a query over `records`, whose column `value` is there as Arrow."""
    connection, seconds = duckdb.connect(config={"threads": 1}), 0.0
    for start in range(0, len(values), batch):
        connection.register("records", pa.table({"value": pa.array(values[start : start + batch], pa.string())}))
        started_s = time.perf_counter()
        connection.sql(query).to_arrow_table()
        seconds += time.perf_counter() - started_s
    connection.close()
    return seconds


def read_csv_s(path: Path) -> float:
    """Seconds for DuckDB to read all columns of a CSV file, by types that it finds itself, and nothing else."""
    with duckdb.connect() as connection:
        started_s = time.perf_counter()
        for _ in connection.sql(f"FROM read_csv('{path}')").to_arrow_reader(100_000):
            pass
        return time.perf_counter() - started_s


def sorted_write_s(rows: Rows, rows_per_file: int, folder: Path) -> float:
    """Seconds to sort rows and write them as Parquet files, with the table's own settings, and nothing else.

    One file after the other, as commits do it: each is made of rows that came one after the other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, seconds = folder / "baseline.parquet", 0.0
    for start in range(0, len(rows), rows_per_file):
        part = rows.take(np.arange(start, min(len(rows), start + rows_per_file)))
        started_s = time.perf_counter()
        for order in hours_in_order(part):
            columns = pa.concat_tables(row_groups(part, order, 0))
            options = parquet_options(columns.schema)
            pq.write_table(columns, target, row_group_size=ROW_GROUP_ROWS, **options)
        seconds += time.perf_counter() - started_s
        target.unlink()
    return seconds


class BareScan:
    """DuckDB over planned files: the same columns and rows as a query reads there, on a warm connection.

    The files are those of the newest snapshot each time, for a query's are: consumers add files, and compaction
    replaces them. Pinning, planning and the stream are left out. Not thread-safe.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._lake = Lake.at(endpoints)
        self._table = TableFollower(self._lake)
        self._history = History(self._lake)

    def seconds(self, symbols: Sequence[str], window: Window, limit: int) -> float:
        """How long the newest `limit` rows take."""
        plan = planned(self._table.pin(), symbols, window)
        started_s = time.perf_counter()
        self._history.newest(plan, Asked(symbols, window), limit)
        return time.perf_counter() - started_s

    def close(self) -> None:
        """Close the connections."""
        self._history.close()
        self._lake.close()


TIMEOUT_S: Final = 300
_HINT: Final = "See: k2ctl stack logs kafka"
_SENT: Final = re.compile(r"^(\d+) records sent, ([\d.]+) records/sec", re.MULTILINE)
_PRODUCER: Final = ("acks=all", "linger.ms=20", "batch.size=1000000", "buffer.memory=268435456")
"""As k2ctl's own producer, but uncompressed: the payload of the tool is random, and lz4 would only cost it time."""


@dataclass(frozen=True)
class KafkaTools:
    """The tools against one broker. Rates are records a second."""

    bootstrap_servers: str
    libraries: Path

    @classmethod
    def at(cls, endpoints: Endpoints) -> "KafkaTools | None":
        """None on the embedded engine, which Java's clients cannot use, and where Java or the jars cannot be had."""
        if endpoints.engine == "embedded":
            return None
        try:
            return cls(endpoints.bootstrap_servers, kafka_libraries(lambda _: None))
        except StackError:
            return None

    def produce(self, topic: str, records: int, record_bytes: int) -> float:
        """What `kafka-producer-perf-test` reaches.

        Raises:
            CheckFailed: it failed.
        """
        said = self._run(
            "ProducerPerformance",
            *("--topic", topic, "--num-records", str(records), "--record-size", str(record_bytes)),
            *("--throughput", "-1", "--bootstrap-server", self.bootstrap_servers, "--command-property", *_PRODUCER),
        )
        totals = _SENT.findall(said)
        if not totals or int(totals[-1][0]) != records:
            raise CheckFailed(f"kafka-producer-perf-test said no total: {said[-200:]!r}", _HINT)
        return float(totals[-1][1])

    def consume(self, topic: str, records: int) -> float:
        """What `kafka-consumer-perf-test` reaches, the time until it has joined its group left out.

        Raises:
            CheckFailed: it failed.
        """
        said = self._run(
            "ConsumerPerformance",
            *("--topic", topic, "--num-records", str(records), "--bootstrap-server", self.bootstrap_servers),
            *("--timeout", "30000"),
        )
        lines = [line.split(", ") for line in said.splitlines() if ", " in line]
        try:
            names = next(line for line in lines if "fetch.nMsg.sec" in line)
            return float(lines[-1][names.index("fetch.nMsg.sec")])
        except (StopIteration, IndexError, ValueError) as error:
            raise CheckFailed(f"kafka-consumer-perf-test said no rate: {said[-200:]!r}", _HINT) from error

    def _run(self, tool: str, *arguments: str) -> str:
        command = [java_program(), "-Xmx1g", "-cp", f"{self.libraries}/*", f"org.apache.kafka.tools.{tool}", *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise CheckFailed(f"Kafka's {tool} took longer than {TIMEOUT_S} s.", _HINT) from error
        if done.returncode:
            raise CheckFailed(f"Kafka's {tool} failed: {(done.stderr or done.stdout).strip()[-200:]}", _HINT)
        return done.stdout
