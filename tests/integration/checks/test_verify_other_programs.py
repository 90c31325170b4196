"""`verify` after another program has committed valid files: it names the column and the trade that were altered."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyiceberg.io.pyarrow import parquet_file_to_data_file, schema_to_pyarrow

from k2ctl.checks.verify.verification import Verified, failed
from k2ctl.clock import SystemClock
from k2ctl.domain.rows import arrow_schema
from k2ctl.domain.topics import reference_topic_of
from k2ctl.endpoints import Endpoints
from k2ctl.errors import ExitCode
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.live_files import live_files
from k2ctl.lake.maintenance.compaction import Compactor
from k2ctl.profiles import Profile
from tests.made_trades import quick_profile
from tests.support.independent_reader import Sources
from tests.support.leases import of_this_machine
from tests.support.platforms import with_lake
from tests.support.verified import consumed, loaded, only

Change = Callable[[Any], Any]

OTHER_VALUES: dict[str, Change] = {
    "message_id": lambda _: uuid.UUID(int=7).bytes,
    "trade_id": lambda value: value + 1,
    "symbol": lambda _: "ZZZ",
    "exchange": lambda _: "ELSE",
    "asset_class": lambda _: "crypto",
    "timestamp": lambda value: value + timedelta(microseconds=1),
    "timestamp_nanos": lambda value: (value + 1) % 1000,
    "ingestion_timestamp": lambda value: value + timedelta(microseconds=1),
    "ingestion_timestamp_nanos": lambda value: (value + 1) % 1000,
    "price": lambda value: value + Decimal("1e-12"),
    "quantity": lambda value: value * 2,
    "currency": lambda value: value + "X",
    "side": lambda value: "SELL" if value == "BUY" else "BUY",
    "trade_conditions": lambda value: [*value, "X"],
    "action": lambda _: "CANCEL",
    "refers_to": lambda _: uuid.UUID(int=7).bytes,
    "source_sequence": lambda value: value + 1,
    "kafka_topic": lambda _: "market.equities.trades.else",
    "kafka_epoch": lambda _: "another",
    "kafka_partition": lambda value: value + 1,
    "kafka_offset": lambda value: value + 1,
    "kafka_index": lambda value: value + 1,
    "committed_at": lambda value: value + timedelta(days=1),
    "sector": lambda _: "Another",
    "tick_size": lambda value: value * 2,
    "lot_size": lambda value: value * 2,
    "enriched": lambda value: not value,
}


@pytest.fixture
def profile(exchange: str) -> Profile:
    quick = quick_profile()
    return quick.model_copy(update={"market": quick.market.model_copy(update={"exchange": exchange})})


@pytest.fixture
def endpoints(embedded_stack: Endpoints, home: Path, profile: Profile) -> Endpoints:
    """A table that holds all trades of a load, enriched."""
    endpoints = with_lake(embedded_stack, home)
    loaded(endpoints, profile)
    consumed(endpoints, profile)
    return endpoints


def rows_of(endpoints: Endpoints) -> pa.Table:
    table = Sources.of(endpoints).table()
    assert table is not None
    return table.scan().to_arrow()


def overwrite(endpoints: Endpoints, rows: pa.Table) -> None:
    """Replace all rows through a commit of pyiceberg's, which has a file for each hour."""
    table = Sources.of(endpoints).table()
    assert table is not None
    old = [task.file for task in table.scan().plan_files()]
    hours = pc.floor_temporal(rows["timestamp"], unit="hour")
    target = schema_to_pyarrow(table.schema())
    with table.transaction() as transaction, transaction.update_snapshot().overwrite() as overwriting:
        for file in old:
            overwriting.delete_data_file(file)
        for hour in hours.unique():
            path = f"{table.location()}/data/{uuid.uuid4()}.parquet"
            pq.write_table(rows.filter(pc.equal(hours, hour)).cast(target), path.removeprefix("file://"))
            overwriting.append_data_file(parquet_file_to_data_file(table.io, table.metadata, path))


def with_value(rows: pa.Table, column: str, at: int, change: Change) -> pa.Table:
    values = rows[column].to_pylist()
    values[at] = change(values[at])
    number, kind = rows.schema.get_field_index(column), rows.schema.field(column)
    if column in {"message_id", "refers_to"}:
        values = [value.bytes if isinstance(value, uuid.UUID) else value for value in values]
        storage = pa.array(values, pa.binary(16))
        made = pa.ExtensionArray.from_storage(pa.uuid(), storage) if kind.type == pa.uuid() else storage
        return rows.set_column(number, kind, made)
    return rows.set_column(number, kind, pa.array(values, kind.type))


def altered_in(result: Verified) -> set[tuple[str, int, int, str]]:
    return {(f.symbol, f.first, f.last, f.column) for f in result.findings if f.fault == "altered"}


def test_an_altered_value_of_any_column_is_named_with_its_trade(endpoints: Endpoints) -> None:
    rows = rows_of(endpoints)
    at = rows["symbol"].to_pylist().index("CBA") + 3
    number = rows["source_sequence"][at].as_py()
    assert list(OTHER_VALUES) == arrow_schema().names
    found, codes = {}, set()
    for column, change in OTHER_VALUES.items():
        overwrite(endpoints, with_value(rows, column, at, change))
        result = only(endpoints)
        found[column] = altered_in(result)
        codes.add(error.exit_code if (error := failed([result])) else 0)
    assert found == {column: {("CBA", number, number, column)} for column in OTHER_VALUES}
    assert codes == {ExitCode.UNHEALTHY}


def test_a_row_without_the_time_of_its_commit_is_named(endpoints: Endpoints) -> None:
    rows = rows_of(endpoints)
    at = rows["symbol"].to_pylist().index("CBA")
    overwrite(endpoints, with_value(rows, "committed_at", at, lambda _: None))
    assert [column for *_, column in altered_in(only(endpoints))] == ["committed_at"]


def test_rows_that_another_program_has_rewritten_unaltered_are_no_fault(endpoints: Endpoints) -> None:
    overwrite(endpoints, rows_of(endpoints).sort_by("trade_id"))
    result = only(endpoints)
    assert failed([result]) is None
    assert result.of_others == result.in_lake == result.expected
    assert result.not_judged == {}


def test_all_trades_of_a_symbol_that_were_altered_are_named(endpoints: Endpoints) -> None:
    rows = rows_of(endpoints)
    prices = [
        price + 1 if symbol == "BHP" else price
        for symbol, price in zip(rows["symbol"].to_pylist(), rows["price"].to_pylist(), strict=True)
    ]
    at = rows.schema.get_field_index("price")
    overwrite(endpoints, rows.set_column(at, rows.schema.field("price"), pa.array(prices, rows["price"].type)))
    result = only(endpoints)
    assert result.faults["altered"] == rows["symbol"].to_pylist().count("BHP")
    assert {(finding.symbol, finding.column) for finding in result.findings} == {("BHP", "price")}


def test_what_kafka_no_longer_holds_is_said_to_be_not_judged(endpoints: Endpoints, profile: Profile) -> None:
    topic = profile.trades_topic
    with BrokerAdmin(endpoints) as admin:
        admin.delete_topic(reference_topic_of(topic))
    rows = rows_of(endpoints)
    at = rows.schema.get_field_index("sector")
    sectors = pa.array(np.full(len(rows), "Another").tolist(), rows["sector"].type)
    overwrite(endpoints, rows.set_column(at, rows.schema.field("sector"), sectors))
    result = only(endpoints)
    assert failed([result]) is None
    assert result.not_judged == dict.fromkeys(("sector", "tick_size", "lot_size", "enriched"), len(rows))


def test_every_damaged_data_file_is_listed(endpoints: Endpoints, profile: Profile) -> None:
    for _ in range(2):
        loaded(endpoints, profile)
        consumed(endpoints, profile)
    table = Sources.of(endpoints).table()
    assert table is not None
    paths = sorted(task.file.file_path for task in table.scan().plan_files())
    flip, cut, gone = (Path(path.removeprefix("file://")) for path in paths[:3])
    content = bytearray(flip.read_bytes())
    content[len(content) // 2] ^= 1
    flip.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:-50])
    gone.unlink()
    result = only(endpoints)
    assert list(result.damaged) == paths[:3]
    error = failed([result])
    assert error is not None
    assert error.exit_code == ExitCode.UNHEALTHY
    assert f"3, such as {paths[0]}" in str(error)
    assert result.faults["missing"] == result.expected - result.in_lake > 0


def test_a_time_of_sending_is_compared_also_in_a_file_that_was_merged(
    endpoints: Endpoints,
) -> None:
    """A file of another program that k2ctl has merged into its own is known by the load's sums alone."""
    rows = rows_of(endpoints)
    at = rows["symbol"].to_pylist().index("CBA")
    number = rows["source_sequence"][at].as_py()
    column = "ingestion_timestamp"
    overwrite(endpoints, with_value(rows, column, at, OTHER_VALUES[column]))
    with Lake.at(endpoints) as lake:
        assert Compactor(lake, SystemClock(), of_this_machine("t")).compact(live_files(lake.table()))
    result = only(endpoints)
    assert result.of_others == 0
    ((symbol, first, last, named),) = altered_in(result)
    assert symbol == "CBA"
    assert named == column
    assert first <= number <= last
