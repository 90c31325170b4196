"""Another engine opens the table as it is: Spark, through Iceberg's own JDBC catalog and S3 client.

PySpark is 430 MB, so it is not among the tests' dependencies: `K2CTL_SPARK_PYTHON` names a Python that has it (4.0),
and the jars come from Maven Central into the cache, once.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.endpoints import Endpoints
from k2ctl.home import cache_dir
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import CATALOG_NAME, Lake
from k2ctl.lake.maintenance.maintainer import compact_now, whole_hours
from k2ctl.lake.writer import TableWriter
from k2ctl.query.session import Session
from k2ctl.query.sql import sql
from k2ctl.query.stream import KafkaStream
from tests.made_trades import make_rows, make_varied
from tests.support.leases import of_this_machine
from tests.support.object_store import ObjectStore
from tests.support.postgres_server import PostgresServer

JARS: Final = (
    "org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.10.1",
    "org.apache.iceberg:iceberg-aws-bundle:1.10.1",
    "org.postgresql:postgresql:42.7.8",
)
QUERY: Final = """
    SELECT CAST(message_id AS STRING) AS message_id, symbol, CAST(timestamp AS STRING) AS timestamp,
        timestamp_nanos, ingestion_timestamp_nanos, CAST(price AS STRING) AS price,
        CAST(quantity AS STRING) AS quantity, side, trade_conditions, action, CAST(refers_to AS STRING) AS refers_to,
        source_sequence, kafka_offset, CAST(committed_at AS STRING) AS committed_at
    FROM {table} ORDER BY kafka_offset
"""
PROGRAM: Final = """
import json, sys
from tests.support.leases import of_this_machine
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local[1]")
for name, value in json.loads(sys.argv[1]).items():
    builder = builder.config(name, value)
session = builder.getOrCreate()
print("ROWS " + json.dumps([row.asDict() for row in session.sql(sys.argv[2]).collect()]))
"""


@pytest.fixture(scope="module")
def spark_python() -> str:
    """A Python with PySpark; skips with the reason where there is none."""
    python = os.environ.get("K2CTL_SPARK_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import pyspark"], capture_output=True, check=False).returncode:
        pytest.skip("no PySpark: name a Python that has it, in K2CTL_SPARK_PYTHON")
    if shutil.which("java") is None:
        pytest.skip("no Java for Spark")
    return python


@pytest.fixture(scope="module")
def jars() -> str:
    """Iceberg for Spark, its S3 client and PostgreSQL's driver, fetched once."""
    folder = cache_dir() / "spark-jars"
    for jar in JARS:
        _, name, version = jar.split(":")
        if not (folder / f"{name}-{version}.jar").exists():
            if shutil.which("mvn") is None:
                pytest.skip(f"no Maven to fetch {name}")
            copy = ["org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy", f"-DoutputDirectory={folder}"]
            subprocess.run(
                ["mvn", "-q", "-B", *copy, f"-Dartifact={jar}"], check=True, capture_output=True, timeout=280
            )
    return ",".join(str(folder / f"{jar.split(':')[1]}-{jar.split(':')[2]}.jar") for jar in JARS)


def settings(endpoints: Endpoints, jars: str) -> dict[str, str]:
    """The session's configuration, as `k2ctl/lake/README.md` has it."""
    uri, catalog = urlsplit(endpoints.catalog_uri), f"spark.sql.catalog.{CATALOG_NAME}"
    return {
        "spark.jars": jars,
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.type": "jdbc",
        f"{catalog}.uri": f"jdbc:postgresql://{uri.hostname}:{uri.port}{uri.path}",
        f"{catalog}.jdbc.user": uri.username or "",
        f"{catalog}.jdbc.password": uri.password or "",
        f"{catalog}.jdbc.schema-version": "V1",
        f"{catalog}.warehouse": endpoints.warehouse,
        f"{catalog}.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        f"{catalog}.s3.endpoint": endpoints.storage["s3.endpoint"],
        f"{catalog}.s3.access-key-id": endpoints.storage["s3.access-key-id"],
        f"{catalog}.s3.secret-access-key": endpoints.storage["s3.secret-access-key"],
        f"{catalog}.s3.path-style-access": "true",
        f"{catalog}.client.region": endpoints.storage["s3.region"],
    }


@pytest.fixture
def endpoints(embedded_stack: Endpoints, postgres_server: PostgresServer, object_store: ObjectStore) -> Endpoints:
    """A table of three commits, of which two were merged."""
    at = replace(
        embedded_stack,
        catalog_uri=postgres_server.database(),
        warehouse=object_store.folder(),
        storage=object_store.storage,
    )
    with Lake.at(at) as lake:
        writer = TableWriter(lake, SystemClock())
        for start in (0, 400, 800):
            rows = make_rows(make_varied(400, start), start)
            writer.commit(
                [rows], {TopicPartition("t", "e", 0): OffsetDelta(start, start + 400, Counts(seen=400, stored=400))}
            )
            if start == 400:
                compact_now(lake, SystemClock(), whole_hours, of_this_machine)
    return at


@pytest.mark.slow
def test_spark_reads_the_rows_that_a_query_reads(
    spark_python: str, jars: str, endpoints: Endpoints, exchange: str, tmp_path: Path
) -> None:
    topic = f"market.equities.trades.{exchange.lower()}"
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, 1)
    with Session(Lake.at(endpoints), KafkaStream(endpoints, topic)) as session:
        ours = _rows(session)
    text = QUERY.format(table=f"{CATALOG_NAME}.market_data.trades")
    done = subprocess.run(
        [spark_python, "-c", PROGRAM, json.dumps(settings(endpoints, jars)), text],
        capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path,
    )  # fmt: skip
    answer = next((line for line in done.stdout.splitlines() if line.startswith("ROWS ")), None)
    assert answer is not None, done.stderr[-2000:]
    assert len(ours) == 1200
    assert _same(json.loads(answer.removeprefix("ROWS "))) == _same(ours)


def _rows(session: Session) -> list[dict[str, Any]]:
    with sql(session, QUERY.format(table="trades_raw")) as answer:
        found: list[dict[str, Any]] = answer.rows.read_all().to_pylist()
        return found


def _same(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Times without the zone, which only one of the two writes: both are set to UTC."""
    times = ("timestamp", "committed_at")
    return [{**row, **{name: row[name].removesuffix("+00") for name in times}} for row in rows]
