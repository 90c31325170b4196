"""Manifests, read. One that is gone, damaged, or says that rows were deleted is an error of one sentence."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pyiceberg.expressions import BooleanExpression
from pyiceberg.manifest import DataFile, FileFormat, ManifestContent, ManifestEntry, ManifestFile
from pyiceberg.table import ManifestGroupPlanner, Table
from pyiceberg.table.snapshots import Snapshot

from k2ctl.errors import K2Error, LakeError, LakeUnanswered
from k2ctl.lake.opened import RESTORE, damaged


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    """A block in which a manifest, or the list of them, is read."""
    try:
        yield
    except K2Error:
        raise
    except FileNotFoundError as error:
        raise LakeUnanswered(f"{what} is gone.", RESTORE) from error
    except OSError as error:
        raise LakeUnanswered(f"{what} cannot be read: {error}", "See: k2ctl stack status") from error
    except Exception as error:  # a decoder of Avro raises anything at all when it meets other bytes
        raise damaged(what, error) from error


def all_manifests(table: Table, snapshot: Snapshot | None) -> list[ManifestFile]:
    """Manifests of data and of deletes; none before the first snapshot."""
    if snapshot is None:
        return []
    with _decoding(f"The manifest list {snapshot.manifest_list}"):
        return snapshot.manifests(table.io)


def refuse_deletes(manifests: list[ManifestFile]) -> None:
    """Refuse a snapshot of which another program has deleted rows: readers do not apply such deletes.

    Raises:
        LakeError: there are delete files.
    """
    of_deletes = [manifest for manifest in manifests if manifest.content != ManifestContent.DATA]
    if any(manifest.has_added_files() or manifest.has_existing_files() for manifest in of_deletes):
        raise LakeError(
            "The table has delete files, which K2 does not write; their deletes would not be applied.",
            "Rewrite the table without them (rewrite_data_files in Spark), then try again.",
        )


def of_data(manifests: list[ManifestFile]) -> list[ManifestFile]:
    """Those of data files."""
    return [manifest for manifest in manifests if manifest.content == ManifestContent.DATA]


def entries_of(table: Table, manifest: ManifestFile, *, live: bool = True) -> list[ManifestEntry]:
    """The entries of a manifest. live: only of files that are part of its snapshot."""
    with _decoding(f"The manifest {manifest.manifest_path}"):
        return manifest.fetch_manifest_entry(table.io, discard_deleted=live)


def data_entries(table: Table, manifest: ManifestFile) -> list[ManifestEntry]:
    """The live entries of a manifest of data.

    Raises:
        LakeError: another program has added a file that is not Parquet.
    """
    entries = entries_of(table, manifest)
    _check_formats(entry.data_file for entry in entries)
    return entries


def _check_formats(files: Iterable[DataFile]) -> None:
    other = next((file for file in files if file.file_format != FileFormat.PARQUET), None)
    if other is not None:
        raise LakeError(
            f"The data file {other.file_path}, which another program added, is {other.file_format.value}; k2ctl reads "
            "Parquet.",
            "Write it again, in Spark: CALL system.rewrite_data_files('market_data.trades')",
        )


def matching_files(table: Table, manifests: list[ManifestFile], where: str | BooleanExpression) -> list[DataFile]:
    """The data files of some manifests that may hold rows of `where`."""
    with _decoding("A manifest of the table"):
        tasks = ManifestGroupPlanner(table.metadata, table.io, where).plan_files(manifests)
        files = [task.file for task in tasks]
    _check_formats(files)
    return files
