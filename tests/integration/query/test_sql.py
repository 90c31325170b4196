"""SQL, bars and time travel over the one table; and everything a query must not reach."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.io.pyarrow import parquet_file_to_data_file, schema_to_pyarrow
from pyiceberg.types import IntegerType, NestedField, StringType, StructType

from k2ctl.cli import main
from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.days import BarLength
from k2ctl.domain.decimals import as_decimal
from k2ctl.domain.trade import REFERENCE
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.errors import ExitCode, LakeError, TooLarge, TooLong
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.references import store_references
from k2ctl.lake.writer import TableWriter
from k2ctl.query.formats import WRITERS, write_csv
from k2ctl.query.refusals import VIEWS, SqlError
from k2ctl.query.seam import AsOf
from k2ctl.query.session import Session
from k2ctl.query.sql import SqlLimits, sql
from k2ctl.query.stream import KafkaStream
from tests.made_trades import BASE_US, make_rows, make_trades, produce_trades
from tests.support.platforms import with_lake

STORED, WHOLE = 600, 1000


@pytest.fixture
def endpoints(embedded_stack: Endpoints, home: Path) -> Endpoints:
    return with_lake(embedded_stack, home)


@pytest.fixture
def session(endpoints: Endpoints, exchange: str) -> Iterator[Session]:
    """600 trades in the lake, in two commits; the stream holds 450 to 1000, so 150 of them twice."""
    topic = f"market.equities.trades.{exchange.lower()}"
    made = make_trades(WHOLE)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, 4)
    produce_trades(endpoints, topic, made[450:])
    writer = TableWriter(Lake.at(endpoints), SystemClock())
    for start, end in ((0, 300), (300, STORED)):
        rows = [make_rows(made[start:end], offset=start, topic="another")]
        writer.commit(
            rows, {TopicPartition("another", "e", 0): OffsetDelta(start, end, Counts(end - start, end - start))}
        )
        time.sleep(0.05)
    references = REFERENCE.empty(1)
    references["symbol"], references["sector"], references["timestamp_ns"] = b"S01", b"Mining", BASE_US * 1000
    with Lake.at(endpoints) as lake:
        assert store_references(lake, references, time.time_ns() // 1000)
    with Session(Lake.at(endpoints), KafkaStream(endpoints, topic)) as opened:
        yield opened


def rows(session: Session, text: str, **options: object) -> list[dict[str, object]]:
    with sql(session, text, **options) as answer:  # type: ignore[arg-type]
        found: list[dict[str, object]] = answer.rows.read_all().to_pylist()
        return found


def test_trades_are_lake_and_stream_each_once(session: Session) -> None:
    (found,) = rows(
        session, "SELECT count(*) AS n, count(DISTINCT message_id) AS ids, max(trade_id) AS last FROM trades"
    )
    assert found == {"n": WHOLE, "ids": WHOLE, "last": WHOLE - 1}
    with sql(session, "SELECT 1") as answer:
        assert answer.evidence.complete
        assert answer.evidence.tail_rows == WHOLE - STORED


def test_columns_that_others_added_stand_behind_ours_and_are_null_in_the_stream(session: Session) -> None:
    table = session.seam.lake.table()
    with table.update_schema() as schema:
        schema.add_column("note", StringType())
        schema.add_column("desk", StructType(NestedField(101, "id", IntegerType())))
    rows_of = table.scan().to_arrow()
    path = f"{table.location()}/data/others.parquet"
    noted = rows_of.drop_columns(["note", "desk"])
    noted = noted.append_column("note", pa.array(["seen"] * len(noted)))
    noted = noted.append_column("desk", pa.array([{"id": 7}] * len(noted), pa.struct([("id", pa.int32())])))
    pq.write_table(noted.cast(schema_to_pyarrow(table.schema())), path.removeprefix("file://"))
    with table.transaction() as transaction, transaction.update_snapshot().overwrite() as overwrite:
        for task in table.scan().plan_files():
            overwrite.delete_data_file(task.file)
        overwrite.append_data_file(parquet_file_to_data_file(table.io, table.metadata, path))
    found = rows(session, "SELECT note, desk.id AS desk, count(*) AS n FROM trades GROUP BY ALL ORDER BY n")
    assert found == [{"note": None, "desk": None, "n": WHOLE - STORED}, {"note": "seen", "desk": 7, "n": STORED}]
    assert list(rows(session, "SELECT * FROM trades LIMIT 1")[0])[-2:] == ["note", "desk"]
    assert len(session.recent(["S01"]).table) == WHOLE // 20


def test_reference_snapshots_and_gaps_are_tables_too(session: Session) -> None:
    assert rows(session, "SELECT symbol, sector FROM reference") == [{"symbol": "S01", "sector": "Mining"}]
    assert [row["rows"] for row in rows(session, "SELECT rows FROM snapshots ORDER BY committed_at")] == [300, 600]
    assert rows(session, "SELECT * FROM gaps") == []


def test_a_number_that_is_nowhere_is_a_gap(endpoints: Endpoints, exchange: str) -> None:
    topic = f"market.equities.trades.{exchange.lower()}"
    made = make_trades(200)
    missing = (made["symbol"] == b"S03") & np.isin(made["source_sequence"], [4, 5, 8])
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, 4)
    produce_trades(endpoints, topic, made[~missing])
    with Session(Lake.at(endpoints), KafkaStream(endpoints, topic)) as session:
        found = rows(session, "SELECT symbol, first_missing, last_missing, missing FROM gaps ORDER BY 2")
    assert [tuple(row.values()) for row in found] == [("S03", 4, 5, 2), ("S03", 8, 8, 1)]


def test_bars_come_from_the_same_seam(session: Session) -> None:
    answer = session.bars("S04", BarLength(us=100_000))
    made = make_trades(WHOLE)
    made = made[made["symbol"] == b"S04"]
    bars = answer.table.to_pylist()
    assert sum(bar["trades"] for bar in bars) == len(made) == answer.evidence.lake_rows + answer.evidence.tail_rows
    for bar in bars:
        start_us = round(bar["bar_start"].timestamp() * 1e6)
        inside = made[(made["event_ns"] >= start_us * 1000) & (made["event_ns"] < (start_us + 100_000) * 1000)]
        prices, quantities = ([as_decimal(one) for one in inside[name]] for name in ("price", "quantity"))
        assert [bar[k] for k in ("open", "high", "low", "close")] == [
            prices[0], max(prices), min(prices), prices[-1],
        ]  # fmt: skip
        assert bar["volume"] == sum(quantities)
        turnover = sum(price * quantity for price, quantity in zip(prices, quantities, strict=True))
        assert abs(Decimal(bar["vwap"]) - turnover / sum(quantities)) < Decimal("1e-8")


def test_the_table_as_it_was(session: Session) -> None:
    first, second = (row for row in rows(session, "SELECT * FROM snapshots ORDER BY committed_at"))
    was = session.recent(None, as_of=AsOf(snapshot_id=first["snapshot_id"]))  # type: ignore[arg-type]
    assert len(was.table) == 300
    assert not was.evidence.complete
    moment_us = round(second["committed_at"].timestamp() * 1e6) - 1  # type: ignore[attr-defined]
    assert len(session.recent(None, as_of=AsOf(moment_us=moment_us)).table) == 300
    assert rows(session, "SELECT count(*) AS n FROM trades", as_of=AsOf(moment_us=moment_us)) == [{"n": 300}]
    with pytest.raises(LakeError, match="oldest snapshot is of"):
        session.recent(None, as_of=AsOf(moment_us=1))
    with pytest.raises(LakeError, match="snapshot 77"):
        session.recent(None, as_of=AsOf(snapshot_id=77))


@pytest.mark.parametrize(
    "attack",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM read_parquet('/tmp/*.parquet')",
        "SELECT * FROM read_json('http://127.0.0.1:1/x')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT getenv('HOME')",
        "SELECT * FROM sqlite_scan('/tmp/x.db', 'y')",
        "SELECT * FROM query('COPY trades TO ''/tmp/k2-out.csv''')",
        "SELECT * FROM fresh",
        "SELECT * FROM nothing",
        "ATTACH '/tmp/k2-x.db'",
        "COPY trades TO '/tmp/k2-out.csv'",
        "COPY (SELECT 1) TO '/tmp/k2-out.csv'",
        "EXPORT DATABASE '/tmp/k2-out'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '9GB'",
        "RESET lock_configuration",
        "PRAGMA database_list",
        "CREATE TABLE x AS SELECT 1",
        "DROP VIEW trades",
        "DELETE FROM trades",
        "INSERT INTO trades SELECT * FROM trades",
        "CALL pragma_version()",
        "EXPLAIN ANALYZE SELECT * FROM read_csv('/etc/passwd')",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/k2-out.csv'",
        "CREATE TABLE x AS PIVOT trades ON side USING count(*)",
        "COPY (PIVOT trades ON side USING count(*)) TO '/tmp/k2-out.csv'",
        "PIVOT read_csv('/etc/passwd') ON column0 USING count(*)",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP VIEW trades",
        "SELECT",
        "",
        "SELECT 1 -- " + "x" * 100_001,
        "SELECT '\ud800'".encode("utf-8", "replace").decode() + "'",
    ],
)
def test_a_query_reaches_nothing_else(session: Session, attack: str) -> None:
    with pytest.raises(SqlError):
        rows(session, attack)
    assert not Path("/tmp/k2-out.csv").exists()  # noqa: S108


def test_a_parameter_is_bound_and_never_part_of_the_query(session: Session) -> None:
    text = "SELECT count(*) AS n FROM trades WHERE symbol = $symbol AND quantity >= $least AND timestamp > $since"
    asked = {"symbol": "S01", "least": "0.5", "since": "2001-01-01"}
    assert rows(session, text, parameters=asked) == [{"n": WHOLE // 20}]
    assert rows(session, text, parameters={**asked, "symbol": "S01' OR 'a' = 'a"}) == [{"n": 0}]
    assert rows(session, "SELECT $a AS a", parameters={"a": "'; DROP VIEW trades"}) == [{"a": "'; DROP VIEW trades"}]
    with pytest.raises(SqlError, match=r"Could not convert string .some"):
        rows(session, text, parameters={**asked, "least": "some"})


def test_pivot_and_explain_are_answered(session: Session) -> None:
    by_symbol = rows(session, "PIVOT trades ON symbol USING count(*) GROUP BY exchange")
    assert by_symbol[0]["S01"] == WHOLE // 20
    (plan,) = rows(session, "EXPLAIN ANALYZE SELECT max(price) FROM trades WHERE symbol = $s", parameters={"s": "S01"})
    assert "Aggregate" in str(plan["explain_value"])


def test_time_and_memory_are_limited(session: Session) -> None:
    cross = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE (a.range * b.range) % 7 = 1"
    started_s = time.monotonic()
    with pytest.raises(TooLong):
        rows(session, cross, limits=SqlLimits(seconds=0.3))
    with pytest.raises(TooLong):  # while rows are being read
        rows(session, "SELECT sum(hash(a.range)) OVER () FROM range(100000) a, range(100000) b",
             limits=SqlLimits(seconds=0.5, memory_mb=8192))  # fmt: skip
    assert time.monotonic() - started_s < 30
    with pytest.raises(TooLarge):
        rows(session, "SELECT list(range) FROM range(100000000)", limits=SqlLimits(memory_mb=64))


def test_many_rows_are_written_as_they_come(session: Session) -> None:
    class Counting(io.RawIOBase):
        lines = 0
        largest = 0

        def writable(self) -> bool:
            return True

        def write(self, part: object) -> int:
            data = bytes(part)  # type: ignore[call-overload]
            self.lines += data.count(b"\n")
            self.largest = max(self.largest, len(data))
            return len(data)

    sink = Counting()
    with sql(session, "SELECT range AS n, 'x' AS x FROM range(300000)") as answer:
        write_csv(answer.rows, sink)  # type: ignore[arg-type]
    assert sink.lines == 300_001
    assert sink.largest < 1_000_000


def test_the_command_line(
    embedded_stack: Endpoints, endpoints: Endpoints, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    save_endpoints(endpoints)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic("market.equities.trades.asx", 4)
    made = make_trades(50)
    made["symbol"] = b"BHP"
    TableWriter(Lake.at(endpoints), SystemClock()).commit(
        [make_rows(made, topic="another")], {TopicPartition("another", "e", 0): OffsetDelta(0, 50, Counts(50, 50))}
    )

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["query", *arguments])
        shown = capsys.readouterr()
        return code, shown.out, " ".join(shown.err.split())

    code, out, err = run(
        "sql", "SELECT symbol, sum(price) AS total FROM trades WHERE symbol = 'BHP' GROUP BY 1", "--format", "json"
    )
    assert code == ExitCode.OK
    assert json.loads(out) == [{"symbol": "BHP", "total": str(sum(range(1000, 1050)) / 100)}]
    assert "complete" in err
    code, out, err = run("sql", "SELECT symbol, price FROM trades WHERE symbol = 'BHP'")
    assert code == ExitCode.OK
    assert out.count("BHP") == 20
    assert "more than 20 rows (all: --limit 0)" in err
    assert "the data is complete, what is shown is cut" in err
    for command in (
        ("sql", "SELECT symbol, timestamp FROM trades WHERE symbol = 'BHP'"),
        ("recent", "BHP", "--window", "all"),
    ):
        for form, found in (("table", lambda text: text.count("BHP")), ("json", lambda text: len(json.loads(text)))):
            code, out, err = run(*command, "--limit", "0", "--format", form)
            assert found(out) == 50
            assert "is cut" not in err
            assert err.endswith("complete")
            code, out, err = run(*command, "--limit", "7", "--format", form)
            assert found(out) == 7
            assert "more than 7 rows" in err
            assert not err.endswith("complete")
            code, out, err = run(*command, "--limit", "50", "--format", form)
            assert found(out) == 50
            assert "is cut" not in err
    bars = ("ohlcv", "BHP", "--bar", "1ms", "--window", "all")
    assert len(json.loads(run(*bars, "--format", "json")[1])) == 50
    code, out, err = run(*bars, "--limit", "7", "--format", "json")
    assert json.loads(out) == json.loads(run(*bars, "--format", "json")[1])[-7:]
    assert "more than 7 rows" in err
    code, out, err = run("sql", "EXPLAIN SELECT price FROM trades")
    assert code == ExitCode.OK
    assert len(out.splitlines()) > 3
    assert run("sql", "SELECT $a AS a", "--param", "a=$b", "--format", "csv")[1].split() == ["a", "$b"]
    assert "--param a=VALUE" in run("sql", "SELECT $a AS a")[2]
    code, out, err = run("sql", "DROP VIEW trades")
    assert code == ExitCode.USAGE
    assert out == ""
    assert "Only a single SELECT" in err
    file = tmp_path / "bars.arrow"
    assert run("ohlcv", "BHP", "--bar", "10ms", "--window", "all", "--format", "arrow", "-o", str(file))[0] == 0
    with pa.ipc.open_file(file.read_bytes()) as reader:
        assert len(reader.read_all()) == 5
    code, out, _ = run("recent", "BHP", "--window", "all", "--fields", "price,symbol", "--format", "csv")
    assert out.splitlines()[0] == "price,symbol"
    assert run("recent", "BHP", "--fields", "price,colour")[0] == ExitCode.USAGE
    code, out, _ = run("explain", "BHP", "--window", "all", "--json")
    assert {**json.loads(out), "stages_ms": 0}["of_files"] == 1
    code, out, _ = run("explain", "BHP", "--window", "all")
    assert "1 read, 0 pruned" in out
    code, _, err = run("recent", "BHP", "--window", "all", "--as-of", "2099-01-01")
    assert code == ExitCode.OK
    assert "20 rows" in err
    assert "as it was then" in err
    assert run("recent", "BHP", "--as-of", "2001-01-01")[0] == ExitCode.FAILED
    assert run("ohlcv", "BHP", "--bar", "0.0001")[0] == ExitCode.USAGE


@pytest.mark.parametrize(
    "text",
    [
        "SHOW TABLES",
        "SELECT table_name AS name FROM information_schema.tables",
        "SELECT view_name AS name FROM duckdb_views() WHERE NOT internal",
    ],
)
def test_the_views_of_a_query_are_the_ones_that_are_documented(session: Session, text: str) -> None:
    with sql(session, text) as found:
        assert sorted(found.rows.read_all().column("name").to_pylist()) == sorted(VIEWS)


def test_rows_to_a_closed_stdout_are_an_error(session: Session, endpoints: Endpoints) -> None:
    save_endpoints(endpoints)
    for form in WRITERS:
        command = [sys.executable, "-m", "k2ctl", "query", "sql", "SELECT 1 AS one", "--format", form]
        done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, check=False)
        assert done.returncode == ExitCode.FAILED, done.stderr
        assert b"stdout is closed" in done.stderr, done.stderr
