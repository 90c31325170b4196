"""The ledger as people look at it: each range with its priorities and where its trades lie."""

from collections.abc import Sequence
from dataclasses import dataclass

from k2ctl.domain.ledger import DeferredRange
from k2ctl.domain.topics import trades_topic
from k2ctl.home import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import PRIORITIES


@dataclass(frozen=True)
class OutstandingRange:
    """A range of the ledger. count: trades. gone_records: records of it that Kafka no longer holds."""

    topic: str
    epoch: str
    partition: int
    start: int
    end: int
    count: int
    priorities: tuple[str, ...]
    level: str
    where: str
    gone_records: int


def outstanding_ranges(endpoints: Endpoints, profile: Profile) -> list[OutstandingRange]:
    """What is outstanding of a profile's topic.

    Raises:
        LakeError: there is no table yet, or it cannot be read. BrokerError: Kafka does not answer.
    """
    topic = trades_topic(profile.market.asset_class, profile.market.exchange)
    with Lake.at(endpoints) as lake:
        entries = checkpoints_of(lake.table()).ledger.of(topic).entries
    if not entries:
        return []
    with BrokerAdmin(endpoints) as admin:
        epoch = admin.epoch(topic)
        log_start = {partition: mark.low for partition, mark in admin.watermarks(topic).items()}
    names = [level.name for level in profile.degradation.levels]
    return [
        _range(entry, names, log_start.get(entry.partition, 0) if entry.epoch == epoch else None) for entry in entries
    ]


def _range(entry: DeferredRange, level_names: Sequence[str], log_start: int | None) -> OutstandingRange:
    """log_start: the partition's first offset; None when the Kafka that held it is gone."""
    gone = 0
    if not entry.spill:
        gone = entry.end - entry.start if log_start is None else max(0, min(entry.end, log_start) - entry.start)
    return OutstandingRange(
        topic=entry.topic,
        epoch=entry.epoch,
        partition=entry.partition,
        start=entry.start,
        end=entry.end,
        count=entry.count,
        priorities=tuple(name for number, name in enumerate(PRIORITIES) if entry.holds(number)),
        level=level_names[entry.level],
        where=f"{gone:,} records are gone from Kafka" if gone else entry.spill or "Kafka",
        gone_records=gone,
    )
