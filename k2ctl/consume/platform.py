"""What a consumer works on for as long as it lives: the table, the topic and its epoch, the policy."""

from contextlib import ExitStack
from dataclasses import dataclass

from k2ctl.clock import Clock
from k2ctl.consume.plan import ConsumerPlan
from k2ctl.consume.start import StartPosition, settle_epochs
from k2ctl.dedup.chunks import ChunkPlan
from k2ctl.dedup.plan import plan_chunks
from k2ctl.deferred.admission import Admission
from k2ctl.deferred.retention import RetentionWatch
from k2ctl.domain.checkpoint import Checkpoints
from k2ctl.domain.topics import REFERENCE_TABLE, reference_topic
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin, Watermarks
from k2ctl.kafka.topics import make_topics
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.retention import SnapshotRetention
from k2ctl.lake.writer import TableWriter
from k2ctl.profiles.universe import Universe


@dataclass(frozen=True)
class Platform:
    """Opened once. table_id: the table's uuid. chunks: what deduplication may take of memory."""

    endpoints: Endpoints
    plan: ConsumerPlan
    clock: Clock
    topic: str
    lake: Lake
    table_id: str
    writer: TableWriter
    start: StartPosition
    chunks: ChunkPlan
    retention: RetentionWatch
    admission: Admission

    @property
    def epoch(self) -> str:
        """The topic's incarnation."""
        return self.start.epoch

    def checkpoints(self) -> Checkpoints:
        """How far the table is now.

        Raises:
            LakeError: it does not answer, or cannot be trusted.
        """
        return checkpoints_of(self.lake.table())

    def watermarks(self) -> dict[int, Watermarks]:
        """Both ends of every partition of the topic.

        Raises:
            BrokerError: Kafka does not answer.
        """
        with BrokerAdmin(self.endpoints) as admin:
            return admin.watermarks(self.topic)


def reference_topic_of(plan: ConsumerPlan) -> str:
    """Where reference data of the plan's market arrives."""
    market = plan.profile.market
    return reference_topic(market.asset_class, market.exchange)


def open_platform(endpoints: Endpoints, plan: ConsumerPlan, clock: Clock) -> Platform:
    """Make the topics and the table where they are missing, and close the balance of epochs that are gone.

    Raises:
        ProfileError: the plan does not fit into memory. BrokerError, LakeError: Kafka or the table cannot be used, or
        the one was not filled from the other.
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
        start = settle_epochs(endpoints, admin, writer, checkpoints_of(table), topic, rebase=plan.rebase)
    retention = RetentionWatch(
        endpoints, topic, profile.topic.retention_hours * 3600 if kept_s is None else kept_s, clock
    )
    return Platform(
        endpoints,
        plan,
        clock,
        topic,
        lake,
        str(table.metadata.table_uuid),
        writer,
        start,
        chunks,
        retention,
        Admission(Universe(profile), can_shed=retention.holds_long_enough),
    )
