"""SQL and checks on Spark: the rows that DuckDB answers, and what is wrong with a table found again."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.maintenance.status import read_balance
from k2ctl.lake.writer import TableWriter
from k2ctl.query.refusals import SqlError
from k2ctl.query.seam import AsOf
from k2ctl.query.session import Session
from k2ctl.query.sql import sql
from k2ctl.query.stream import KafkaStream
from k2ctl.spark.check import verify_on_spark
from k2ctl.spark.process import SparkError, SparkProcess
from k2ctl.spark.settings import SparkPlace
from k2ctl.spark.sql import sql_on_spark
from k2ctl.spark.views import NO_STREAM
from tests.made_trades import make_rows, make_varied
from tests.support.spark_tables import PARTITION, append_now, fill, writer_of

pytestmark = pytest.mark.slow

WHOLE = """
    SELECT CAST(message_id AS STRING) AS message_id, symbol, exchange, timestamp, timestamp_nanos, ingestion_timestamp,
        ingestion_timestamp_nanos, price, quantity, side, trade_conditions, action,
        CAST(refers_to AS STRING) AS refers_to, source_sequence, tick_size, kafka_offset, committed_at, enriched
    FROM {view} ORDER BY kafka_offset
"""


@pytest.fixture
def at(on_postgres: Endpoints, embedded_stack: Endpoints, exchange: str) -> Endpoints:
    """A table of four commits, with corrections and cancellations, and an empty topic behind it."""

    stack = replace(
        embedded_stack,
        catalog_uri=on_postgres.catalog_uri,
        warehouse=on_postgres.warehouse,
        storage=on_postgres.storage,
        home=on_postgres.home,
    )
    with BrokerAdmin(stack) as admin:
        admin.create_topic(topic_of(exchange), 1)
    with Lake.at(stack) as lake:
        fill(lake, 4)
    return stack


@pytest.fixture
def spark(at: Endpoints) -> Iterator[SparkProcess]:
    with Lake.at(at) as lake:
        location = lake.table().location()
    with SparkProcess(at, SparkPlace("local[1]"), location, lambda _: None) as found:
        yield found


def topic_of(exchange: str) -> str:
    return f"market.equities.trades.{exchange.lower()}"


def on_spark(spark: SparkProcess, at: Endpoints, text: str, **asked: Any) -> tuple[pa.Table, Any]:
    with Lake.at(at) as lake, sql_on_spark(spark, lake, text, clock=SystemClock(), **asked) as answer:
        return answer.rows.read_all(), answer.evidence


def on_duckdb(at: Endpoints, exchange: str, text: str, **asked: Any) -> pa.Table:
    with Session(Lake.at(at), KafkaStream(at, topic_of(exchange))) as session, sql(session, text, **asked) as answer:
        return answer.rows.read_all()


def test_spark_answers_the_rows_that_duckdb_answers(spark: SparkProcess, at: Endpoints, exchange: str) -> None:
    for view in ("trades", "trades_raw"):
        theirs, evidence = on_spark(spark, at, WHOLE.format(view=view))
        ours = on_duckdb(at, exchange, WHOLE.format(view=view))
        assert len(theirs) > 1000
        assert theirs.to_pylist() == ours.to_pylist()
        assert theirs.schema.field("price").type == ours.schema.field("price").type == pa.decimal128(38, 12)
        assert theirs.schema.field("timestamp").type == pa.timestamp("us", "UTC")
        assert evidence.missing == (NO_STREAM,)
    # A query of then has the rows of then.
    with Lake.at(at) as lake:
        first = min(lake.table().metadata.snapshots, key=lambda snapshot: snapshot.timestamp_ms)
    text = "SELECT count(*) AS n, sum(quantity) AS q, min(price) AS p FROM trades_raw"
    for asked in ({"as_of": AsOf(snapshot_id=first.snapshot_id)}, {"known_at_us": first.timestamp_ms * 1000}):
        then = on_spark(spark, at, text, **asked)[0].to_pylist()
        assert then == on_duckdb(at, exchange, text, **asked).to_pylist()


def test_what_is_no_query_over_the_views_is_refused_in_one_line(spark: SparkProcess, at: Endpoints) -> None:
    for text in ("DROP TABLE trades", "SELECT * FROM gaps", "SELECT * FROM parquet.`/etc`", "SELECT FROM"):
        with pytest.raises(SqlError, match="cannot be answered") as refused:
            on_spark(spark, at, text)
        assert "k2ctl gaps" in refused.value.hint
        assert "\n" not in str(refused.value)
    with pytest.raises(SparkError, match="DIVIDE_BY_ZERO") as failed:
        on_spark(spark, at, "SELECT symbol, 1 / (timestamp_nanos - timestamp_nanos) FROM trades_raw")
    assert "\n" not in str(failed.value)


def test_a_whole_table_holds_and_rows_that_were_stored_twice_do_not(spark: SparkProcess, at: Endpoints) -> None:
    with Lake.at(at) as lake:
        found = verify_on_spark(spark, lake, SystemClock())
        assert (found.holds, found.rows, found.copies) == (True, 1600, 0)
        again = make_rows(make_varied(10), 0)  # the places and the ids of the first ten
        delta = OffsetDelta(1600, 1610, Counts(seen=10, stored=10))
        TableWriter(lake, SystemClock()).commit([again], {PARTITION: delta})
        found = verify_on_spark(spark, lake, SystemClock())
        assert (found.holds, found.rows, found.copies) == (False, 1610, 10)
        assert [(one.rows, one.stored, one.doubled) for one in found.partitions] == [(1610, 1610, 10)]


def test_rewritten_manifests_leave_rows_offsets_and_the_next_commit(spark: SparkProcess, at: Endpoints) -> None:
    with Lake.at(at) as lake:
        writer = writer_of(lake)
        for number in range(4, 9):
            append_now(writer, number)
        before = lake.table().scan().to_arrow().sort_by("kafka_offset").to_pylist()
        done = spark.ask("manifests", "rewriting manifests")
        assert done["before"] > done["after"] >= 1
        assert lake.table().scan().to_arrow().sort_by("kafka_offset").to_pylist() == before
        append_now(writer, 9)
        balance = read_balance(lake)
        assert balance is not None
        assert (balance.rows, balance.balanced) == (4000, True)
