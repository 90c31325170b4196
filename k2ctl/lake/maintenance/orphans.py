"""The orphan removal: deletes files that nothing refers to any more. pyiceberg's expiry deletes none.

A file is an orphan when it is under the table's location and no snapshot and no entry of the metadata log leads to
it. It is deleted once it is older than the longest time that a writer may take between writing a file and committing
it, or a query between planning and reading.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, cast

from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table

from k2ctl.clock import Clock
from k2ctl.errors import LakeError, first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.place import SUFFIX as METADATA
from k2ctl.lake.place import last_commit, read_all, same_file, without_scheme
from k2ctl.lake.scan import all_manifests, entries_of
from k2ctl.lake.side_folder import QUARANTINE, live_dedup_names, side_locations, side_suffix

LOG: Final = logging.getLogger("k2ctl.lake")


@dataclass(frozen=True)
class Orphan:
    """A file of the table's, or beside it, that nothing refers to. name: relative to its location."""

    name: str
    bytes: int
    age_s: float


@dataclass(frozen=True)
class OrphansRemoved:
    """What orphan removal deleted, or with `dry_run` would delete; `young` orphans were left for later."""

    files: int
    bytes: int
    young: int
    dry_run: bool


def remove_orphans(lake: Lake, older_than_s: float, clock: Clock, *, dry_run: bool = False) -> OrphansRemoved:
    """Delete the orphans that are older than `older_than_s`; a file that is gone already is no error."""
    table = lake.table()
    checkpoints_of(table)  # in a table that was rolled back the way back stays open
    lake.require_known(lake.name, table)
    with lake.answering():
        found = orphans(lake, clock)
    old = [orphan for orphan in found if orphan.age_s >= older_than_s]
    if not dry_run and old:
        filesystem, root = _file_system(lake.table())
        for orphan in old:
            with suppress(FileNotFoundError):  # another process has deleted it
                filesystem.delete_file(_path(root, orphan.name))
        LOG.info("removed orphans", extra={"files": len(old), "bytes": sum(orphan.bytes for orphan in old)})
    return OrphansRemoved(len(old), sum(orphan.bytes for orphan in old), len(found) - len(old), dry_run)


def remove_listed(lake: Lake, locations: Sequence[str], older_than_s: float, clock: Clock) -> OrphansRemoved:
    """Delete files that another program found unreachable, as far as they are the table's own and old enough.

    The side folder stays, wherever it is: its name begins with an underscore. So does what other tables need.
    """
    table = lake.table()
    checkpoints_of(table)
    lake.require_known(lake.name, table)
    root = without_scheme(table.location().rstrip("/")) + "/"
    names = [path.removeprefix(root) for path in map(without_scheme, locations) if path.startswith(root)]
    names = [name for name in names if not name.startswith(("_", "."))]
    with lake.answering():
        others = Others(lake, table, names)
        filesystem, path = _file_system(table)
        infos = filesystem.get_file_info([_path(path, name) for name in names])
    now_s, old, young = clock.now_us() / 1e6, list[Orphan](), 0
    for name, info in zip(names, infos, strict=True):
        if info.type != FileType.File or name in others.reachable or others.holds(name):
            continue
        orphan = Orphan(name, info.size, now_s - info.mtime_ns / 1e9)
        old += [orphan] if orphan.age_s >= older_than_s else []
        young += orphan.age_s < older_than_s
    for orphan in old:
        with suppress(FileNotFoundError):
            filesystem.delete_file(_path(path, orphan.name))
    return OrphansRemoved(len(old), sum(orphan.bytes for orphan in old), young, dry_run=False)


def orphans(lake: Lake, clock: Clock) -> list[Orphan]:
    """The files that nothing refers to, of any age: of the table, and spill, ledger and dedup files beside it.

    Saved deduplication state is kept for its window, and an index as long as a file that it names is kept.

    Files are listed before the metadata is read: what is committed in between is then reachable.
    """
    now_s = clock.now_us() / 1e6
    listed, beside = (
        list(_listed(lake.table(), "", now_s)),
        list(_listed(lake.table(), side_suffix(lake.table()), now_s)),
    )
    table = lake.table()
    reachable = reachable_names(table)
    others = Others(lake, table, [file.name for file in listed if file.name not in reachable])
    reachable |= others.reachable
    outstanding = {location.rpartition("/")[2] for location in side_locations(table)} | others.beside
    outstanding |= live_dedup_names(table, [file.name.rpartition("/")[2] for file in beside], clock.now_us())
    forgotten = [
        file for file in beside if file.name.rpartition("/")[2] not in outstanding and QUARANTINE not in file.name
    ]
    left = [file for file in listed if file.name not in reachable and not others.holds(file.name)]
    return left + forgotten


def reachable_names(table: Table, root: str = "") -> set[str]:
    """Names, relative to the table's location or another root, of every file there that its metadata leads to."""
    metadata, root = table.metadata, without_scheme((root or table.location()).rstrip("/") + "/")
    paths = {table.metadata_location, *(entry.metadata_file for entry in metadata.metadata_log)}
    paths |= {statistics.statistics_path for statistics in metadata.statistics}
    paths |= {statistics.statistics_path for statistics in metadata.partition_statistics}
    manifests = {}
    for snapshot in metadata.snapshots:
        paths.add(snapshot.manifest_list)
        manifests.update({manifest.manifest_path: manifest for manifest in all_manifests(table, snapshot)})
    for path, manifest in manifests.items():
        paths.add(path)
        paths.update(entry.data_file.file_path for entry in entries_of(table, manifest))
    return {path.removeprefix(root) for path in map(without_scheme, paths) if path.startswith(root)}


class Others:
    """Files under a table's location that other tables need, which orphan removal must leave.

    Of every other table that the database knows: its files, all that is under its own location, and what it deferred.
    Of metadata that no table has: everything that it names, because a writer may be about to commit it.
    """

    def __init__(self, lake: Lake, table: Table, unreached: Sequence[str]) -> None:
        """unreached: names of files under the table's location that its own metadata does not lead to.

        Raises:
            LakeError: metadata of another table cannot be read, so that it is unknown what it names.
        """
        self.reachable: set[str] = set()
        self.beside: set[str] = set()
        self._inside: set[str] = set()
        self._name = lake.name
        root = table.location().rstrip("/")
        for (_, name), location in lake.catalog.rows().items():
            if not same_file(location, table.metadata_location):
                read = partial(lake.catalog.read_table, name, location, table.io)
                self._note(table, root, name, location, read)
        unknown = read_all(table.io, [f"{root}/{name}" for name in unreached if name.endswith(METADATA)])
        for file in unknown:
            if file.table_uuid != str(table.metadata.table_uuid) or file.commit > last_commit(table.metadata):
                self._note(table, root, self._name, file.location, partial(_read, table, file.location))

    def _note(self, table: Table, root: str, name: str, location: str, read: Callable[[], Table]) -> None:
        try:
            other = read()
            self.reachable |= reachable_names(other, root)
            if without_scheme(other.location()).rstrip("/") == without_scheme(root):
                self.beside |= {spilled.rpartition("/")[2] for spilled in side_locations(other)}
        except (FileNotFoundError, NoSuchTableError):
            return  # without its metadata it names nothing
        except Exception as error:
            if name == self._name and _has_lost(table, location):
                return
            raise LakeError(
                f"What the table {name} names cannot be read, so nothing is deleted: {location}: {first_line(error)}",
                "Repair that table, or remove it from the catalog.",
            ) from error
        place, above = without_scheme(other.location()), without_scheme(root) + "/"
        if place.startswith(above):
            self._inside.add(place.removeprefix(above).rstrip("/") + "/")

    def holds(self, name: str) -> bool:
        """True if a file is under the location of another table."""
        return any(name.startswith(folder) for folder in self._inside)


def _read(table: Table, location: str) -> Table:
    """A table of a metadata file at the place of another one."""
    metadata = FromInputFile.table_metadata(table.io.new_input(location))
    return Table(table.name(), metadata, location, table.io, table.catalog)


def _has_lost(table: Table, location: str) -> bool:
    """True if a metadata file is of a commit that met a conflict: its list of manifests is deleted then."""
    found = read_all(table.io, [location])
    lists = [file.manifest_list for file in found if file.manifest_list]
    return not any(table.io.new_input(manifests).exists() for manifests in lists)


def _file_system(table: Table) -> tuple[FileSystem, str]:
    """The table's file system and the path of its location there."""
    io = cast(PyArrowFileIO, table.io)
    scheme, netloc, path = io.parse_location(table.location(), io.properties)
    return io.fs_by_scheme(scheme, netloc), path.rstrip("/")


def _path(root: str, name: str) -> str:
    """Where a file of a name is, given the path of the table's location."""
    return f"{root}/{name}" if not name.startswith("../") else f"{root.rpartition('/')[0]}/{name[3:]}"


def _listed(table: Table, suffix: str, now_s: float) -> Iterator[Orphan]:
    """Every file under the table's location, or with a suffix in the side folder. Links are not followed."""
    filesystem, location = _file_system(table)
    root, side = location + suffix, location + side_suffix(table)
    parent = "../" if suffix and not suffix.startswith("/") else ""
    inside = f"{parent}{root.rpartition('/')[2]}/" if suffix else ""
    pending = [root]
    while pending:
        for info in filesystem.get_file_info(FileSelector(pending.pop(), allow_not_found=True)):
            if isinstance(filesystem, LocalFileSystem) and Path(info.path).is_symlink():
                continue
            if info.type == FileType.Directory:
                pending += [info.path] if suffix or info.path != side else []
            elif info.type == FileType.File and info.path.startswith(root + "/"):
                yield Orphan(inside + info.path.removeprefix(root + "/"), info.size, now_s - info.mtime_ns / 1e9)
