"""Pages of an answer that stay exact while trades go on arriving."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.domain.rows import Rows, nanoseconds
from k2ctl.errors import UsageError

_LONGEST: Final = 16_384


class Place(NamedTuple):
    """Where a row stands in the order of answers."""

    timestamp_ns: int
    partition: int
    offset: int
    position: int
    topic: str


@dataclass(frozen=True)
class Page:
    """A part of an answer, of what its first page could see."""

    # Topic and epoch → partition → watermark of the first page; rows of these logs from there on are younger than the
    # answer.
    ends: Mapping[tuple[str, str], Mapping[int, int]]
    # The last row of the page before; None begins with the newest.
    after: Place | None = None
    # Where the first page's window began, which must not move on with the time.
    since_us: int | None = None

    def condition(self) -> tuple[str, dict[str, Any]]:
        """The rows that the page may have, as SQL with named parameters: with those of the place's own time.

        Of two copies of a trade only one counts, wherever the page begins; so both sides are united before `behind`.
        """
        sql, parameters = self.seen()
        if self.after is not None:
            sql += " AND timestamp <= make_timestamptz($at)"
            parameters["at"] = self.after.timestamp_ns // 1000
        return sql, parameters

    def seen(self) -> tuple[str, dict[str, Any]]:
        """What the first page could see, as SQL with named parameters."""
        conditions, parameters = ["true"], dict[str, Any]()
        for at, ((topic, epoch), ends) in enumerate(self.ends.items()):
            parameters |= {f"topic{at}": topic, f"epoch{at}": epoch, f"ends{at}": _listed(ends)}
            conditions.append(
                f"(kafka_topic <> $topic{at} OR kafka_epoch <> $epoch{at}"
                f" OR kafka_offset < coalesce(list_extract($ends{at}, kafka_partition + 1), 0))"
            )
        return " AND ".join(conditions), parameters

    def select(self, rows: Rows) -> Rows:
        """The rows of the stream that the page may have."""
        rows = self.seen_of(rows)
        if self.after is None:
            return rows
        return rows.take(rows.trades["event_ns"] // 1000 <= self.after.timestamp_ns // 1000)

    def seen_of(self, rows: Rows) -> Rows:
        """The rows of the stream that the first page could see."""
        ends = np.array(_listed(self.ends.get((rows.topic, rows.epoch), {0: 0})), np.int64)
        known = rows.partition < len(ends)
        return rows.take(known & (rows.offset < ends[np.where(known, rows.partition, 0)]))

    def behind(self, table: pa.Table) -> np.ndarray:
        """bool[n]: which rows of an answer come after the place: older, or of the same time and later in the order."""
        if self.after is None:
            return np.ones(len(table), np.bool_)
        time_ns = nanoseconds(table.column("timestamp"), table.column("timestamp_nanos"))
        names = ("kafka_partition", "kafka_offset", "kafka_index")
        partition, offset, index = (table.column(name).to_numpy() for name in names)
        at = self.after
        topic = pc.greater(table.column("kafka_topic").cast(pa.string()), at.topic).to_numpy()
        later = (index < at.position) | ((index == at.position) & topic)
        later = (offset < at.offset) | ((offset == at.offset) & later)
        later = (partition > at.partition) | ((partition == at.partition) & later)
        behind: np.ndarray = (time_ns < at.timestamp_ns) | ((time_ns == at.timestamp_ns) & later)
        return behind

    def encode(self) -> str:
        """The cursor that a client sends back."""
        ends = [[*of, sorted(offsets.items())] for of, offsets in sorted(self.ends.items())]
        document = [ends, self.after and tuple(self.after), self.since_us]
        return base64.urlsafe_b64encode(orjson.dumps(document)).decode().rstrip("=")

    @staticmethod
    def decode(text: str) -> "Page":
        """Read a cursor; whatever is not one of ours is a usage error, and no more than a filter could be forged."""
        try:
            if len(text) > _LONGEST:
                raise ValueError("too long")
            ends, after, since_us = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            by_topic = {
                (str(topic), str(epoch)): {_whole(p, 65_536): _whole(end) for p, end in offsets}
                for topic, epoch, offsets in ends
            }
            place = None if after is None else _place(*after)
            since_us = None if since_us is None else _whole(since_us)
            page = Page(by_topic, place, since_us)
        except (binascii.Error, ValueError, TypeError) as error:
            raise UsageError("This cursor is not one of this service.", "Start again without it.") from error
        return page


def _place(timestamp_ns: Any, partition: Any, offset: Any, position: Any, topic: Any) -> Place:
    return Place(_whole(timestamp_ns), _whole(partition), _whole(offset), _whole(position), str(topic))


def _listed(ends: Mapping[int, int]) -> list[int]:
    """The watermark of each partition up to the last."""
    return [ends.get(partition, 0) for partition in range(max(ends, default=0) + 1)]


def _whole(value: Any, limit: int = 1 << 62) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise ValueError("not a number of a cursor")
    return value
