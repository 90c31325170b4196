"""Settlement as one consumer has it: the table as it is asked on the committing thread, and the store of the claims."""

import logging
from collections.abc import Mapping
from typing import Final

from k2ctl.clock import Clock
from k2ctl.dedup.shared.claim_stores import open_claims
from k2ctl.dedup.shared.healing import Healer
from k2ctl.dedup.shared.plan import plan_shared
from k2ctl.dedup.shared.settlement import Settlement
from k2ctl.dedup.shared.waiting import patience_of
from k2ctl.domain.checkpoint import Checkpoints, OffsetDelta, TopicPartition
from k2ctl.domain.rows import Rows
from k2ctl.endpoints import Endpoints
from k2ctl.errors import LakeUnanswered, ProfileError, StateError, first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.stored_lookup import Stored, SuspectLookup
from k2ctl.lake.writer import TableWriter
from k2ctl.lake.written_offer import Committed
from k2ctl.profiles.model import ConsumerSettings
from k2ctl.sequence.lines.totals import LineTotals

LOG: Final = logging.getLogger("k2ctl.consume")


class CommittedTable:
    """The table, on the committing thread."""

    def __init__(self, lake: Lake, writer: TableWriter, clock: Clock) -> None:
        """writer: of this consumer's own commits."""
        self._lake = lake
        self._writer = writer
        self._suspects = SuspectLookup(lake, clock)

    def checkpoints(self) -> Checkpoints:
        """See `SettledTable`."""
        return checkpoints_of(self._lake.table())

    def find(self, rows: Rows) -> Stored:
        """See `SettledTable`; as long as a commit is waited for, so is this."""
        while True:
            try:
                return self._suspects.find(rows)
            except LakeUnanswered:
                if not self.waits():
                    raise

    def move(self, deltas: Mapping[TopicPartition, OffsetDelta]) -> Committed:
        """See `SettledTable`."""
        return self._writer.commit([], deltas)

    def waits(self) -> bool:
        """See `SettledTable`."""
        return self._writer.waits()

    def close(self) -> None:
        """Close what looks up suspects."""
        self._suspects.close()


def open_settlement(
    endpoints: Endpoints,
    settings: ConsumerSettings,
    url: str,
    platform: str,
    topic: str,
    table: CommittedTable,
    consumer: str,
    clock: Clock,
    *,
    is_member: bool,
    lines: Mapping[str, str],
) -> Settlement | None:
    """None where each consumer looks for copies in its own partitions alone.

    url: where state is kept. platform: the table's uuid. is_member: it shares the topic with other processes.
    lines: topic by name, of those of the profile.

    Raises:
        ProfileError: the claims do not fit into the store, or cannot be shared. UsageError: `url` is no address.
    """
    plan = plan_shared(settings.dedup)
    if plan is None:
        return None
    among = topic if plan.scope == "topic" else None
    store = open_claims(url, platform, among, plan.window_s, clock)
    if is_member and store.kind == "memory":
        raise ProfileError(
            f"consumer.dedup.scope is {plan.scope}, and the consumers of a group share no store of claims.",
            "Give them a Redis: --state redis://HOST:PORT/0. Without one: consumer.dedup.scope: partition",
        )
    try:
        plan.require_room(store.server())
    except StateError as error:  # the guarantee is reduced until it answers
        LOG.warning("the memory of the claims is not known: %s", first_line(error))
    healer = Healer(Lake.at(endpoints), store, among, plan.window_s, consumer, clock)
    totals = LineTotals(lines if plan.scope == "feeds" else {}, topic)
    return Settlement(store, table, consumer, among, clock, patience_of(settings.commit_interval_s), healer, totals)
