"""One scan of the table for all that read its rows.

Here, and nowhere else, files are planned, delete files are refused or their deletes passed over, columns are mapped by
field id, files are checked, and errors of the warehouse are translated. pyarrow reads `batches`; DuckDB reads `paths`
from the SQL that `columns` gives it.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg import expressions
from pyiceberg.expressions import BooleanExpression
from pyiceberg.manifest import DataFile, FileFormat, ManifestContent, ManifestEntry, ManifestFile
from pyiceberg.table import ALWAYS_TRUE, ManifestGroupPlanner, Table
from pyiceberg.table.snapshots import Snapshot

from k2ctl.domain.rows import arrow_schema
from k2ctl.errors import K2Error, LakeError, LakeUnanswered
from k2ctl.lake.columns import Columns, check_ids, never_changed, our_columns
from k2ctl.lake.data_files import Listed, checked, open_data_file
from k2ctl.lake.files import FIELD_ID
from k2ctl.lake.opened import RESTORE, damaged
from k2ctl.lake.pyiceberg_overrides import avro_schemas  # noqa: F401  # of the manifests that are read


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
        try:
            files = [task.file for task in ManifestGroupPlanner(table.metadata, table.io, where).plan_files(manifests)]
        except Exception:
            for manifest in manifests:
                entries_of(table, manifest)  # raises an error that names the one that cannot be read
            raise
    _check_formats(files)
    return files


EXPRESSIONS: Final[Any] = expressions
"""Untyped: the constructors take a column's name, which pydantic's generated signatures do not know."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ID: Final = FIELD_ID.encode()


@dataclass(frozen=True)
class TableScan:
    """The rows of one snapshot, as one reader wants them.

    Every method raises LakeError when manifests or files cannot be read, or another program has left the table in a
    state that would be misread, and DamagedFile when a file is not what was written.
    """

    table: Table
    # None: the table has no snapshot, and the scan finds nothing.
    snapshot: Snapshot | None
    # What files are pruned by. Readers filter the rows of these files exactly.
    where: str | BooleanExpression = ALWAYS_TRUE
    # True: rows that another program deleted count as stored. False: delete files are refused.
    deletes_ignored: bool = False

    @classmethod
    def newest(
        cls, table: Table, where: str | BooleanExpression = ALWAYS_TRUE, *, deletes_ignored: bool = False
    ) -> "TableScan":
        """A scan of the current snapshot."""
        return cls(table, table.metadata.current_snapshot(), where, deletes_ignored)

    def manifests(self) -> list[ManifestFile]:
        """The manifests of data files, unpruned."""
        found = all_manifests(self.table, self.snapshot)
        if not self.deletes_ignored:
            refuse_deletes(found)
        return of_data(found)

    def entries(self, manifest: ManifestFile) -> list[ManifestEntry]:
        """The live files of a manifest, unpruned, with what the manifest says of each."""
        return data_entries(self.table, manifest)

    def all_entries(self, after: int = -1) -> Iterator[ManifestEntry]:
        """Every live file, unpruned; after: only those that came with commits after this sequence number."""
        for manifest in self.manifests():
            if (manifest.sequence_number or 0) > after:
                yield from (entry for entry in self.entries(manifest) if (entry.sequence_number or 0) > after)

    def files(self) -> list[DataFile]:
        """The data files that may hold rows of `where`."""
        return matching_files(self.table, self.manifests(), self.where) if self.snapshot else []

    def listed(self) -> tuple[Listed, ...]:
        """The same as `files`, in short."""
        return tuple(map(Listed.of, self.files()))

    def paths(self) -> list[str]:
        """The paths of the same files, each checked, for DuckDB."""
        return checked(self.table.io, self.listed())

    def columns(self) -> Columns:
        """The columns of trades for DuckDB, by field id."""
        return our_columns(self.table)

    def batches(
        self, file: Listed | DataFile, names: Sequence[str], texts: Sequence[str] = (), rows: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """Columns of one file, by the table's names whatever the file calls them.

        texts: those to be dictionary-encoded. rows: at most this many in a batch; 0: all.
        """
        listed = file if isinstance(file, Listed) else Listed.of(file)
        with open_data_file(self.table.io, listed, read_dictionary=list(texts)) as opened:
            yield from _named_batches(opened, _names_in_file(self.table, opened, names), texts, rows)

    def read(self, file: Listed | DataFile, names: Sequence[str], texts: Sequence[str] = ()) -> pa.Table:
        """Columns of all rows of one file, as `batches`."""
        kinds = pa.schema([(name, _kind(name, texts)) for name in names])
        return pa.Table.from_batches(self.batches(file, names, texts), kinds)


def _named_batches(
    file: pq.ParquetFile, in_file: dict[str, str | None], texts: Sequence[str], rows: int
) -> Iterator[pa.RecordBatch]:
    """in_file: for each wanted column its name in the file; None gives nulls."""
    present = [name for name in in_file.values() if name is not None]
    for batch in file.iter_batches(rows or max(1, file.metadata.num_rows), columns=present):
        columns = []
        for name, own in in_file.items():
            kind = _kind(name, texts)
            column = pa.nulls(len(batch), kind) if own is None else batch[own]
            columns.append(column if column.type == kind else column.cast(kind))
        yield pa.RecordBatch.from_arrays(columns, names=[*in_file])


def _kind(name: str, texts: Sequence[str]) -> pa.DataType:
    kind = arrow_schema().field(name).type
    return pa.dictionary(pa.int32(), kind) if name in texts else kind


def _names_in_file(table: Table, file: pq.ParquetFile, names: Sequence[str]) -> dict[str, str | None]:
    """What the file calls each column of the table; None: it was written before the column was added."""
    if never_changed(table.metadata):
        return {name: name for name in names}
    check_ids(table)
    by_id = {int(field.metadata[_ID]): field.name for field in file.schema_arrow if _ID in (field.metadata or {})}
    ids = {field.name: field.field_id for field in table.metadata.schema().fields}
    return {name: by_id.get(ids[name]) for name in names}


def trades_between(symbols: Sequence[str] | None, since_us: int | None, until_us: int | None) -> BooleanExpression:
    """Files that may hold trades of some symbols (None: any) in [since, until) of exchange time."""
    wanted: BooleanExpression = ALWAYS_TRUE
    if symbols is not None:
        wanted = EXPRESSIONS.And(wanted, EXPRESSIONS.In("symbol", list(symbols)))
    if since_us is not None:
        wanted = EXPRESSIONS.And(wanted, EXPRESSIONS.GreaterThanOrEqual("timestamp", instant(since_us)))
    if until_us is not None:
        wanted = EXPRESSIONS.And(wanted, EXPRESSIONS.LessThan("timestamp", instant(until_us)))
    return wanted


def instant(microseconds: int) -> str:
    """A time as Iceberg's filters take it: ISO 8601, UTC."""
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()
