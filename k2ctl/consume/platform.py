"""How to consume."""

import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from k2ctl.clock import Clock
from k2ctl.consume.commit_thread import CommitThread
from k2ctl.consume.degradation import PressureMonitor
from k2ctl.consume.group_commit.together import GroupCommit
from k2ctl.consume.pending_checkpoint import CommitTargets
from k2ctl.consume.reference_feed import ReferenceFeed
from k2ctl.consume.settling import CommittedTable, open_settlement
from k2ctl.consume.start import StartPosition, retire_past_epochs
from k2ctl.dedup.chunk_plan import ChunkPlan, plan_chunks
from k2ctl.dedup.shared.settlement import Settlement
from k2ctl.deferred.admission import ACTIONS, Admission
from k2ctl.deferred.retention import RetentionWatch
from k2ctl.deferred.spill_files import Spiller
from k2ctl.domain.announcement import linger_s
from k2ctl.domain.checkpoint import Checkpoints
from k2ctl.domain.figure import Durations
from k2ctl.domain.recorded_feeds import RecordedFeed
from k2ctl.domain.topics import REFERENCE_TABLE
from k2ctl.endpoints import Endpoints
from k2ctl.feeds.records import Decoder, decoder_of
from k2ctl.feeds.topics import recorded_decoder, to_record
from k2ctl.kafka.admin import BrokerAdmin, Watermarks, make_topics
from k2ctl.kafka.dead_letters import DeadLetters
from k2ctl.kafka.probe import KafkaTime
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.side_folder import SideFolder
from k2ctl.lake.writer import TableWriter
from k2ctl.lake.written_offer import Committed
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import PRIORITIES, Universe
from k2ctl.timing import Stopwatch


def unique_id() -> str:
    """The id of a consumer without a name: no other that runs now has the same, on whatever machine."""
    return f"consumer-{socket.gethostname()}-{os.getpid()}"


@dataclass
class ConsumerPlan:
    """The options of one consumer."""

    profile: Profile
    until_caught_up: bool = False
    """End once all is read up to the watermarks of the start."""
    backfill: bool = False
    """Read nothing new; backfill all that is outstanding, then end."""
    rebase: bool = False
    """Accept that this Kafka is not the one that the table was filled from."""
    budget: float | None = None
    """Processed trades per second at most; None for as many as the machine can."""
    feed: RecordedFeed | None = None
    """The topic's feed as the table has it; None for the profile's."""
    state: str = ""
    """Where sequence state is kept: `memory`, or the address of a Redis; empty for the stack's."""
    group: bool = False
    """Read the partitions that a group assigns, beside other consumers, instead of all of them."""
    named: bool = False
    """True if `consumer_id` is a static name under which this consumer joins its group again."""
    consumer_id: str = field(default_factory=unique_id)
    stop_within_s: float = 1.0
    """What a stop may take, and a second more in all, to commit what is in hand; the rest is left in Kafka."""
    topics: int = 1
    """How many topics this process reads, each with a consumer and commits of its own."""
    maintains: bool = True
    """Whether this consumer keeps the table small; one of a process is enough."""
    pace: float = 1.0
    """How many times as fast as usual maintenance's ages and intervals pass: a day in minutes, to be measured."""

    @property
    def runs_on(self) -> bool:
        """False if it ends by itself, and so waits for nothing without end."""
        return not (self.until_caught_up or self.backfill)


STEPS: Final = ("decode", "admit", "dedup", "sequence", "enrich", "commit")
"""The steps of a batch by name, in their order (design, section 4)."""


@dataclass
class ConsumerTotals:
    """Counts since the start of the process."""

    records: int = 0
    """Kafka records read."""
    trades: int = 0
    """Valid trades in them."""
    stored: int = 0
    """Rows in the table by commits of this process."""
    backfilled: int = 0
    """Deferred trades that were resolved and stored."""
    left_in_kafka: int = 0
    """Rows that were read and dropped at the end, because committing them would have taken too long."""
    fenced: int = 0
    """Commits of which at least one partition was fenced."""
    commits: int = 0
    written_bytes: int = 0
    """Size of the Parquet files."""
    last_commit: Committed | None = None
    last_commit_s: float = 0.0
    """How long the last commit took."""
    last_commit_at_us: int = 0
    commit_times: Durations = field(default_factory=Durations)
    by_priority: np.ndarray = field(default_factory=lambda: np.zeros((len(PRIORITIES), len(ACTIONS)), np.int64))
    """int64[priorities, actions]: trades."""

    @property
    def trades_per_record(self) -> float:
        """The mean so far; 1 before the first record."""
        return self.trades / self.records if self.trades else 1.0

    def add_commit(self, committed: Committed, backfilled: int, seconds: float, at_us: int) -> None:
        """Count a commit. backfilled: the rows in it that had been deferred."""
        self.commits += 1
        self.stored += committed.stored
        if not committed.fenced:
            self.backfilled += backfilled
        self.written_bytes += committed.written_bytes
        self.last_commit, self.last_commit_s, self.last_commit_at_us = committed, seconds, at_us
        self.commit_times = self.commit_times.plus(seconds)


@dataclass(frozen=True)
class Platform:
    """Opened once per consumer."""

    endpoints: Endpoints
    plan: ConsumerPlan
    clock: Clock
    topic: str
    lake: Lake
    table_id: str
    """The table's uuid."""
    start: StartPosition
    """The topic's epoch, and what became of older ones."""
    chunks: ChunkPlan
    """The memory that deduplication may take."""
    retention: RetentionWatch
    admission: Admission
    spiller: Spiller
    commit_thread: CommitThread
    group_commit: GroupCommit | None
    """Where other consumers share the table: a group, or those of the process's other topics."""
    settlement: Settlement | None
    """Where copies are looked for in the partitions of other consumers, too."""
    references: ReferenceFeed
    pressure: PressureMonitor
    kafka_time: KafkaTime
    decoder: Decoder
    totals: ConsumerTotals
    steps: Stopwatch
    """Seconds per step of a batch (`STEPS`)."""

    @property
    def epoch(self) -> str:
        """The topic's incarnation."""
        return self.start.epoch

    def checkpoints(self) -> Checkpoints:
        """Where the table stands now.

        Raises:
            LakeError: it does not answer, or was rolled back.
        """
        return checkpoints_of(self.lake.table())

    def watermarks(self) -> dict[int, Watermarks]:
        """Both ends of every partition of the topic.

        Raises:
            BrokerError: Kafka does not answer.
        """
        with BrokerAdmin(self.endpoints) as admin:
            return admin.watermarks(self.topic)

    def close(self) -> None:
        """Commit no more for others, and close the table; the committing thread must have ended."""
        if self.group_commit is not None:
            self.group_commit.close()
        if self.settlement is not None:
            self.settlement.close()
        self.lake.close()


def open_platform(endpoints: Endpoints, plan: ConsumerPlan, clock: Clock) -> Platform:
    """Make the topics and the table where they are missing, and close the balance of epochs that are gone.

    Raises:
        ProfileError: the plan does not fit into memory. BrokerError, LakeError: Kafka or the table cannot be used, or
        the table was filled from another Kafka.
    """
    lake = Lake.at(endpoints)
    with ExitStack() as refused:
        refused.callback(lake.close)
        opened = _open(endpoints, plan, clock, lake)
        refused.pop_all()
    return opened


def _open(endpoints: Endpoints, plan: ConsumerPlan, clock: Clock, lake: Lake) -> Platform:
    """See `open_platform`."""
    profile, chunks = plan.profile, plan_chunks(plan.profile.consumer)
    lake.find_table(REFERENCE_TABLE)  # refused here, not where reference data comes in
    decoder = decoder_of(profile) if plan.feed is None else recorded_decoder(profile, plan.feed)
    retained = SnapshotRetention.from_profile(profile.lake.expire, plan.pace)
    writer = TableWriter(lake, clock, retained, {profile.trades_topic: to_record(decoder)})
    with BrokerAdmin(endpoints) as admin:
        topic, reference = make_topics(admin, profile)
        kept_s = admin.retention_s(topic)
        start = retire_past_epochs(endpoints, admin, lake, writer, topic, rebase=plan.rebase)
    decoder.check(topic)
    table = lake.table()
    retention_s = profile.topic.retention_hours * 3600 if kept_s is None else kept_s
    deferral = profile.degradation.deferral
    retention = RetentionWatch(endpoints, topic, retention_s, clock, shed_fraction=deferral.embedded_shed_fraction)
    admission = Admission(Universe(profile), can_shed=retention.may_hold)
    limit_bytes = deferral.spill_limit_mb * 1_000_000
    spiller = Spiller(SideFolder(table), admission, limit_bytes, clock, kafka_holds=retention.holds_long_enough)
    group_commit = None
    if plan.group or plan.topics > 1:
        interval_s = profile.consumer.commit_interval_s
        group_commit = GroupCommit(endpoints, lake, writer, clock, interval_s, retained)
    platform = str(table.metadata.table_uuid)
    settled, url = CommittedTable(lake, writer, clock), plan.state or endpoints.state_url
    settlement = open_settlement(
        endpoints,
        profile.consumer,
        url,
        platform,
        topic,
        settled,
        plan.consumer_id,
        clock,
        is_member=plan.group,
        lines=profile.topic.lines,
    )
    targets = CommitTargets(
        DeadLetters(endpoints, topic, start.epoch),
        spiller,
        writer,
        None if group_commit is None else group_commit.author,
        settlement,
    )
    return Platform(
        endpoints=endpoints,
        plan=plan,
        clock=clock,
        topic=topic,
        lake=lake,
        table_id=platform,
        start=start,
        chunks=chunks,
        retention=retention,
        admission=admission,
        spiller=spiller,
        commit_thread=CommitThread(targets, clock, linger_s(profile.consumer.commit_interval_s)),
        group_commit=group_commit,
        settlement=settlement,
        references=ReferenceFeed(endpoints, reference, lake, clock),
        pressure=PressureMonitor(profile, plan.budget, admission, clock, embedded=endpoints.engine == "embedded"),
        kafka_time=KafkaTime(endpoints, clock),
        decoder=decoder,
        totals=ConsumerTotals(),
        steps=Stopwatch(clock, STEPS),
    )
