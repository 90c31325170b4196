"""What another program wrote in the place of data files: compared with them, and swapped in."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from k2ctl.clock import Clock
from k2ctl.domain.offers import Layout
from k2ctl.errors import LakeError, first_line
from k2ctl.lake.addresses import local_path
from k2ctl.lake.catalog import Lake
from k2ctl.lake.data_files import Listed, checked
from k2ctl.lake.files import describe, layout_of
from k2ctl.lake.live_files import LiveFile, live_files
from k2ctl.lake.maintenance.compaction import mergeable
from k2ctl.lake.maintenance.swap import swap
from k2ctl.lake.place import without_scheme
from k2ctl.lake.storage import delete_or_leave, sync_folder


@dataclass(frozen=True)
class Rewritten:
    """Files in the place of others."""

    files_before: int
    files_after: int
    rows: int
    bytes_before: int
    bytes_after: int


def intact(lake: Lake, files: Sequence[LiveFile], between: Callable[[], None]) -> Layout:
    """Check files that another program is about to rewrite, so that no damage is; returns the layout to write for.

    between: called between files.

    Raises:
        DamagedFile: one is not what was written. LakeError: the table may not be changed.
    """
    table = mergeable(lake)
    with lake.answering():
        for file in files:
            between()
            checked(table.io, [Listed.of(file.file)], again=True)
    return layout_of(table)


def swap_in(
    lake: Lake,
    removed: Sequence[str],
    added: Sequence[str],
    layout: Layout,
    *,
    clock: Clock,
    stopped: Callable[[], bool] = lambda: False,
    again: str,
) -> Rewritten | None:
    """Make written files a part of the table instead of those whose rows they hold.

    1. Every file that they replace must still be live; else what was written is deleted, and None returned.
    2. Describe them by their own footers, make them durable, and compare their counts with those of the old ones.
    3. Swap.

    removed, added: locations. layout: for which they were written.

    Raises:
        LakeError: they do not hold the rows of the old ones, and are deleted; or as `swap`. The table is as it was.
    """
    table = mergeable(lake)
    live = {without_scheme(file.path): file for file in live_files(table)}
    old = [live.get(without_scheme(path)) for path in removed]
    replaced = [file for file in old if file is not None]
    if len(replaced) < len(removed):
        _delete(table, added)
        return None
    try:
        new = [describe(table, path) for path in added]
        _make_durable(added)
        _compare(replaced, new)
    except (OSError, pa.ArrowException) as error:
        raise LakeError(
            f"A file that was written cannot be read back: {first_line(error)}", f"The table is as it was. {again}"
        ) from error
    except LakeError:
        _delete(table, added)
        raise
    if not swap(lake, [file.file for file in replaced], new, layout, clock=clock, stopped=stopped, again=again):
        return None
    return Rewritten(
        len(replaced),
        len(new),
        sum(file.record_count for file in new),
        sum(file.bytes for file in replaced),
        sum(file.file_size_in_bytes for file in new),
    )


def _compare(old: Sequence[LiveFile], new: Sequence[DataFile]) -> None:
    """Rows, and values and nulls of every column: equal, or something was lost or doubled on the way."""
    before, after = _counts([file.file for file in old]), _counts(new)
    common = {name for name in before if name in after}
    if any(before[name] != after[name] for name in common) or 0 not in common:
        raise LakeError(
            f"{len(new)} files were written with {after.get(0, 0):,} rows for {before.get(0, 0):,}, or with other "
            "values missing; they were discarded.",
            "The table is as it was. Find what is wrong: k2ctl verify",
        )


def _counts(files: Sequence[DataFile]) -> dict[int, int]:
    """0: rows. Field id: nulls in that column, where every file states them."""
    found = {0: sum(file.record_count for file in files)}
    stated = [file.null_value_counts or {} for file in files]
    for field in set[int]().union(*stated):
        if all(field in counts for counts in stated):
            found[field] = sum(counts[field] for counts in stated)
    return found


def _make_durable(paths: Iterable[str]) -> None:
    """On a local disk: a power cut must not take what the table is about to name.

    Hadoop leaves a file of checksums beside each, which is of no use here.
    """
    for path in paths:
        local = local_path(path)
        if local is not None:
            with local.open("rb") as file:
                os.fsync(file.fileno())
            local.with_name(f".{local.name}.crc").unlink(missing_ok=True)
            sync_folder(local.parent)
            sync_folder(local.parent.parent)


def _delete(table: Table, paths: Iterable[str]) -> None:
    for path in paths:
        delete_or_leave(table.io, path)
