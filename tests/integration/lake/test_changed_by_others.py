"""What other programs do to the table's schema, spec and files: one sentence and a next step, or the right rows."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import LongType, NestedField, StringType

from k2ctl.clock import SystemClock
from k2ctl.errors import LakeError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.heads import Advance, Counts, Lane
from k2ctl.lake.writer import TableWriter
from k2ctl.schema.topics import TABLE
from tests.made_trades import make_rows, make_trades

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
            done = self._writer.commit([rows], {Lane("t", "e", 0): Advance(start, end, Counts(seen=50, stored=50))})
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
    (added_again_alike, "field id 8 is 23 now", "metadata.json"),
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
