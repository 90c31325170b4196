"""`k2ctl verify --engine spark`: the lake's side of exactly once, over every row of the table.

1. Of each partition the table has as many rows as its checkpoint counts as stored, none from behind its offset.
2. No place in Kafka (topic, epoch, partition, offset, index) has two rows.
3. No two rows are copies of each other, as `domain.copies` defines them.

What Kafka acknowledged, and what is still in the stream, is not looked at: `k2ctl verify` without Spark does that.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import RETIRED_PARTITION, Checkpoints
from k2ctl.domain.copies import PRINT_SQL, TRADE_KEY
from k2ctl.errors import CheckFailed
from k2ctl.lake.catalog import Lake
from k2ctl.spark.process import SparkProcess
from k2ctl.spark.views import printed, sources_of

_PLACE: Final = "kafka_topic, kafka_epoch, kafka_partition"
_COUNTS: Final = f"""
    SELECT {_PLACE}, count(*) AS rows, count(*) - count(DISTINCT kafka_offset, kafka_index) AS doubled,
        max(kafka_offset) AS last
    FROM k2_rows GROUP BY {_PLACE}
"""  # noqa: S608
_PRINTED: Final = ", ".join((*TRADE_KEY, *PRINT_SQL))
_COPIES: Final = f"""
    SELECT coalesce(sum(number - 1), 0) AS copies
    FROM (SELECT count(*) AS number FROM k2_rows GROUP BY {_PRINTED} HAVING count(*) > 1)
"""  # noqa: S608

Epoch = tuple[str, str]


@dataclass(frozen=True)
class PartitionRows:
    """The rows that the table has of a partition, and what its checkpoint says of it."""

    topic: str
    epoch: str
    # None for the sum of an epoch that is gone.
    partition: int | None
    rows: int
    stored: int
    # Rows whose place in Kafka another one has, too.
    doubled: int
    # The last offset of a row lies behind the checkpoint.
    ahead: bool

    @property
    def holds(self) -> bool:
        return self.rows == self.stored and not self.doubled and not self.ahead


@dataclass(frozen=True)
class LakeVerified:
    """The lake's side of one table."""

    table: str
    snapshot_id: int
    rows: int
    partitions: tuple[PartitionRows, ...]
    copies: int
    # What was not looked at.
    not_looked_at: str = "what Kafka acknowledged and has not been stored: k2ctl verify"

    @property
    def holds(self) -> bool:
        """Every row is there once, and as many as the checkpoints count."""
        return not self.copies and all(one.holds for one in self.partitions)


def verify_on_spark(spark: SparkProcess, lake: Lake, clock: Clock) -> LakeVerified:
    """Read every row on Spark, and compare.

    Raises:
        LakeError: there are no rows, or the offsets cannot be trusted. SparkError: Spark failed.
    """
    sources = sources_of(lake, clock, None, None)
    pinned = sources.pinned
    if pinned is None or pinned.snapshot_id is None:
        raise CheckFailed("The table has no rows yet.", "Fill it with: k2ctl consume --until-caught-up")
    views = [{"name": "k2_rows", "sql": printed(lake, pinned, None)}]

    def rows(text: str, what: str) -> Iterable[list[Any]]:
        for part in spark.parts("sql", what, views=views, text=text, limit=None):
            yield from part.get("rows", ())

    counts = {(topic, epoch, int(number)): found for topic, epoch, number, *found in rows(_COUNTS, "counting rows")}
    copies = sum(int(found) for (found,) in rows(_COPIES, "looking for copies"))
    partitions = tuple(_compared(counts, pinned.checkpoints))
    return LakeVerified(lake.name, pinned.snapshot_id, sum(one.rows for one in partitions), partitions, copies)


def _compared(counts: Mapping[tuple[str, str, int], list[Any]], checkpoints: Checkpoints) -> Iterable[PartitionRows]:
    """Each partition; those of an epoch that was retired together, as their checkpoints are."""
    retired = {
        (partition.topic, partition.epoch)
        for partition in checkpoints.by_partition
        if partition.partition == RETIRED_PARTITION
    }
    found: dict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0, 0, -1])
    for (topic, epoch, number), (rows, doubled, last) in counts.items():
        at = found[topic, epoch, RETIRED_PARTITION if (topic, epoch) in retired else number]
        at[:] = [at[0] + int(rows), at[1] + int(doubled), max(at[2], int(last))]
    known = {(p.topic, p.epoch, p.partition): checkpoint for p, checkpoint in checkpoints.by_partition.items()}
    for topic, epoch, number in sorted({*found, *known}):
        rows, doubled, last = found[topic, epoch, number]
        checkpoint = known.get((topic, epoch, number))
        gone = number == RETIRED_PARTITION
        yield PartitionRows(
            topic,
            epoch,
            None if gone else number,
            rows,
            checkpoint.counts.stored if checkpoint else 0,
            doubled,
            not gone and last >= (checkpoint.next_offset if checkpoint else 0),
        )


def lake_failed(result: LakeVerified) -> CheckFailed | None:
    """The error that a result ends in, if it does."""
    if result.holds:
        return None
    return CheckFailed(
        "The table does not hold each row once, or not as many as its checkpoints count.",
        "What is affected: k2ctl verify --engine spark --json; and against Kafka: k2ctl verify --against-kafka",
    )
