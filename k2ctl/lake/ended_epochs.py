"""Where embedded Kafkas ended, in a property of the table: what was unread then is lost.

An embedded Kafka takes its log with it, and only who stops it knows how far it had come. The table keeps that, so that
a consumer on any machine counts the same records as lost when it retires the epoch.
"""

from collections.abc import Mapping
from typing import Final

import orjson
from pyiceberg.table import Table

from k2ctl.clock import Clock
from k2ctl.domain.topics import TABLE
from k2ctl.errors import LakeError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import Try, commit_optimistically
from k2ctl.lake.pyiceberg_overrides import QuickTransaction

ENDED: Final = "k2.ended-epochs"
_KEPT: Final = 20
"""A metadata file has all of them, and each commit writes one."""

HighWatermarks = Mapping[str, Mapping[int, int]]
"""topic → partition → high watermark"""


def note_end(lake: Lake, clock: Clock, epoch: str, marks: HighWatermarks) -> None:
    """Write down how far a Kafka has come that is about to go; makes the table where there is none yet.

    Raises:
        LakeError: the table or its catalog cannot be used.
    """

    def once(_: Try) -> None:
        table = lake.ensure_table()
        ended = list({**ended_epochs(table), epoch: marks}.items())[-_KEPT:]
        with QuickTransaction(table) as transaction:
            document = orjson.dumps(dict(ended), option=orjson.OPT_NON_STR_KEYS)
            transaction.set_properties({ENDED: document.decode()})

    commit_optimistically(once, what="The end of a Kafka", hint="See: k2ctl stack status", clock=clock, within_s=5.0)


def ended_epochs(table: Table) -> dict[str, HighWatermarks]:
    """How far each embedded Kafka had come when it was stopped, oldest first; one that was killed is not in it.

    Raises:
        LakeError: the property is damaged.
    """
    try:
        return {
            epoch: {topic: {int(p): int(high) for p, high in highs.items()} for topic, highs in topics.items()}
            for epoch, topics in orjson.loads(table.metadata.properties.get(ENDED, "{}")).items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise LakeError(
            f"The table property {ENDED} cannot be read: {error}",
            f"Without it unread records of past Kafkas are not counted: ALTER TABLE {TABLE} UNSET TBLPROPERTIES "
            f"('{ENDED}'), in Spark",
        ) from error
