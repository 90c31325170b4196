"""Arrow Flight SQL on the service, as the ADBC driver speaks it, and as clients speak it that mean no good."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pyarrow as pa
import pytest
from adbc_driver_flightsql import DatabaseOptions, dbapi
from pyarrow import flight

from k2ctl.api.settings import Settings
from k2ctl.errors import UsageError
from k2ctl.flight.messages import packed
from k2ctl.flight.server import FlightSqlServer
from k2ctl.query.proof import evidence_in
from tests.support.api import WHOLE, Service
from tests.support.flight import BEARER, KEY, LIMITS, address, answer, asking, taken
from tests.support.polling import until

ENDLESS = "SELECT count(*) FROM range(10000000) AS a(x), range(10000000) AS b(y) WHERE hash(x + y) = 1"


def refused(service: Service, text: str) -> str:
    with pytest.raises(dbapi.Error) as failed:
        answer(service, text)
    assert "Traceback" not in str(failed.value)
    return str(failed.value)


@pytest.mark.parametrize("options", [BEARER, {"username": "anybody", "password": KEY}], ids=["bearer", "basic"])
def test_a_driver_with_the_key_sees_each_trade_once_with_the_proof(served: Service, options: dict[str, str]) -> None:
    with asking(served, options) as cursor:
        cursor.execute("SELECT count(*) AS n, count(DISTINCT message_id) AS ids FROM trades")
        found = cursor.fetch_arrow_table()
    assert found.to_pylist() == [{"n": WHOLE, "ids": WHOLE}]
    evidence = evidence_in(found.schema)
    assert evidence is not None
    assert evidence.complete
    assert sum(span.watermarks[p] for span in evidence.spans for p in span.watermarks) == WHOLE - 450


@pytest.mark.parametrize(
    "options",
    [{}, {DatabaseOptions.AUTHORIZATION_HEADER.value: "Bearer wrong"}, {"username": KEY, "password": "wrong"}],
    ids=["no key", "a wrong key", "the key as a name"],
)
def test_without_the_key_nothing_is_answered(served: Service, options: dict[str, str]) -> None:
    with pytest.raises(dbapi.Error, match="A key is needed"), asking(served, options) as cursor:
        cursor.execute("SELECT 1")


def test_values_are_bound_by_order_and_by_name_and_again(served: Service) -> None:
    with asking(served) as cursor:
        for symbol, least in (("S03", 5), ("S04", 1), ("S03' OR true --", 0)):
            cursor.execute("SELECT count(*) FROM trades WHERE symbol = ? AND quantity >= ?", (symbol, least))
            by_order = cursor.fetchone()
            cursor.execute(f"SELECT count(*) FROM trades WHERE symbol = '{symbol[:3]}' AND quantity >= {least}")
            assert by_order == (cursor.fetchone() if len(symbol) == 3 else (0,))
    row = pa.record_batch({"least": [7], "name": ["S03"]})
    named = answer(served, "SELECT $name AS a, max(quantity) > $least AS b FROM trades WHERE symbol = $name", row)
    assert named.to_pylist() == [{"a": "S03", "b": True}]


def test_views_and_columns_are_found_and_can_be_named_in_full(served: Service) -> None:
    with asking(served) as cursor:
        connection = cursor.connection
        (catalog,) = connection.adbc_get_objects(depth="columns").read_all().to_pylist()
        (schema,) = catalog["catalog_db_schemas"]
        tables = {table["table_name"]: table for table in schema["db_schema_tables"]}
        assert sorted(tables) == ["gaps", "reference", "snapshots", "trades", "trades_raw"]
        assert "price" in [column["column_name"] for column in tables["trades"]["table_columns"]]
        assert connection.adbc_get_table_types() == ["VIEW"]
        assert connection.adbc_get_table_schema("trades").field("price").type == pa.decimal128(38, 12)
        assert connection.adbc_get_info()["vendor_name"] == "k2ctl"
        for table in tables:
            cursor.execute(f'SELECT * FROM "{catalog["catalog_name"]}"."{schema["db_schema_name"]}"."{table}" LIMIT 1')
            assert cursor.fetch_arrow_table().num_rows <= 1


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO trades SELECT * FROM trades",
        "CREATE TABLE t AS SELECT 1",
        "COPY (SELECT 1) TO '/tmp/k2-flight-wrote-this'",
        "SELECT 1; DROP VIEW trades",
        "SET memory_limit = '1TB'",
        "ATTACH ':memory:' AS other",
    ],
)
def test_a_statement_that_is_no_query_is_refused(served: Service, text: str) -> None:
    assert "Only a single SELECT is run" in refused(served, text)


@pytest.mark.parametrize("text", ["SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'"])
def test_no_file_is_read(served: Service, text: str) -> None:
    assert "root:" not in refused(served, text)


def test_rows_are_not_taken_in(served: Service) -> None:
    with asking(served) as cursor, pytest.raises(dbapi.Error, match="can only be read"):
        cursor.adbc_ingest("trades", pa.table({"a": [1]}))


def test_a_wrong_name_is_answered_with_what_there_is(served: Service) -> None:
    said = refused(served, "SELECT nothing FROM trades")
    assert 'Referenced column "nothing" not found' in said
    assert "DESCRIBE trades" in said


def test_more_rows_than_an_answer_may_have_end_with_an_error(served: Service) -> None:
    limit = LIMITS.rows
    assert answer(served, f"SELECT * FROM range({limit})").num_rows == limit
    assert f"more rows than the {limit:,} that one answer may have" in refused(
        served, f"SELECT * FROM range({limit + 1})"
    )
    with asking(served) as cursor:
        cursor.execute(f"SELECT * FROM range({limit + 1})")
        assert cursor.fetchone() == (0,)  # whoever reads only the first, as browsers of tables do, has them


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("SELECT len(list_sort(range(400000000)))", id="a huge list"),
        pytest.param(ENDLESS, id="a cross join", marks=pytest.mark.slow),
        pytest.param(
            "SELECT length(reverse(repeat('xyzzy', 400000000)))", id="folded before it runs", marks=pytest.mark.slow
        ),
    ],
)
def test_a_query_that_takes_too_much_is_ended_and_the_next_one_answered(served: Service, text: str) -> None:
    begun_s = time.monotonic()
    said = refused(served, text)
    assert "The query took longer than it may" in said or "The query took more memory than it may" in said
    assert time.monotonic() - begun_s < 15
    assert answer(served, "SELECT 1 AS one").to_pylist() == [{"one": 1}]


def test_as_many_run_at_once_as_may_and_the_next_one_is_refused(served: Service) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(refused, served, ENDLESS)
        limit_s = time.monotonic() + 10
        while served.engine.running == 0 and time.monotonic() < limit_s:
            time.sleep(0.01)
        assert "1 queries in SQL run already" in refused(served, "SELECT 1")
        assert served.client.get("/v1/symbols", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
        assert "took longer" in running.result()


def test_a_query_whose_client_leaves_makes_room(served: Service) -> None:
    with asking(served) as cursor:
        timer = threading.Timer(0.3, cursor.adbc_cancel)
        timer.start()
        with pytest.raises(dbapi.Error):
            taken(cursor, ENDLESS)
        timer.join()
    assert answer(served, "SELECT 1 AS one").to_pylist() == [{"one": 1}]


def test_after_its_process_was_killed_the_next_query_is_answered(served: Service) -> None:
    assert answer(served, "SELECT 1 AS one").num_rows == 1
    for child in psutil.Process().children():
        if "spawn_main" in " ".join(child.cmdline()):
            child.kill()
            until(lambda pid=child.pid: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None)
    assert answer(served, "SELECT 2 AS two").to_pylist() == [{"two": 2}]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 100, packed("TicketStatementQuery", statement_handle=b"\xff\xff\xff\xff"), b"\n\x03abc"],
)
def test_what_is_no_command_is_refused_in_a_line(served: Service, content: bytes) -> None:
    options = flight.FlightCallOptions(headers=[(b"authorization", f"Bearer {KEY}".encode())])
    with flight.connect(address(served)) as client:
        calls = (
            lambda: client.get_flight_info(flight.FlightDescriptor.for_command(content), options),
            lambda: client.get_flight_info(flight.FlightDescriptor.for_path(b"trades"), options),
            lambda: client.do_get(flight.Ticket(content), options).read_all(),
            lambda: list(client.do_action(flight.Action("BeginTransaction", content), options)),
            lambda: list(client.do_action(flight.Action("CreatePreparedStatement", content), options)),
        )
        for call in calls:
            with pytest.raises(flight.FlightError) as failed:
                call()
            assert "Traceback" not in str(failed.value)
            assert "not foreseen" not in str(failed.value)


def test_the_service_says_where_it_answers_in_sql(served: Service) -> None:
    status = served.client.get("/v1/status", headers={"Authorization": f"Bearer {KEY}"}).json()
    assert status["flight_port"] == served.flight_port


def test_a_port_that_is_taken_is_one_line(served: Service, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="cannot be listened on for Flight SQL") as taken:
        FlightSqlServer(served.engine, Settings(flight_port=served.flight_port))
    assert "--flight-port" in taken.value.hint
    assert capfd.readouterr().err == ""


def test_it_listens_on_ipv6_too(served: Service) -> None:
    server = FlightSqlServer(served.engine, Settings(host="::1", flight_port=0))
    try:
        with flight.connect(f"grpc://[::1]:{server.port}") as client:
            assert next(action.type for action in client.list_actions()) == "CreatePreparedStatement"
    finally:
        server.close()
