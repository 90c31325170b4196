"""Reading what lies in spill files, for a query; backfill is the consumer's."""

from k2ctl.deferred.spill_format import decode_spill
from k2ctl.domain.rows import Rows
from k2ctl.lake.side_folder import SideFolder
from k2ctl.lake.snapshots import Pinned


def spilled_rows(pinned: Pinned, file: str, topic: str, epoch: str) -> tuple[Rows, bool]:
    """The rows of a spill file, and whether all of it could be read."""
    try:
        content = SideFolder(pinned.table).read(file)
    except OSError:
        return Rows.empty(topic, epoch), False
    return decode_spill(content, topic, epoch)
