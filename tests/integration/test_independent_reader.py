"""The oracle of the fault tests finds what is missing, doubled and altered, and shares no code with what it judges."""

import ast
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

from k2ctl.domain.rows import arrow_schema
from k2ctl.endpoints import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.lake.files import write_file
from tests.made_trades import make_trades, produce_trades
from tests.support import independent_columns, independent_reader
from tests.support.independent_reader import Sources, assert_stored_once
from tests.support.platforms import catch_up, empty_market

Change = Callable[[Any], Any]


@pytest.fixture
def stored(endpoints: Endpoints, exchange: str) -> tuple[Endpoints, str]:
    """Forty trades, three of them sent twice, in the table."""
    profile, topic = empty_market(endpoints, exchange)
    trades = make_trades(40)
    produce_trades(endpoints, topic, trades, frame=7)
    produce_trades(endpoints, topic, trades[:3])
    catch_up(endpoints, profile)
    return endpoints, topic


def replace_rows(endpoints: Endpoints, rows: pa.Table) -> None:
    """Commit other rows, all of one hour, in the place of those in the table."""
    with Lake.at(endpoints) as lake:
        table = lake.table()
        with table.transaction() as transaction, transaction.update_snapshot().overwrite() as snapshot:
            for task in table.scan().plan_files():
                snapshot.delete_data_file(task.file)
            snapshot.append_data_file(write_file(table, rows))


def rows_of(endpoints: Endpoints) -> pa.Table:
    with Lake.at(endpoints) as lake:
        return lake.table().scan().to_arrow().cast(arrow_schema())


def test_what_is_all_there_is_found_so_and_copies_are_counted(stored: tuple[Endpoints, str]) -> None:
    assert assert_stored_once(Sources.of(stored[0]), stored[1]) == 3


def test_a_missing_row_is_found(stored: tuple[Endpoints, str]) -> None:
    replace_rows(stored[0], rows_of(stored[0]).slice(1))
    with pytest.raises(AssertionError, match="1 of 40 trades are missing"):
        assert_stored_once(Sources.of(stored[0]), stored[1])


def test_a_doubled_row_is_found(stored: tuple[Endpoints, str]) -> None:
    rows = rows_of(stored[0])
    replace_rows(stored[0], pa.concat_tables([rows, rows.slice(5, 1)]))
    with pytest.raises(AssertionError, match="1 trades are stored more than once"):
        assert_stored_once(Sources.of(stored[0]), stored[1])


def with_value(rows: pa.Table, column: str, change: Change) -> pa.Table:
    values = rows[column].to_pylist()
    values[7] = change(values[7])
    at, field = rows.schema.get_field_index(column), rows.schema.field(column)
    return rows.set_column(at, field, pa.array(values, field.type))


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("price", lambda value: value + Decimal("1e-12"), "1 of 40 trades are missing"),
        ("quantity", lambda value: value * 2, "1 of 40 trades are missing"),
        ("timestamp_nanos", lambda value: value + 1, "1 of 40 trades are missing"),
        ("action", lambda _: "CANCEL", "1 of 40 trades are missing"),
        ("ingestion_timestamp", lambda value: value + timedelta(microseconds=1), "differs"),
        ("ingestion_timestamp_nanos", lambda value: value + 1, "differs"),
        ("trade_id", lambda value: value + 1, "differs"),
        ("source_sequence", lambda value: value + 1, "differs"),
        ("trade_conditions", lambda _: ["X"], "differs"),
        ("committed_at", lambda _: None, "no time of its commit"),
        ("committed_at", lambda value: value + timedelta(days=1), "was committed at"),
    ],
)
def test_an_altered_value_is_found(stored: tuple[Endpoints, str], column: str, change: Change, message: str) -> None:
    replace_rows(stored[0], with_value(rows_of(stored[0]), column, change))
    with pytest.raises(AssertionError, match=message):
        assert_stored_once(Sources.of(stored[0]), stored[1])


@pytest.mark.parametrize("module", [independent_reader, independent_columns])
def test_it_imports_nothing_of_k2ctl(module: ModuleType) -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text())
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    found = [name for name in names if name.startswith(("k2ctl", "tests"))]
    assert set(found) <= {"tests.support.independent_columns"}
