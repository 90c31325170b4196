"""What a consumer works with for as long as it lives, over all its assignments: table, topic, policy, committer."""

from contextlib import ExitStack
from dataclasses import dataclass

from k2ctl.clock import Clock
from k2ctl.consume.committer import Committer
from k2ctl.consume.degradation.monitor import PressureMonitor
from k2ctl.consume.pending_checkpoint import CommitTargets
from k2ctl.consume.plan import ConsumerPlan
from k2ctl.consume.reference_feed import ReferenceFeed
from k2ctl.consume.start import StartPosition, retire_past_epochs
from k2ctl.consume.totals import STEPS, ConsumerTotals
from k2ctl.dedup.chunks import ChunkPlan, plan_chunks
from k2ctl.deferred.admission import Admission
from k2ctl.deferred.outstanding import RetentionWatch
from k2ctl.deferred.spill_files import Spiller
from k2ctl.domain.checkpoint import Checkpoints
from k2ctl.domain.topics import REFERENCE_TABLE, reference_topic
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin, Watermarks
from k2ctl.kafka.broker_time import KafkaTime
from k2ctl.kafka.dead_letters import DeadLetters
from k2ctl.kafka.topics import make_topics
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.side_folder import SideFolder
from k2ctl.lake.writer import TableWriter
from k2ctl.profiles.universe import Universe
from k2ctl.timing import Stopwatch


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
    committer: Committer
    references: ReferenceFeed
    pressure: PressureMonitor
    kafka_time: KafkaTime
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
        """Close the table; the committer must have been closed."""
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
    writer = TableWriter(lake, clock, SnapshotRetention.from_profile(profile.lake.expire))
    with BrokerAdmin(endpoints) as admin:
        topic, _ = make_topics(admin, profile)
        kept_s = admin.retention_s(topic)
        table = lake.table()
        start = retire_past_epochs(endpoints, admin, writer, checkpoints_of(table), topic, rebase=plan.rebase)
    retention_s = profile.topic.retention_hours * 3600 if kept_s is None else kept_s
    retention = RetentionWatch(endpoints, topic, retention_s, clock)
    admission = Admission(Universe(profile), can_shed=retention.holds_long_enough)
    limit_bytes = profile.degradation.deferral.spill_limit_mb * 1_000_000
    spiller = Spiller(SideFolder(table), admission, limit_bytes, clock)
    market = profile.market
    return Platform(
        endpoints=endpoints,
        plan=plan,
        clock=clock,
        topic=topic,
        lake=lake,
        table_id=str(table.metadata.table_uuid),
        start=start,
        chunks=chunks,
        retention=retention,
        admission=admission,
        spiller=spiller,
        committer=Committer(CommitTargets(DeadLetters(endpoints, topic, start.epoch), spiller, writer), clock),
        references=ReferenceFeed(endpoints, reference_topic(market.asset_class, market.exchange), lake, clock),
        pressure=PressureMonitor(profile, plan.budget, clock, embedded=endpoints.engine == "embedded"),
        kafka_time=KafkaTime(endpoints, clock),
        totals=ConsumerTotals(),
        steps=Stopwatch(clock, STEPS),
    )
