"""Which share of the topic is held now: all of it, or what the group gives.

When the group assignments out anew, everything stands still for a moment:

1. Before partitions are backfilled, what was read of them is committed, if that is quick; else it is dropped.
2. Nothing is read until the group has settled. Who gets the same partitions again, and has dropped nothing, goes on.
3. Otherwise the commit under way is waited for, and the new assignment opened from the table as it stands then.

A commit of which others had moved a part says the same: what is remembered holds rows that were dropped, so the
assignment
is opened anew.
"""

from collections.abc import Callable
from typing import Final

from k2ctl.consume.assignment import Assignment
from k2ctl.consume.platform import Platform
from k2ctl.errors import BrokerError, LakeUnanswered, first_line
from k2ctl.kafka.clients import session_timeout_s
from k2ctl.kafka.group import GroupMember, join_within_s

REVOKE_FRACTION: Final = 0.6
"""Of the session: what a commit may take that others are waiting for."""

OPEN_WITHIN_S: Final = 60.0
"""How long a share is tried to be opened, Kafka or the table being away; as long as a commit is."""


class AssignmentManager:
    """Owns the assignment. Everything happens on the consumer's thread, in `follow`.

    drain: commits what is in hand within so many seconds; False when something was not. finish: waits for the commit
    under way. opened: assignments since the start. still_s: how long nothing was read when the last one was taken over.
    """

    def __init__(self, platform: Platform, drain: Callable[[float], bool], finish: Callable[[], None]) -> None:
        self._platform = platform
        self._drain = drain
        self._finish = finish
        self._stale = False
        self._still_since_s = platform.clock.monotonic_s()
        self._failing_since_s: float | None = None
        self.opened = 0
        self.still_s = 0.0
        plan = platform.plan
        self.assignment = Assignment(platform, () if plan.group else None)
        self._trouble = ""
        self._unsettled_since_s = platform.clock.monotonic_s()
        self._member: GroupMember | None = self._join() if plan.group else None

    def _join(self) -> GroupMember:
        platform, plan = self._platform, self._platform.plan
        group = f"k2ctl.{platform.topic}.{platform.table_id}"
        name = plan.consumer_id if plan.named else ""
        self._unsettled_since_s = platform.clock.monotonic_s()
        return GroupMember(platform.endpoints, platform.topic, group, name, self._revoke)

    @property
    def waiting(self) -> str:
        """What keeps this consumer from reading; empty while it may read."""
        if self.is_current:
            return ""
        if self._trouble:
            return f"its partitions cannot be opened: {self._trouble}"
        waited_s = self._platform.clock.monotonic_s() - self._unsettled_since_s
        return f"its group has given it no partitions for {waited_s:.0f} s"

    @property
    def is_current(self) -> bool:
        """Whether the share is ours: it may be read and committed."""
        group = self._member
        return group is None or (group.settled and not self._stale and group.partitions == self.assignment.partitions)

    def invalidate(self) -> None:
        """What the assignment remembers holds rows that were dropped: it is not to be used any more."""
        self._note_standing_still()
        self._stale = True

    def follow(self) -> None:
        """Take part in the group, and open another assignment where it is due.

        Raises:
            FencedError: another consumer has come under this one's name. BrokerError, LakeError: no assignment can be
            opened.
        """
        if self._member is None:
            return
        was_current = self.is_current
        self._member.poll()
        self._join_again_if_forgotten()
        if was_current and not self.is_current:
            self._note_standing_still()
        if not self.is_current and self._member.settled:
            self._open(self._member)

    def _join_again_if_forgotten(self) -> None:
        """Who joins can be forgotten by a broker that had no time to answer, and would wait for ever."""
        group, clock = self._member, self._platform.clock
        if group is None or group.settled:
            self._unsettled_since_s = clock.monotonic_s()
        elif clock.monotonic_s() - self._unsettled_since_s >= join_within_s(self._platform.endpoints):
            group.close()
            self._member = self._join()

    def _open(self, member: GroupMember) -> None:
        clock = self._platform.clock
        self._finish()
        before = self.assignment
        before.release()
        # Each may take all of the plan's memory, so the one is gone before the other is there.
        before.forget()
        self._stale = True
        try:
            assignment = Assignment(self._platform, member.partitions)
        except (BrokerError, LakeUnanswered) as error:
            self._trouble = first_line(error)
            if self._failing_since_s is None:
                self._failing_since_s = clock.monotonic_s()
            if clock.monotonic_s() - self._failing_since_s > OPEN_WITHIN_S:
                raise
            return
        self._failing_since_s, self._trouble = None, ""
        assignment.tracker.count_on(before.tracker)
        self.assignment, self._stale = assignment, False
        before.close()
        self.opened += 1
        self.still_s = clock.monotonic_s() - self._still_since_s

    def _revoke(self) -> None:
        if not self.is_current:
            return
        self._note_standing_still()
        if self._drain(REVOKE_FRACTION * session_timeout_s(self._platform.endpoints)) and not self._stale:
            # Whoever takes over needs then read no rows of ours from the table.
            self.assignment.dedup_saver.save(self.assignment.deduplicator)
        else:
            self._stale = True

    def _note_standing_still(self) -> None:
        if not self._stale:
            self._still_since_s = self._platform.clock.monotonic_s()

    def close(self) -> None:
        """Leave the group, then let go of what the assignment holds open."""
        if self._member is not None:
            self._member.close()
        self.assignment.release()
        self.assignment.close()
