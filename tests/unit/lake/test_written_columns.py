"""How rows become the columns of a data file: in parts, each column by what its values are."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k2ctl.domain.rows import arrow_schema, as_declared, hours_in_order
from k2ctl.lake import files
from tests.made_trades import make_rows, make_trades


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(symbols=st.lists(st.sampled_from([b"A", b"AB", b"B", b"ZZZZZZZZZ"]), min_size=1, max_size=40))
def test_rows_that_become_columns_in_parts_are_what_they_are_in_one(
    symbols: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "ROW_GROUP_ROWS", 16)
    monkeypatch.setattr(files, "_CONVERTED_AT_ONCE", 5)
    trades = make_trades(len(symbols))
    trades["symbol"] = symbols
    rows = make_rows(trades)
    (order,) = hours_in_order(rows)
    groups = list(files.row_groups(rows, order, 1))
    assert [len(group) for group in groups] == [min(16, len(rows) - at) for at in range(0, len(rows), 16)]
    assert as_declared(pa.concat_tables(groups, promote_options="permissive")).equals(
        as_declared(rows.take(order).to_arrow(1))
    )


def test_every_column_is_compressed_unless_it_is_of_runs_also_one_that_another_program_added() -> None:
    added = pa.field("venue_note", pa.string())
    options = files.parquet_options(arrow_schema().append(added))
    rows = make_rows(make_trades(1_000))
    columns = as_declared(rows.take(np.arange(len(rows))).to_arrow(1))
    columns = columns.append_column(added, pa.array([f"note {at}" for at in range(len(columns))]))
    target = io.BytesIO()
    pq.write_table(columns, target, **options)
    group = pq.read_metadata(target).row_group(0)
    kinds = {group.column(at).path_in_schema: group.column(at).compression for at in range(group.num_columns)}
    assert kinds == {name: "UNCOMPRESSED" if name in files._RUNS else "ZSTD" for name in kinds}
    assert kinds["venue_note"] == "ZSTD"
