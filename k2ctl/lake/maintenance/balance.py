"""The table's balance at one moment: do the counters add up, and is every file there in which trades were deferred."""

from dataclasses import dataclass

from k2ctl.domain.checkpoint import RETIRED_PARTITION, Counts
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.live_files import live_files
from k2ctl.lake.side_folder import SPILL, SideFolder, ledger_of, side_locations


@dataclass(frozen=True)
class Balance:
    """The counters of the table, against its files."""

    # What the data files hold; equals total.stored.
    rows: int
    total: Counts
    # Partitions in which `seen` is not the sum of its parts.
    unbalanced: tuple[str, ...]
    # Trades that are deferred.
    outstanding: int
    # Files that the ledger names and that are not there.
    missing_spills: tuple[str, ...]
    # Files that the ledger does not name; a consumer that is about to commit has some too.
    forgotten_spills: tuple[str, ...]
    # Earlier epochs of topics, which were retired with what was unread of them.
    ended: tuple[str, ...] = ()

    @property
    def balanced(self) -> bool:
        """The accounting identity holds in every partition, and the rows stored are the rows that are there."""
        return not self.unbalanced and self.total.stored == self.rows


def read_balance(lake: Lake) -> Balance | None:
    """Read them, from one metadata file; None before the first consumer has made the table.

    Raises:
        LakeError: catalog or warehouse do not answer, or the offsets cannot be trusted.
    """
    table = lake.find_table()
    if table is None:
        return None
    with lake.answering():
        # Listed before the metadata is read: what is committed in between is then known.
        before = set(SideFolder(table).names(SPILL))
        table = lake.table()
        checkpoints, ledger, outstanding = checkpoints_of(table), ledger_of(table), _spill_names(lake)
        missing = outstanding - before - set(SideFolder(table).names(SPILL))
        return Balance(
            rows=sum(file.rows for file in live_files(table)),
            total=checkpoints.total(),
            unbalanced=tuple(
                f"{partition.topic} partition {partition.partition}"
                for partition, checkpoint in sorted(checkpoints.by_partition.items())
                if not checkpoint.counts.balanced
            ),
            outstanding=ledger.count,
            # One that was backfilled since is no longer named.
            missing_spills=tuple(sorted(missing & _spill_names(lake))) if missing else (),
            forgotten_spills=tuple(sorted(before - outstanding)),
            ended=tuple(
                sorted(
                    {
                        partition.epoch
                        for partition in checkpoints.by_partition
                        if partition.partition == RETIRED_PARTITION
                    }
                )
            ),
        )


def _spill_names(lake: Lake) -> set[str]:
    locations = side_locations(lake.table())
    return {location.rpartition("/")[2] for location in locations if f"/{SPILL}/" in location}
