"""A catalog in SQLite is read without SQLAlchemy: as the other way reads it, and in whatever file is there now."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from k2ctl.errors import LakeUnanswered
from k2ctl.lake.catalog import Lake
from k2ctl.lake.database import DatabaseCatalog
from k2ctl.lake.sqlite_file import FileCatalog


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a catalog that has the table."""
    with opened(tmp_path) as lake:
        lake.ensure_table()
    return tmp_path


def opened(place: Path) -> Lake:
    return Lake(f"sqlite:///{place}/catalog.db", f"file://{place}/warehouse")


def test_both_ways_name_the_same_metadata_file_after_each_swap(place: Path) -> None:
    with opened(place) as lake:
        quick, whole = lake.catalog, lake.catalog._whole
        assert (type(quick), type(whole)) == (FileCatalog, DatabaseCatalog)
        for number in range(3):
            lake.table().transaction().set_properties(number=str(number)).commit_transaction()
            assert quick.location_of(lake.name) == whole.location_of(lake.name)
            assert lake.table().metadata == whole.load_table(lake.name).metadata
        assert quick.location_of("market_data.none") is whole.location_of("market_data.none") is None


def test_a_file_that_was_replaced_is_read_and_one_that_is_gone_is_an_error(place: Path) -> None:
    copy = place / "copy.db"
    with opened(place) as lake:
        before = lake.table().metadata_location
        with sqlite3.connect(copy) as other, sqlite3.connect(place / "catalog.db") as own:
            own.backup(other)
        lake.table().transaction().set_properties(newer="yes").commit_transaction()
        assert lake.catalog.location_of(lake.name) != before
        for suffix in ("-wal", "-shm"):
            (place / f"catalog.db{suffix}").unlink(missing_ok=True)
        shutil.move(copy, place / "catalog.db")
        assert lake.catalog.location_of(lake.name) == before
        (place / "catalog.db").unlink()
        with pytest.raises(LakeUnanswered, match="is gone"):
            lake.find_table()


def test_a_catalog_of_the_older_layout_is_left_to_pyiceberg(place: Path) -> None:
    with sqlite3.connect(place / "catalog.db") as connection:
        connection.execute("ALTER TABLE iceberg_tables DROP COLUMN iceberg_type")
    with opened(place) as lake:
        assert isinstance(lake.catalog, DatabaseCatalog)
        assert lake.table().name() == ("market_data", "trades")


@pytest.mark.parametrize("name", ["a b:c#d", "a%20b"])
def test_both_ways_open_the_same_file_whatever_its_folder_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "a b").mkdir(exist_ok=True)
    for _ in range(2):  # the first has no catalog yet, so that the other way makes it
        with Lake(f"sqlite:///{tmp_path / name}/catalog.db", f"file://{tmp_path}/warehouse") as lake:
            lake.ensure_table()
            assert lake.table().metadata_location
