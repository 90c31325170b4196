"""The data files that the table's current snapshot consists of, hour by hour."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pyiceberg.manifest import DataFile, ManifestContent
from pyiceberg.table import Table

from k2ctl.errors import UsageError
from k2ctl.lake.reading.filters import delete_files_found

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True)
class LiveFile:
    """A data file of the current snapshot.

    hour: of all its timestamps, in hours since 1970. added_ms: when it was committed; None once that snapshot
    has expired.
    """

    file: DataFile
    hour: int
    added_ms: int | None

    @property
    def path(self) -> str:
        return self.file.file_path

    @property
    def rows(self) -> int:
        return self.file.record_count

    @property
    def bytes(self) -> int:
        return self.file.file_size_in_bytes


def live_files(table: Table) -> list[LiveFile]:
    """All data files of the current snapshot.

    Raises:
        LakeError: the table has delete files, which K2 never writes.
    """
    metadata = table.metadata
    snapshot = metadata.current_snapshot()
    if snapshot is None:
        return []
    times = {snapshot.snapshot_id: snapshot.timestamp_ms for snapshot in metadata.snapshots}
    found = []
    for manifest in snapshot.manifests(table.io):
        if manifest.content != ManifestContent.DATA:
            raise delete_files_found()
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            added_ms = times.get(entry.snapshot_id) if entry.snapshot_id is not None else None
            found.append(LiveFile(entry.data_file, entry.data_file.partition[0], added_ms))
    return found


def by_hour(files: Iterable[LiveFile]) -> dict[int, list[LiveFile]]:
    """Files by hour, oldest hour first."""
    hours: dict[int, list[LiveFile]] = defaultdict(list)
    for file in files:
        hours[file.hour].append(file)
    return dict(sorted(hours.items()))


def hour_name(hour: int) -> str:
    """`2014-03-10T05`, UTC."""
    return (_EPOCH + hour * _HOUR).strftime("%Y-%m-%dT%H")


def parse_hour(text: str) -> int:
    """The hour that `2014-03-10T05`, or any ISO time within it, names; UTC unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"'{text}' is not an hour.", "Write it as 2014-03-10T05 (UTC).") from None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _HOUR
