"""What other programs do to the table's schema, spec and files: one sentence and a next step, or the right rows."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.io.pyarrow import parquet_file_to_data_file, schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    IdentityTransform,
    MonthTransform,
    TruncateTransform,
    VoidTransform,
    YearTransform,
)
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimeType,
    UUIDType,
)

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Checkpoints, Counts, OffsetDelta, TopicPartition
from k2ctl.domain.decimals import as_decimal
from k2ctl.domain.rows import HOUR_US, NOT_IN_REFERENCE
from k2ctl.domain.topics import TABLE
from k2ctl.errors import LakeError
from k2ctl.lake import writer
from k2ctl.lake.catalog import Lake
from k2ctl.lake.maintenance import merge as merging
from k2ctl.lake.maintenance.compaction import Compaction
from k2ctl.lake.maintenance.maintainer import compact_now, whole_hours
from k2ctl.lake.maintenance.status import status_of
from k2ctl.lake.readers import recent_rows, sequenced_rows, stored_identities, stored_trades
from k2ctl.lake.scan import all_manifests
from k2ctl.lake.snapshots import pin
from k2ctl.lake.writer import TableWriter
from k2ctl.query.history import Asked, History
from tests.made_trades import BASE_US, make_rows, make_trades
from tests.support.leases import of_this_machine

CLOCK = SystemClock()


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Lake(f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/warehouse") as opened:
        yield opened


class Appender:
    """Commits made trades, 50 at a time."""

    def __init__(self, lake: Lake) -> None:
        self._writer = TableWriter(lake, CLOCK)
        self.committed = 0

    def append(self, times: int = 1) -> None:
        for _ in range(times):
            start, end = self.committed, self.committed + 50
            rows = make_rows(make_trades(50, start), start)
            rows = replace(rows, reference=np.full(len(rows), NOT_IN_REFERENCE, np.int32))
            done = self._writer.commit(
                [rows], {TopicPartition("t", "e", 0): OffsetDelta(start, end, Counts(seen=50, stored=50))}
            )
            assert not done.fenced
            self.committed = end


def raw(lake: Lake) -> Table:
    """The table as another program loads it."""
    return lake.catalog.load_table(TABLE)


def renamed(table: Table) -> None:
    with table.update_schema() as schema:
        schema.rename_column("symbol", "ticker")


def dropped(table: Table) -> None:
    with table.update_schema() as schema:
        schema.delete_column("price")


def added_again(table: Table) -> None:
    dropped(table)
    with table.update_schema() as schema:
        schema.add_column("price", StringType())


def added_again_alike(table: Table) -> None:
    kind = table.schema().find_field("price").field_type
    dropped(table)
    with table.update_schema() as schema:
        schema.add_column("price", kind)


UNREADABLE: list[tuple[Callable[[Table], None], str, str]] = [
    (renamed, "The column symbol of market_data.trades was renamed to ticker", "RENAME COLUMN ticker TO symbol"),
    (dropped, "The column price of market_data.trades was dropped", "metadata.json"),
    (added_again, "The column price of market_data.trades has the type string", "metadata.json"),
    (added_again_alike, "field id 10 is 29 now", "metadata.json"),
]


@pytest.mark.parametrize(("change", "message", "hint"), UNREADABLE)
def test_a_column_that_is_not_ours_any_more_is_refused_at_every_opening(
    lake: Lake, change: Callable[[Table], None], message: str, hint: str
) -> None:
    Appender(lake).append()
    change(raw(lake))
    with pytest.raises(LakeError, match=message) as refused:
        lake.table()
    assert hint in refused.value.hint


def test_a_table_of_another_kind_under_our_name_is_not_taken_for_ours(lake: Lake) -> None:
    lake.catalog.create_namespace("market_data")
    lake.catalog.create_table(TABLE, Schema(NestedField(1, "message_id", LongType(), required=True)))
    with pytest.raises(LakeError, match="is not one that k2ctl made"):
        lake.ensure_table()


def test_a_damaged_metadata_file_is_one_sentence(lake: Lake) -> None:
    path = Path(lake.ensure_table().metadata_location.removeprefix("file://"))
    whole = path.read_bytes()
    for left in (b"", b"{}", whole[: len(whole) // 2], whole.replace(b'"schemas"', b'"schemes"'), b"\xff\xfe" + whole):
        path.write_bytes(left)
        with pytest.raises(LakeError, match=r"metadata file of the table .* is damaged"):
            lake.table()


def of_format(lake: Lake, version: int) -> None:
    """Lift the table's format as another program does: by another number in its metadata."""
    path = Path(raw(lake).metadata_location.removeprefix("file://"))
    text = path.read_text().replace('"format-version":2', f'"format-version":{version},"next-row-id":0')
    path.write_text(text)


@pytest.mark.parametrize(("version", "message"), [(3, "format version 3"), (4, "is damaged|format version 4")])
def test_a_format_that_is_not_known_is_refused(lake: Lake, version: int, message: str) -> None:
    lake.ensure_table()
    of_format(lake, version)
    with pytest.raises(LakeError, match=message):
        lake.table()


def respecified(transforms: dict[str, Any]) -> Callable[[Table], None]:
    """Another partition spec: of each column by a transform; of none, an unpartitioned table."""

    def change(table: Table) -> None:
        with table.update_spec() as spec:
            spec.remove_field("timestamp_hour")
            for column, transform in transforms.items():
                spec.add_field(column, transform, f"by_{column}")

    return change


FILLED: list[dict[str, Any]] = [
    {},
    {"timestamp": DayTransform()},
    {"timestamp": MonthTransform()},
    {"timestamp": YearTransform()},
    {"sector": VoidTransform()},
]
UNFILLED: list[dict[str, Any]] = [
    {"symbol": IdentityTransform()},
    {"symbol": BucketTransform(4)},
    {"exchange": TruncateTransform(1)},
    {"ingestion_timestamp": DayTransform()},
]


@pytest.mark.parametrize("transforms", FILLED)
def test_a_file_is_filed_under_the_spec_that_it_is_committed_under(lake: Lake, transforms: dict[str, Any]) -> None:
    appender = Appender(lake)
    appender.append()
    respecified(transforms)(raw(lake))
    appender.append()
    appender.append()
    table = raw(lake)
    since = datetime.fromtimestamp(BASE_US / 1e6, UTC).isoformat()
    assert len(table.scan().to_arrow()) == len(table.scan(f"timestamp >= '{since}'").to_arrow()) == 150
    assert {task.file.spec_id for task in table.scan().plan_files()} == {0, table.metadata.default_spec_id}


@pytest.mark.parametrize("transforms", UNFILLED)
def test_a_spec_that_one_file_cannot_fill_is_refused_at_once(lake: Lake, transforms: dict[str, Any]) -> None:
    appender = Appender(lake)
    appender.append()
    respecified(transforms)(raw(lake))
    for commit in (appender.append, lambda: TableWriter(lake, CLOCK)):
        with pytest.raises(LakeError, match=r"is partitioned by .* it fills hour, day, month and year") as refused:
            commit()
        assert "DROP PARTITION FIELD by_" in refused.value.hint
    assert len(raw(lake).scan().to_arrow()) == 50
    (why,) = status_of(lake, CLOCK, of_this_machine).not_writable
    assert "is partitioned by" in why
    assert len(newest(lake)) == 50


def test_a_required_column_of_others_is_refused_for_writing_only(lake: Lake) -> None:
    appender = Appender(lake)
    appender.append()
    with raw(lake).update_schema(allow_incompatible_changes=True) as schema:
        schema.add_column("desk", StringType(), required=True)
    lake.table()
    with pytest.raises(LakeError, match=r"column desk of market_data.trades is required"):
        appender.append()


def test_a_column_that_may_be_empty_is_written_under_its_new_id(lake: Lake) -> None:
    appender = Appender(lake)
    appender.append()
    with raw(lake).update_schema() as schema:
        schema.delete_column("enriched")
    with raw(lake).update_schema() as schema:
        schema.add_column("enriched", BooleanType())
    appender.append()
    found = raw(lake).scan().to_arrow().column("enriched").to_pylist()
    assert (found.count(None), len(found)) == (50, 100)


def test_a_promoted_column_is_written_as_promoted(lake: Lake) -> None:
    appender = Appender(lake)
    appender.append()
    with raw(lake).update_schema() as schema:
        schema.update_column("kafka_partition", LongType())
        schema.update_column("timestamp_nanos", LongType())
    appender.append()
    rows = raw(lake).scan().to_arrow()
    assert (len(rows), str(rows.schema.field("timestamp_nanos").type)) == (100, "int64")


def test_statistics_that_others_switched_off_leave_the_partition_known(lake: Lake) -> None:
    appender = Appender(lake)
    with raw(lake).transaction() as transaction:
        transaction.set_properties({"write.metadata.metrics.default": "none"})
    appender.append()
    (task,) = raw(lake).scan().plan_files()
    assert task.file.partition[0] == BASE_US // HOUR_US


def compact(lake: Lake) -> list[Compaction]:
    return compact_now(lake, CLOCK, whole_hours, of_this_machine)


def sorted_rows(table: Table) -> list[dict[str, Any]]:
    return table.scan().to_arrow().sort_by("kafka_offset").to_pylist()


def with_columns_of_others(lake: Lake, appender: Appender) -> None:
    """Rows before, and of another program after it added columns of every kind."""
    appender.append(2)
    with raw(lake).update_schema() as schema:
        schema.add_column("note", StringType())
        schema.add_column("seen_by", ListType(100, StringType(), element_required=False))
        schema.add_column("desk", StructType(NestedField(101, "id", IntegerType()), NestedField(102, "at", DateType())))
        schema.add_column("tags", MapType(103, StringType(), 104, DoubleType(), value_required=False))
        schema.add_column("raw", BinaryType())
        schema.add_column("rank", DecimalType(30, 2))
        schema.add_column("booked", TimeType())
        schema.add_column("local", TimestampType())
        schema.add_column("key", UUIDType())
        schema.add_column("Odd name\"'", FixedType(3))
    table = raw(lake)
    rows = table.scan().to_arrow()
    filled = {
        "note": ["it's"] * len(rows),
        "seen_by": [["a", None]] * len(rows),
        "desk": [{"id": 7, "at": date(2024, 2, 29)}] * len(rows),
        "tags": [[("x", 0.5)]] * len(rows),
        "raw": [b"\x00\xff"] * len(rows),
        "rank": [Decimal("-12345678901234567890.12")] * len(rows),
        "booked": [time(1, 2, 3, 4)] * len(rows),
        "local": [datetime(2024, 1, 1, 0, 0, 0, 5)] * len(rows),
        "key": [UUID(int=5).bytes] * len(rows),
        "Odd name\"'": [b"abc"] * len(rows),
    }
    for name, values in filled.items():
        at = rows.schema.get_field_index(name)
        kind = rows.schema.field(name).type
        column = pa.array(values, kind.storage_type).cast(kind) if name == "key" else pa.array(values, kind)
        rows = rows.set_column(at, rows.schema.field(name), column)
    rewrite(lake, rows)
    appender.append()


def rewrite(lake: Lake, rows: pa.Table) -> None:
    """Put all rows into one file, as another program does."""
    table = raw(lake)
    path = f"{table.location()}/data/others-{len(rows)}.parquet"
    target = schema_to_pyarrow(table.schema())
    pq.write_table(rows.cast(target), path.removeprefix("file://"))
    with table.transaction() as transaction, transaction.update_snapshot().overwrite() as overwrite:
        for task in table.scan().plan_files():
            overwrite.delete_data_file(task.file)
        overwrite.append_data_file(parquet_file_to_data_file(table.io, table.metadata, path))


def test_a_compaction_carries_the_columns_of_others(lake: Lake) -> None:
    with_columns_of_others(lake, Appender(lake))
    before = sorted_rows(raw(lake))
    assert [done.rows for done in compact(lake)] == [150]
    after = sorted_rows(raw(lake))
    assert after == before
    assert [row["desk"] for row in after].count({"id": 7, "at": date(2024, 2, 29)}) == 100
    assert len(list(raw(lake).scan().plan_files())) == 1


@pytest.mark.parametrize("transforms", [*FILLED, {"timestamp": HourTransform()}])
def test_files_of_two_specs_become_one_under_the_present_one(lake: Lake, transforms: dict[str, Any]) -> None:
    appender = Appender(lake)
    appender.append(2)
    respecified(transforms)(raw(lake))
    appender.append(2)
    before = sorted_rows(raw(lake))
    assert [done.files_before for done in compact(lake)] == [4]
    table = raw(lake)
    (task,) = table.scan("timestamp >= '2000-01-01T00:00:00+00:00'").plan_files()
    assert task.file.spec_id == table.metadata.default_spec_id
    assert sorted_rows(table) == before


def test_a_spec_that_changes_during_a_merge_costs_the_merge_and_nothing_else(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    Appender(lake).append(3)
    real = merging.merge

    def slow(*arguments: Any) -> Any:
        merged = real(*arguments)
        respecified({"timestamp": DayTransform()})(raw(lake))
        return merged

    monkeypatch.setattr(merging, "merge", slow)
    with pytest.raises(LakeError, match="during a merge"):
        compact(lake)
    assert len(list(raw(lake).scan().plan_files())) == 3


def test_a_data_file_replaced_by_a_copy_of_a_longer_one_is_not_merged(lake: Lake) -> None:
    Appender(lake).append(3)
    first, second, _ = (Path(task.file.file_path.removeprefix("file://")) for task in raw(lake).scan().plan_files())
    rows = pq.read_table(first)
    pq.write_table(pa.concat_tables([rows, rows]), second)
    with pytest.raises(LakeError):
        compact(lake)
    assert len(list(raw(lake).scan().plan_files())) == 3


def test_inner_columns_that_were_renamed_are_not_merged(lake: Lake) -> None:
    with_columns_of_others(lake, Appender(lake))
    with raw(lake).update_schema() as schema:
        schema.rename_column("desk.id", "number")
    with pytest.raises(LakeError, match="Inside of the column desk"):
        compact(lake)


def newest(lake: Lake) -> list[dict[str, Any]]:
    pinned, history = pin(lake), History(lake)
    assert pinned is not None
    try:
        return history.newest(pinned.plan(), Asked(), None).sort_by("kafka_offset").to_pylist()
    finally:
        history.close()


def test_a_file_is_read_by_field_ids_whatever_it_calls_its_columns(lake: Lake) -> None:
    """A column was renamed, files were written, and it was renamed back."""
    Appender(lake).append(2)
    before = newest(lake)
    with raw(lake).update_schema() as schema:
        schema.rename_column("price", "quantity_of_money")
        schema.rename_column("quantity", "price")
    rewrite(lake, raw(lake).scan().to_arrow())
    with raw(lake).update_schema() as schema:
        schema.rename_column("price", "quantity")
        schema.rename_column("quantity_of_money", "price")
    assert newest(lake) == before
    pinned = pin(lake)
    assert pinned is not None
    prices = np.concatenate([placed.trades["price"] for placed in stored_trades(pinned, "t", None)])
    assert sorted(map(as_decimal, prices)) == sorted(row["price"] for row in before)
    assert read_by_all(lake) == [100] * 5


def read_by_all(lake: Lake) -> list[int]:
    """How many rows each of the readers finds: of a query, of verify, of gaps, of a restart, of a backfill."""
    pinned = pin(lake)
    assert pinned is not None
    table = lake.table()
    return [
        len(newest(lake)),
        sum(len(placed.trades) for placed in stored_trades(pinned, "t", None)),
        sum(map(len, sequenced_rows(pinned))),
        sum(map(len, recent_rows(table, 0, "t", [0]))),
        len(stored_identities(table, "t", "e", {0: (0, 1000)})[0]),
    ]


def test_a_promoted_column_is_read_with_all_its_files(lake: Lake) -> None:
    appender = Appender(lake)
    appender.append()
    with raw(lake).update_schema() as schema:
        schema.update_column("kafka_partition", LongType())
        schema.update_column("timestamp_nanos", LongType())
    appender.append()
    assert [row["kafka_offset"] for row in newest(lake)] == list(range(100))
    assert read_by_all(lake) == [100] * 5


def foreign(lake: Lake) -> None:
    """A file without field ids, as another program adds it."""
    table = raw(lake)
    (task,) = table.scan().plan_files()
    rows = pq.read_table(task.file.file_path.removeprefix("file://"))
    bare = rows.cast(pa.schema([field.remove_metadata() for field in rows.schema]))
    path = f"{table.location()}/data/foreign.parquet"
    pq.write_table(bare, path.removeprefix("file://"))
    table.add_files([path])


def test_a_file_without_field_ids_is_read_by_names_while_these_never_changed_and_then_refused(lake: Lake) -> None:
    Appender(lake).append()
    foreign(lake)
    assert len(newest(lake)) == 100
    with pytest.raises(LakeError, match="without field ids"):
        compact(lake)
    with raw(lake).update_schema() as schema:
        schema.add_column("note", StringType())
    with pytest.raises(LakeError, match="without field ids"):
        newest(lake)


def test_a_table_registered_again_from_an_older_metadata_file_goes_on_from_there(lake: Lake) -> None:
    appender = Appender(lake)
    appender.append()
    before = raw(lake).metadata_location
    appender.append()
    dropped(raw(lake))
    lake.catalog.drop_table(TABLE)
    lake.catalog.register_table(TABLE, before)
    again = Appender(lake)
    again.committed = 50
    again.append()
    assert [row["kafka_offset"] for row in newest(lake)] == list(range(100))


def test_a_spec_that_changes_between_loading_and_the_swap_is_a_conflict(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    appender, real, changed = Appender(lake), writer.checkpoints_of, []

    def racing(table: Table) -> Checkpoints:
        if not changed:
            changed.append(table)
            respecified({"timestamp": DayTransform()})(raw(lake))
        return real(table)

    monkeypatch.setattr(writer, "checkpoints_of", racing)
    appender.append()
    (task,) = raw(lake).scan("timestamp >= '2000-01-01T00:00:00+00:00'").plan_files()
    assert (task.file.record_count, task.file.spec_id) == (50, raw(lake).metadata.default_spec_id)
    (manifest,) = all_manifests(raw(lake), raw(lake).current_snapshot())
    assert manifest.partition_spec_id == task.file.spec_id
