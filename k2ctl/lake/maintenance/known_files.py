"""The sizes of the table's files, kept between two looks at it, to see whether anything is to be merged."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table

from k2ctl.lake.live_files import SizedFile, hours_of
from k2ctl.lake.scan import TableScan


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A data file as `LiveFile` has it, without its description: a table has thousands."""

    hour: int
    more_hours: int
    added_ms: int | None
    rows: int
    bytes: int


class KnownFiles:
    """The live files by manifest. A manifest never changes once written, so each is read once, and mostly one is new.

    Reading all of them every few seconds took more of the processor than merging the files did.
    """

    def __init__(self) -> None:
        self._known: dict[str, list[KnownFile]] = {}

    def of(self, table: Table) -> Sequence[SizedFile]:
        """Those of the current snapshot.

        Raises:
            LakeError: the table has delete files, which K2 never writes; or its manifests cannot be read.
        """
        scan, before = TableScan.newest(table), self._known
        paths = {manifest.manifest_path: manifest for manifest in scan.manifests()}
        self._known = {
            path: before[path] if path in before else _read(scan, manifest) for path, manifest in paths.items()
        }
        return [file for files in self._known.values() for file in files]


def _read(scan: TableScan, manifest: ManifestFile) -> list[KnownFile]:
    metadata = scan.table.metadata
    timestamp = metadata.schema().find_field("timestamp").field_id
    times = {snapshot.snapshot_id: snapshot.timestamp_ms for snapshot in metadata.snapshots}
    files = []
    for entry in scan.entries(manifest):
        file, added_ms = entry.data_file, None if entry.snapshot_id is None else times.get(entry.snapshot_id)
        first, last = hours_of(file, timestamp)
        files.append(KnownFile(first, last - first, added_ms, file.record_count, file.file_size_in_bytes))
    return files
