"""The consumer: a loop that takes part in its group, reads, cleans and commits, until it is to stop.

Each pass of the loop follows the group, takes a batch through the steps (decode, admit, dedup, sequence, enrich) into
the pending checkpoint, collects a finished commit, and begins the next. The commit is the last step and the only one
that others can see.

Alone it reads all partitions of the topic; in a group, those that the group assigns. The table decides either way.
"""

import gc
import logging
import math
import threading
from collections.abc import Callable
from typing import Final

from k2ctl.clock import Clock, SystemClock
from k2ctl.consume.assignment import Assignment
from k2ctl.consume.assignment_manager import AssignmentManager
from k2ctl.consume.platform import ConsumerPlan, ConsumerTotals, open_platform
from k2ctl.domain.checkpoint import Counts
from k2ctl.domain.ledger import Ledger
from k2ctl.domain.status_parts import GroupCommitStatus
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError
from k2ctl.garbage import spare_what_is_there
from k2ctl.kafka.lease import lease_of
from k2ctl.kafka.watermarks import Silence
from k2ctl.lake.catalog import Lake
from k2ctl.lake.maintenance.maintainer import BackgroundMaintenance
from k2ctl.timing import Every

LOG: Final = logging.getLogger("k2ctl.consume")

IDLE_S: Final = 0.005
IDLE_AFTER_S: Final = 2.0
"""Without anything to do for so long, a consumer waits for the next record, and does the rest once a second."""

GATHER_S: Final = 0.25
"""Behind a small batch the next trades gather for so long, but not beyond the next commit: they would wait for that in
any case, and a batch of few costs as much as one of a thousand."""

REST_S: Final = 1.0
REST_STEP_S: Final = 0.25
"""How late an idle consumer may notice what its group or a signal says."""

KAFKA_AWAY_S: Final = 60.0
"""How long a consumer that ends by itself waits for a Kafka or a registry that does not answer; as long as for the
table."""

WAITING_LOGGED_S: Final = 1.0

FIRST_READ: Final = "the first records are read"
"""What it logs as soon as they are."""


class Consumer:
    """One consumer of one topic."""

    def __init__(self, endpoints: Endpoints, plan: ConsumerPlan, clock: Clock | None = None) -> None:
        self.endpoints = endpoints
        self.plan = plan
        self.clock = clock or SystemClock()
        platform = self._platform = open_platform(endpoints, plan, self.clock)
        self.topic, self.epoch, self.start = platform.topic, platform.epoch, platform.start
        self.totals, self.steps = platform.totals, platform.steps
        self.pressure, self.kafka_time = platform.pressure, platform.kafka_time
        self.retention, self.admission = platform.retention, platform.admission
        self.maintenance = BackgroundMaintenance(
            lambda: Lake.at(endpoints), plan.profile.lake, self.clock, lease_of(endpoints), pace=plan.pace
        )
        self.assignments = AssignmentManager(platform)
        self._goal = self.assignment.highs if plan.until_caught_up else None
        self._look_for_waiting = Every(WAITING_LOGGED_S, self.clock)
        self._was_waiting = False
        self._busy_at_s = self.clock.monotonic_s()

    def run(self, stop: threading.Event, on_tick: Callable[[], None] | None = None) -> ConsumerTotals:
        """Consume until `stop` is set or the goal is reached; ends with everything read committed.

        on_tick is called on every pass of the loop (some ten times a second and more) and must be quick.

        Raises:
            FencedError: another consumer has taken over; nothing was stored twice.
            LakeError, BrokerError: the table or Kafka cannot go on; what was committed stays.
        """
        if self.plan.maintains:
            self.maintenance.start()
        if self.plan.runs_on:
            self._platform.commit_thread.wait_while(lambda: not stop.is_set())
        spare_what_is_there()
        try:
            if on_tick is not None:
                on_tick()
            self._platform.references.start()
            while not stop.is_set() and not self._reached_goal():
                self._step(may_read=self._rest_if_idle(stop))
                self._require_kafka()
                self._require_registry()
                if on_tick is not None:
                    on_tick()
            self._finish(hurry=stop.is_set())
        finally:
            gc.unfreeze()
            self._platform.references.stop(hurry=stop.is_set())
            self.maintenance.stop()
            self._platform.commit_thread.close()
            self.assignments.close()
            self._platform.close()
        return self.totals

    @property
    def is_idle(self) -> bool:
        """True while it has had nothing to do for a while."""
        return self.clock.monotonic_s() - self._busy_at_s >= IDLE_AFTER_S

    def _rest_if_idle(self, stop: threading.Event) -> bool:
        """Wait for a record, with the group followed meanwhile, where there is nothing to do; False when none came.

        32 consumers that wait for trades should take no time of the processor that those of others need.
        """
        started_s, before = self.clock.monotonic_s(), self.assignment
        if self.pressure.number or not before.is_idle or not self.plan.runs_on or not self.assignments.is_current:
            self._busy_at_s = started_s
        while self.is_idle and self.clock.monotonic_s() - started_s < REST_S and not stop.is_set():
            if before.wait(REST_STEP_S):
                self._busy_at_s = self.clock.monotonic_s()
            self.assignments.follow()
            if self.assignment is not before or not self.assignments.is_current:
                return False
        return not self.is_idle

    def _step(self, *, may_read: bool) -> None:
        """One pass: follow the group and the pressure, read and clean, commit."""
        self.assignments.follow()
        assignment = self.assignment
        assignment.follow_pressure()
        if may_read and self._may_read(assignment):
            self._let_gather(assignment)
            self._read(assignment)
        elif may_read:
            self.clock.sleep(IDLE_S)
        if self.assignments.is_current:
            assignment.backfill_if_due()
        assignment.collect()
        if self.assignments.is_current:
            at_once = self.plan.backfill or self._reached_goal() or assignment.must_backfill
            assignment.submit_if_due(at_once=at_once)
        if self._look_for_waiting.due():
            self._log_waiting()

    def _read(self, assignment: Assignment) -> None:
        before = self.totals.records
        assignment.read_and_process()
        if not before and self.totals.records:
            LOG.info(FIRST_READ)

    def _let_gather(self, assignment: Assignment) -> None:
        """Behind a small batch, wait a moment for the next one to become larger."""
        if assignment.had_little and self.plan.runs_on and not self.pressure.number:
            self.clock.sleep(min(GATHER_S, assignment.until_commit_s))

    def _may_read(self, assignment: Assignment) -> bool:
        nothing_to_read = self.plan.backfill or not assignment.partitions or not self.assignments.is_current
        return not (nothing_to_read or assignment.is_full or self.pressure.budget.exhausted)

    def _reached_goal(self) -> bool:
        if self.plan.backfill:
            return not self.ledger.entries and self.assignment.is_committed
        return self._goal is not None and self.assignments.is_current and self.assignment.reached(self._goal)

    def _require_kafka(self) -> None:
        """A consumer that ends by itself waits only `KAFKA_AWAY_S` for Kafka."""
        silence = None if self.plan.runs_on else self.silence
        if silence is not None and silence.seconds >= KAFKA_AWAY_S:
            raise BrokerError(
                f"{silence}. What was committed stays; the rest was not read.",
                "See: k2ctl stack status. Then go on with the same command.",
            )

    def _require_registry(self) -> None:
        """A consumer that ends by itself waits no longer for a registry."""
        unanswered = None if self.plan.runs_on else self.assignment.unanswered
        if unanswered is not None and unanswered[1] >= KAFKA_AWAY_S:
            raise unanswered[0]

    def _finish(self, *, hurry: bool) -> None:
        """Commit everything that was read; in a hurry, what the plan's time is enough for."""
        if hurry:
            self._platform.spiller.give_up()
            self._platform.commit_thread.end_within(self.plan.stop_within_s)
        if not self.assignment.flush(self.plan.stop_within_s if hurry else math.inf):
            self.totals.left_in_kafka = self.assignment.pending_rows
            LOG.info("%d rows that were read are left in Kafka, to stop in time", self.totals.left_in_kafka)
        if self.assignments.is_current:
            self.assignment.save()

    def _log_waiting(self) -> None:
        """When it begins to wait, and when it goes on."""
        waiting = self.waiting
        if bool(waiting) == self._was_waiting:
            return
        self._was_waiting = bool(waiting)
        if waiting:
            LOG.warning("waiting: %s", waiting)
        else:
            LOG.info("goes on")

    @property
    def assignment(self) -> Assignment:
        """The partitions that are assigned now, and all that belongs to them."""
        return self.assignments.assignment

    @property
    def is_opening(self) -> bool:
        """True while partitions are opened, and state is restored."""
        return self.assignments.is_opening

    @property
    def ledger(self) -> Ledger:
        """What is outstanding of this topic, by whichever consumer, as committed."""
        return self.assignment.ledger

    @property
    def silence(self) -> Silence | None:
        """Since when Kafka has not answered; None while it does."""
        return self.assignment.silence

    @property
    def waiting(self) -> str:
        """What keeps this consumer from going on, in words; empty while nothing does."""
        silence = self.silence
        if silence is not None:
            return f"{silence}; goes on by itself once it answers"
        return self._platform.commit_thread.trouble or self.assignment.trouble or self.assignments.waiting

    def group_commit(self) -> GroupCommitStatus:
        """How group commit goes; all 0 where this consumer is alone."""
        return GroupCommitStatus() if self._platform.group_commit is None else self._platform.group_commit.snapshot()

    def counts(self) -> Counts:
        """The counts of the balance, for this topic and epoch, as committed."""
        return self.assignment.counts()
