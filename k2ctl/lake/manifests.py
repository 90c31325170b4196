"""The manifests of a snapshot, read: what is away, damaged, or says that rows were deleted is one sentence each."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pyiceberg.expressions import BooleanExpression
from pyiceberg.manifest import DataFile, FileFormat, ManifestContent, ManifestEntry, ManifestFile
from pyiceberg.table import ManifestGroupPlanner, Table
from pyiceberg.table.snapshots import Snapshot

from k2ctl.errors import K2Error, LakeError, LakeUnanswered
from k2ctl.lake.opened import RESTORE, damaged


def delete_files_found() -> LakeError:
    """The error of a table that another program has deleted rows of, in files that our readers do not apply."""
    return LakeError(
        "The table has delete files, which K2 does not write; their deletes would not be applied.",
        "Rewrite the table without them (rewrite_data_files in Spark), then try again.",
    )


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
    except Exception as error:  # whatever a decoder of Avro raises that meets other bytes
        raise damaged(what, error) from error


def all_manifests(table: Table, snapshot: Snapshot | None) -> list[ManifestFile]:
    """Of data and of deletes; none before the first snapshot."""
    if snapshot is None:
        return []
    with _decoding(f"The manifest list {snapshot.manifest_list}"):
        return snapshot.manifests(table.io)


def data_manifests(table: Table, snapshot: Snapshot | None) -> list[ManifestFile]:
    """For a reader of rows, which would have to apply deletes.

    Raises:
        LakeError: there are delete files.
    """
    manifests = all_manifests(table, snapshot)
    of_deletes = [manifest for manifest in manifests if manifest.content != ManifestContent.DATA]
    if any(manifest.has_added_files() or manifest.has_existing_files() for manifest in of_deletes):
        raise delete_files_found()
    return of_data(manifests)


def of_data(manifests: list[ManifestFile]) -> list[ManifestFile]:
    """For a reader to whom a row that was deleted counts as stored."""
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
            "Write it anew, in Spark: CALL system.rewrite_data_files('market_data.trades')",
        )


def files_met(
    table: Table, snapshot: Snapshot | None, wanted: str | BooleanExpression, *, deleted_too: bool = False
) -> list[DataFile]:
    """The data files of a snapshot that may hold rows of `wanted`.

    deleted_too: for a reader to whom a row that was deleted counts as stored; else delete files are refused.
    """
    manifests = of_data(all_manifests(table, snapshot)) if deleted_too else data_manifests(table, snapshot)
    with _decoding("A manifest of the table"):
        tasks = ManifestGroupPlanner(table.metadata, table.io, wanted).plan_files(manifests)
        files = [task.file for task in tasks]
    _check_formats(files)
    return files
