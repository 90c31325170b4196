"""The swap at the end of a compaction: one snapshot in which written files take the place of those that were read."""

import logging
import uuid
from collections.abc import Callable, Sequence
from typing import Final

from pyiceberg.exceptions import ValidationException
from pyiceberg.manifest import DataFile
from pyiceberg.table.metadata import TableMetadata

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import SUMMARY_COMPACTION_ID
from k2ctl.domain.offers import Layout
from k2ctl.errors import LakeError, first_line
from k2ctl.lake.catalog import Lake, require_kept
from k2ctl.lake.checkpoints import ancestors, checkpoints_of
from k2ctl.lake.commit import Try, commit_optimistically
from k2ctl.lake.files import delete_files, layout_of
from k2ctl.lake.pyiceberg_overrides.transaction import QuickTransaction, ReplacedFiles
from k2ctl.lake.second_copy import copy_of, move_tag

LOG: Final = logging.getLogger("k2ctl.lake")

LONGEST_PAUSE_S: Final = 0.2
"""Appenders commit several times a second without end: a longer pause does not find them idle."""


class Interrupted(Exception):
    """The merge was asked to stop; nothing is left behind."""


class _Outdated(Exception):
    """The merged files are written for a schema or a partition spec that is not the table's any more."""


def swap(
    lake: Lake,
    old: Sequence[DataFile],
    new: Sequence[DataFile],
    layout: Layout,
    *,
    clock: Clock,
    stopped: Callable[[], bool],
    again: str,
) -> int:
    """Replace exactly `old` by `new`; returns the number of tries, 0 when the files are not to be replaced any more.

    layout: for which `new` was written. stopped: asked before each try. again: the command that tries it again.
    Where nothing was swapped, `new` is deleted.

    Raises:
        LakeError: the catalog does not answer, appenders were first every time, or schema or spec have changed.
    """
    compaction_id, last = str(uuid.uuid4()), Try(1, uncertain=False)

    def once(one: Try) -> int:
        nonlocal last
        last = one
        if stopped():
            raise Interrupted
        table = lake.table()
        if one.uncertain and _is_committed(table.metadata, compaction_id):
            return one.number
        checkpoints_of(table)  # a table that was rolled back is not to be built upon
        if layout_of(table) != layout:
            raise _Outdated
        with QuickTransaction(table) as transaction:
            with ReplacedFiles(transaction, {SUMMARY_COMPACTION_ID: compaction_id, **copy_of(table)}) as replaced:
                for file in old:
                    replaced.delete_data_file(file)
                for file in new:
                    replaced.append_data_file(file)
            move_tag(transaction)
        require_kept(lake, "a compaction", lambda now: _is_committed(now.metadata, compaction_id))
        return one.number

    try:
        return commit_optimistically(
            once,
            what="The swap of a compaction",
            hint="The table is as it was; a running consumer tries again.",
            clock=clock,
            longest_pause_s=LONGEST_PAUSE_S,
        )
    except (Interrupted, ValidationException, _Outdated) as error:
        if not last.uncertain:  # else the table may have the merged files, and the orphan removal decides
            try:
                delete_files(lake.table(), list(new))
            except LakeError as unloaded:
                LOG.warning("merged files stay for orphan removal", extra={"error": first_line(unloaded)})
        if isinstance(error, _Outdated):
            raise LakeError(
                "Another program changed the schema or the partition spec during a merge; the merge was discarded.",
                f"The table is as it was. Try again: {again}",
            ) from error
        return 0  # stopped, or a file is not live any more: another compactor was first


def _is_committed(metadata: TableMetadata, compaction_id: str) -> bool:
    return any(
        snapshot.summary is not None
        and snapshot.summary.additional_properties.get(SUMMARY_COMPACTION_ID) == compaction_id
        for snapshot in ancestors(metadata)
    )
