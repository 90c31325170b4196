"""Manifests are read and written with what was made for another file of their schema, as if it had been made for it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyiceberg.manifest import ManifestEntry
from pyiceberg.transforms import DayTransform

from k2ctl.clock import SystemClock
from k2ctl.lake.catalog import Lake
from k2ctl.lake.pyiceberg_overrides import avro_schemas
from k2ctl.lake.scan import TableScan
from k2ctl.lake.writer import TableWriter
from tests.support.lake_commits import commit


def entries(lake: Lake) -> list[ManifestEntry]:
    return [*TableScan.newest(lake.table()).all_entries()]


def in_words(entry: ManifestEntry) -> str:
    """All that a manifest says of a file."""
    file = entry.data_file
    said = [file[at] for at in range(len(file))]
    fields = [dict(one) if isinstance(one, Mapping) else one for one in said]
    return repr([entry.status, entry.snapshot_id, entry.sequence_number, *fields])


@contextmanager
def two_commits(folder: Path) -> Iterator[tuple[Lake, TableWriter]]:
    """A table after them, and its writer."""
    with Lake(f"sqlite:///{folder}/catalog.db", f"file://{folder}/warehouse") as lake:
        writer = TableWriter(lake, SystemClock())
        commit(writer, 0)
        commit(writer, 50)
        yield lake, writer


def test_manifests_of_two_specs_are_read_alike_with_and_without_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_commits(tmp_path) as (lake, writer):
        with lake.table().update_spec() as update:
            update.remove_field("timestamp_hour")
            update.add_field("timestamp", DayTransform(), "timestamp_day")
        commit(writer, 100)
        kept = [in_words(entry) for entry in entries(lake)]
        assert len({entry.data_file.spec_id for entry in entries(lake)}) == 2
        made = 0
        for name in ("_schema_of", "_reader"):
            inner = getattr(avro_schemas, name).__wrapped__

            def made_again(*arguments: object, inner: object = inner) -> object:
                nonlocal made
                made += 1
                return inner(*arguments)  # type: ignore[operator]

            monkeypatch.setattr(avro_schemas, name, made_again)
        assert [in_words(entry) for entry in entries(lake)] == kept
        assert made


def test_a_manifest_is_written_alike_with_and_without_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_commits(tmp_path) as (lake, writer):
        for name in ("_writer", "_in_avro", "_entry_schema"):
            monkeypatch.setattr(avro_schemas, name, getattr(avro_schemas, name).__wrapped__)
        commit(writer, 100)
        snapshot = lake.table().metadata.snapshots[-2:]
        headers = [
            Path(manifest.manifest_path.removeprefix("file://")).read_bytes().partition(b"avro.schema")[2][:2000]
            for one in snapshot
            for manifest in one.manifests(lake.table().io)[:1]
        ]
        assert headers[0] == headers[1]
        assert len(entries(lake)) == 3
