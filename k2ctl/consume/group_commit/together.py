"""Group commit as one consumer has it: the author of its offers, and its part in the election of a committer."""

from k2ctl.clock import Clock
from k2ctl.consume.group_commit.author import OfferAuthor
from k2ctl.consume.group_commit.channel import AuthorChannel, CommitterChannel
from k2ctl.consume.group_commit.committing import GroupCommitter
from k2ctl.domain.announcement import linger_s
from k2ctl.domain.status_parts import GroupCommitStatus
from k2ctl.domain.topics import COMMITS
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.lease import lease_of
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.writer import TableWriter


class GroupCommit:
    """Opened once per consumer that shares the table with others."""

    def __init__(
        self,
        endpoints: Endpoints,
        lake: Lake,
        writer: TableWriter,
        clock: Clock,
        commit_interval_s: float,
        retention: SnapshotRetention,
    ) -> None:
        """writer: of this consumer's own commits."""
        table = str(lake.table().metadata.table_uuid)
        self.committer = GroupCommitter(
            endpoints,
            lease_of(endpoints, COMMITS)(table),
            lambda: CommitterChannel(endpoints, table, clock),
            clock,
            linger_s(commit_interval_s),
            retention,
        )
        channel = AuthorChannel(endpoints, table, clock)
        self.author = OfferAuthor(writer, channel, lambda: checkpoints_of(lake.table()), self.committer.want, clock)

    def snapshot(self) -> GroupCommitStatus:
        """The figures now."""
        author, committer = self.author.totals, self.committer.totals
        return GroupCommitStatus(
            announced=author.announced,
            direct=author.direct,
            conflicts=author.conflicts + committer.conflicts,
            group_commits=committer.commits,
            offers_committed=committer.offers,
            is_committer=self.committer.has_lease,
            announcement_age_s=self.author.announcement_age_s,
        )

    def close(self) -> None:
        """Commit what others have announced, and leave; no commit of this consumer is under way."""
        self.committer.stop()
        self.author.close()
