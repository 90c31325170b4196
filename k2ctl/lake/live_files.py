"""The data files that the table's current snapshot consists of, hour by hour, and which are worth merging."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, TypeVar

from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.types import TimestamptzType

from k2ctl.domain.rows import HOUR_US
from k2ctl.errors import UsageError
from k2ctl.lake.scan import TableScan

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR: Final = timedelta(hours=1)
_ANY_HOUR: Final = (0, 1 << 32)


class SizedFile(Protocol):
    """What decides whether a data file is merged; see `LiveFile`."""

    @property
    def hour(self) -> int: ...
    @property
    def more_hours(self) -> int: ...
    @property
    def added_ms(self) -> int | None: ...
    @property
    def rows(self) -> int: ...
    @property
    def bytes(self) -> int: ...


File = TypeVar("File", bound=SizedFile)


@dataclass(frozen=True)
class LiveFile:
    """A data file of the current snapshot."""

    file: DataFile
    # Of its first timestamp, in hours since 1970.
    hour: int
    # When it was committed; None once that snapshot has expired.
    added_ms: int | None
    # From that hour to the one of its last timestamp; 0 in a file of ours.
    more_hours: int = 0

    @property
    def last_hour(self) -> int:
        return self.hour + self.more_hours

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
    """All data files of the current snapshot, whatever partition spec each was written under.

    Raises:
        LakeError: the table has delete files, which K2 never writes; or its manifests cannot be read.
    """
    return live_files_of(TableScan.newest(table))


def live_files_of(scan: TableScan) -> list[LiveFile]:
    """All data files of a scan's snapshot. Raises: as `live_files`."""
    metadata = scan.table.metadata
    timestamp = metadata.schema().find_field("timestamp").field_id
    times = {snapshot.snapshot_id: snapshot.timestamp_ms for snapshot in metadata.snapshots}
    found = []
    for entry in scan.all_entries():
        added_ms = times.get(entry.snapshot_id) if entry.snapshot_id is not None else None
        first, last = hours_of(entry.data_file, timestamp)
        found.append(LiveFile(entry.data_file, first, added_ms, last - first))
    return found


def hours_of(file: DataFile, timestamp: int) -> tuple[int, int]:
    """The first and the last hour of a file's timestamps; all hours where its manifest has no bounds.

    timestamp: the id of that column.
    """
    first, last = (file.lower_bounds or {}).get(timestamp), (file.upper_bounds or {}).get(timestamp)
    if first is None or last is None:
        return _ANY_HOUR
    return _hour_of(first), _hour_of(last)


def _hour_of(bound: bytes) -> int:
    return int(from_bytes(TimestamptzType(), bound)) // HOUR_US


def by_hour(files: Iterable[File]) -> dict[int, list[File]]:
    """Files of one hour each, by hour, the oldest first; those of others that hold several hours are left out."""
    hours: dict[int, list[File]] = defaultdict(list)
    for file in files:
        if not file.more_hours:
            hours[file.hour].append(file)
    return dict(sorted(hours.items()))


def by_stretch(files: Iterable[LiveFile]) -> list[list[LiveFile]]:
    """Files whose hours overlap together, the oldest first: no trade of a later group is before one of an earlier."""
    stretches: list[list[LiveFile]] = []
    last_hour = -1
    for file in sorted(files, key=lambda file: file.hour):
        if not stretches or file.hour > last_hour:
            stretches.append([])
        stretches[-1].append(file)
        last_hour = max(last_hour, file.last_hour)
    return stretches


def hours_name(first: int, last: int) -> str:
    """`2014-03-10T05`, UTC; of several hours the first and the last."""
    if (first, last) == _ANY_HOUR:
        return "not known"
    return hour_name(first) if first == last else f"{hour_name(first)}..{hour_name(last)}"


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


FULL_FILE_ROWS: Final = 16_777_216
"""A merge writes files of this many rows at most (200 to 500 MB)."""

LARGE_FILE_ROWS: Final = FULL_FILE_ROWS // 4
"""A file of this many rows is not merged again: what a reader gains then is less than what it costs."""

LIKE_SIZE: Final = 4
"""Files whose sizes differ by this factor at most are of one tier."""

MOST_FILES: Final = 3
"""An hour with this many times the files of a tier is merged although no tier is complete: its sizes are odd."""

QUIET_MS: Final = 600_000
"""An hour that nothing was added to for ten minutes is finished, and is merged however few its files are."""


def tier_due(files: Sequence[File], tier_files: int) -> list[File]:
    """The files of an hour that make up a tier of `tier_files` or more, the largest such tier; empty without one.

    A tier becomes one file of the next, so a row is rewritten once a tier: log(files of the hour) to the base of
    `tier_files` times, and `tier_files` less one stay of each tier at most. The largest goes first: where commits
    complete the smallest tier in every step, the others would never come.
    """
    found: list[File] = []
    tier: list[File] = []
    for file in _by_size(files):
        if tier and file.bytes > LIKE_SIZE * tier[0].bytes:
            tier = []
        tier.append(file)
        if len(tier) >= tier_files:
            found = tier
    return found


def of_like_size(files: Sequence[File]) -> list[File]:
    """The files of an hour to merge into one, smallest first; empty when that would be no gain.

    A file that is larger than all smaller ones together is left alone.
    """
    chosen = _by_size(files)
    while len(chosen) > 1 and chosen[-1].bytes > sum(file.bytes for file in chosen[:-1]):
        chosen.pop()
    return chosen if len(chosen) > 1 else []


def _by_size(files: Sequence[File]) -> list[File]:
    """Those that may be merged, smallest first."""
    return sorted((file for file in files if file.rows < LARGE_FILE_ROWS), key=lambda file: file.bytes)


def due(files: Sequence[File], tier_files: int, now_ms: int, quiet_ms: int = QUIET_MS) -> list[list[File]]:
    """What to merge, hour by hour, the hour with the most files first.

    An hour is due with `tier_files` files of like size, or as soon as it is quiet.
    """
    found = []
    for members in by_hour(files).values():
        last_ms = max(file.added_ms or 0 for file in members)
        chosen = tier_due(members, tier_files)
        if not chosen and (now_ms - last_ms >= quiet_ms or len(members) >= MOST_FILES * tier_files):
            chosen = of_like_size(members)
        found.append(chosen)
    return sorted(filter(None, found), key=len, reverse=True)


CLOSED_MS: Final = 2 * 3_600_000
"""So long after its end an hour gets no trades any more, but for late ones."""


def closed_hours(files: Sequence[LiveFile], now_ms: int) -> dict[int, list[LiveFile]]:
    """The files of each hour that ended two hours ago or earlier and that is quiet, the oldest first."""
    hour_ms = _HOUR // timedelta(milliseconds=1)
    return {
        hour: members
        for hour, members in by_hour(files).items()
        if (hour + 1) * hour_ms <= now_ms - CLOSED_MS
        and now_ms - max(file.added_ms or 0 for file in members) >= QUIET_MS
    }


def in_more_files(files: Sequence[LiveFile], target_bytes: int) -> bool:
    """Whether rows are in more files than files of a size need."""
    return len(files) > max(1, math.ceil(sum(file.bytes for file in files) / target_bytes))
