"""Assigns and revokes: opens the partitions that the group gives this consumer, and closes those it takes away.

A consumer outside a group has one assignment, of all partitions; it is opened again when the topic gets more of them.
In a group, a rebalance goes like this:

1. Before partitions are revoked, what was read of them is committed, if that is quick; else it is dropped.
2. Nothing is read until the group has assigned partitions again. The same ones, with nothing dropped, are read on.
3. Otherwise the commit under way is waited for, and the new assignment opened from the table as it stands then. The
   group is followed meanwhile. Else a rebalance would wait for the member that opens, or go on without it; then the
   member joins again, others that open are left out in their turn, and all open again and again.

A partly fenced commit does the same: what is remembered includes dropped rows, so the assignment is opened again.

A consumer that Kafka reaches and the table does not is in its group's way: it leaves, and joins again once the table
answers.
"""

import logging
from collections.abc import Collection
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from k2ctl.consume.assignment import Assignment
from k2ctl.consume.platform import Platform
from k2ctl.errors import BrokerError, BrokerUnanswered, K2Error, LakeUnanswered, first_line
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.group import GroupMember
from k2ctl.kafka.patience import Patience
from k2ctl.timing import Every

LOG: Final = logging.getLogger("k2ctl.consume")

REVOKE_FRACTION: Final = 0.6
"""Of the session: what a commit may take while others wait for the partitions."""

OPEN_WITHIN_S: Final = 60.0
"""How long an assignment is tried to be opened while Kafka or the table is away; as long as a commit is. A consumer
that runs on waits for them as long as it takes."""

LEAVE_AFTER_S: Final = 15.0
"""How long the table may not answer until a consumer leaves its partitions to others, who may reach it."""

FOLLOW_EVERY_S: Final = 0.1
"""How often the group is followed while partitions are opened: seldom, because each time takes the interpreter from the
one that opens."""

LOOK_EVERY_S: Final = 5.0
"""How often it is asked whether the topic has more partitions."""


class AssignmentManager:
    """Owns the assignment. Everything happens in `follow`, on the consumer's thread, which waits for one that opens."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._still_since_s = platform.clock.monotonic_s()
        self._failing_since_s: float | None = None
        self._is_table_away = False
        self._was_current = False
        self._trouble = ""
        self._look = Every(LOOK_EVERY_S, platform.clock)
        # Assignments opened since the start, beside the first.
        self.opened = 0
        # How long nothing was read before the last one was opened.
        self.still_s = 0.0
        # True while one is opened: what deduplication remembers may take minutes to restore.
        self.is_opening = False
        plan = platform.plan
        self._patience = Patience(platform.endpoints, platform.clock)
        self.assignment = Assignment.open(platform, () if plan.group else None)
        self._unassigned_since_s = platform.clock.monotonic_s()
        self._member: GroupMember | None = self._join() if plan.group else None
        # True while it has left its group, because the table does not answer.
        self.is_apart = False

    def _join(self) -> GroupMember:
        platform, plan = self._platform, self._platform.plan
        group = f"k2ctl.{platform.topic}.{platform.table_id}"
        name = plan.consumer_id if plan.named else ""
        self._unassigned_since_s = platform.clock.monotonic_s()
        LOG.info("joining group %s%s", group, f" as {name}" if name else "")
        return GroupMember(platform.endpoints, platform.topic, group, name, self._revoke, self._patience)

    @property
    def waiting(self) -> str:
        """Why this consumer reads nothing; empty while it may read."""
        if self.is_current:
            return ""
        if self._trouble:
            return f"its partitions cannot be opened: {self._trouble}"
        if self.is_apart:
            return "it has left its partitions to others, until the table answers"
        waited_s = self._platform.clock.monotonic_s() - self._unassigned_since_s
        return f"its group has assigned it no partitions for {waited_s:.0f} s"

    @property
    def is_current(self) -> bool:
        """True if the assignment may be read and committed."""
        group, assignment = self._member, self.assignment
        if assignment.is_stale or self.is_apart:
            return False
        return group is None or (group.settled and group.partitions == assignment.partitions)

    def follow(self) -> None:
        """Take part in the group, and open another assignment where it is due.

        Raises:
            FencedError: another consumer has come under this one's name. BrokerError, LakeError: no assignment can be
            opened.
        """
        if self.is_apart:
            self._return_if_answered()
        if self.is_apart:
            return
        if self._member is None:
            if self.assignment.is_stale or self._has_grown():
                self._open(None)
            return
        self._member.poll()
        self._join_again_if_forgotten(self._member)
        is_current = self.is_current
        if self._was_current and not is_current:
            self._still_since_s = self._platform.clock.monotonic_s()
        self._was_current = is_current
        if self._has_waited_long():
            self._leave()
        elif not is_current and self._member.settled:
            self._open(self._member.partitions)

    def _has_waited_long(self) -> bool:
        """Whether the table has not answered for so long that others should try."""
        if not self._platform.plan.runs_on:
            return False
        opening_s = self._failing_s if self._is_table_away else 0.0
        return max(self._platform.commit_thread.troubled_s, opening_s) >= LEAVE_AFTER_S

    def _leave(self) -> None:
        """Leave the group: its other members get the partitions when the session has run out."""
        if self._member is not None:
            self._member.close()
        self._member, self.is_apart = None, True
        self.assignment.invalidate()
        LOG.warning("the table has not answered for %.0f s: the group goes on without this consumer", LEAVE_AFTER_S)

    def _return_if_answered(self) -> None:
        """Join the group again once the commit under way is over, or the table answers."""
        self.assignment.collect()
        if self._platform.commit_thread.is_busy or not self._look.due():
            return
        try:
            self._platform.checkpoints()
        except LakeUnanswered:
            return
        self.is_apart, self._failing_since_s, self._trouble = False, None, ""
        self._member = self._join()

    def _has_grown(self) -> bool:
        """Whether the topic has more partitions than are read; then what was read is committed."""
        plan, topic = self._platform.plan, self._platform.topic
        if plan.backfill or plan.until_caught_up or not self._look.due():
            return False
        try:
            with BrokerAdmin(self._platform.endpoints) as admin:
                there = admin.topics().get(topic, 0)
        except BrokerError:  # the lag is unknown then, which is reported
            return False
        known = len(self.assignment.highs)
        if there <= known:
            return False
        LOG.info("the topic has more partitions", extra={"topic": topic, "before": known, "now": there})
        self._still_since_s = self._platform.clock.monotonic_s()
        return self.assignment.flush()

    def _join_again_if_forgotten(self, group: GroupMember) -> None:
        """A broker under load may lose a join request, and the member would wait without end. Who was taken for gone
        is given more time."""
        now_s = self._platform.clock.monotonic_s()
        if group.settled:
            self._unassigned_since_s = now_s
        if group.was_lost or now_s - self._unassigned_since_s >= self._patience.join_within_s:
            self._patience.note_lost()
            LOG.warning("%s: joins again, with a session of %.0f s", self.waiting, self._patience.session_s)
            group.close()
            self._member = self._join()

    def _open(self, partitions: Collection[int] | None) -> None:
        """Close the assignment and open the next; tried again at the next call while Kafka or the table is away."""
        clock, before = self._platform.clock, self.assignment
        self._platform.commit_thread.hurry()
        before.collect(wait_s=0.0 if self._platform.plan.runs_on else None)
        if self._platform.commit_thread.is_busy:
            return  # the group is followed meanwhile
        # Each may take all of the plan's memory, so the one is freed before the other is opened.
        before.release()
        opened = self._tried(partitions)
        if isinstance(opened, K2Error):
            self._note_failure(opened)
            self._is_table_away = isinstance(opened, LakeUnanswered)
            waits = self._platform.plan.runs_on and isinstance(opened, (BrokerUnanswered, LakeUnanswered))
            if self._failing_s > OPEN_WITHIN_S and not waits:
                raise opened
            return
        self._failing_since_s, self._trouble = None, ""
        opened.count_on(before)
        self.assignment = opened
        before.close()
        self.opened += 1
        if not self.is_current:
            return  # a rebalance has begun meanwhile
        self._was_current = True
        self.still_s = clock.monotonic_s() - self._still_since_s
        LOG.info("reads on", extra={"partitions": sorted(opened.partitions), "stood_still_s": round(self.still_s, 3)})

    def _tried(self, partitions: Collection[int] | None) -> Assignment | BrokerError | LakeUnanswered:
        """An assignment of these partitions, or why it cannot be opened now. The group is followed meanwhile."""
        self.is_opening = True
        with ThreadPoolExecutor(1, "k2-opening") as thread:
            opening = thread.submit(Assignment.open, self._platform, partitions)
            try:
                while not futures.wait([opening], FOLLOW_EVERY_S).done:
                    if self._member is not None:
                        self._member.poll()
            except BaseException:
                with suppress(Exception):
                    opening.result().close()
                raise
            finally:
                self.is_opening = False
        error = opening.exception()
        return error if isinstance(error, (BrokerError, LakeUnanswered)) else opening.result()

    @property
    def _failing_s(self) -> float:
        """For how many seconds opening has failed."""
        since_s = self._failing_since_s
        return 0.0 if since_s is None else self._platform.clock.monotonic_s() - since_s

    def _note_failure(self, error: BrokerError | LakeUnanswered) -> None:
        said = first_line(error)
        if said != self._trouble:
            LOG.warning("the assigned partitions cannot be opened yet: %s", said)
        self._trouble = said
        if self._failing_since_s is None:
            self._failing_since_s = self._platform.clock.monotonic_s()

    def _revoke(self) -> None:
        """The group is about to take the partitions away: commit what is in hand, or drop it."""
        if not self.is_current:
            return
        assignment = self.assignment
        self._still_since_s, self._was_current = self._platform.clock.monotonic_s(), False
        is_flushed = assignment.flush(REVOKE_FRACTION * self._patience.session_s, patient=False)
        if is_flushed and not assignment.is_stale:
            # The next owner then reads no rows of these partitions from the table.
            assignment.save()
            LOG.info("partitions %s revoked; what was read is committed", sorted(assignment.partitions))
        else:
            assignment.invalidate()
            LOG.warning(
                "partitions %s revoked; what was read and not committed is dropped", sorted(assignment.partitions)
            )

    def close(self) -> None:
        """Leave the group, then close the assignment."""
        if self._member is not None:
            self._member.close()
        self.assignment.close()
