"""Numbers of the table and the stream through the tracker: by feed, and in the order of exchange time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.clock import Clock
from k2ctl.domain.days import DayNumbers, date_of
from k2ctl.domain.rows import arrow_schema, trades_of
from k2ctl.feeds.topics import TopicFeeds
from k2ctl.lake.readers import SEQUENCED_COLUMNS
from k2ctl.profiles.model import SequenceSettings
from k2ctl.sequence.channels import Gap, OpenGaps
from k2ctl.sequence.tracker import SequenceTracker

_BATCH_ROWS: Final = 500_000
_MOST_GAPS: Final = 100_000


class RecordedGaps(OpenGaps):
    """Also keeps the gaps that a restart of the counter explains."""

    def __init__(self) -> None:
        super().__init__(_MOST_GAPS)
        self.reset: list[tuple[int, Gap]] = []

    def clear(self, channel: int) -> list[Gap]:
        self.reset += [(channel, gap) for gap in self.of(channel)]
        return super().clear(channel)


class FeedNumbers:
    """Numbers of the table through a tracker, and how many each channel has on each day."""

    def __init__(self, clock: Clock, days: DayNumbers, settings: SequenceSettings | None, *, knows_begin: bool) -> None:
        self.days = days
        self.declared = settings
        self.settings = settings or SequenceSettings()
        self.tracker = SequenceTracker(clock, settings=settings, knows_begin=knows_begin)
        self.gaps = self.tracker.gaps = RecordedGaps()
        self.stored: dict[tuple[int, int], int] = {}
        # By channel, where it was read last.
        self.topic: dict[int, str] = {}
        self.untracked: dict[str, int] = {}

    def day(self, at_us: int) -> str:
        """The date of a time."""
        return date_of(self.days.of(np.array([at_us]))[0])

    def add(self, rows: pa.Table) -> None:
        """The rows of one hour."""
        for part, trades, channel in self._numbered(rows):
            self.tracker.step(trades, part["kafka_partition"].to_numpy())
            self._note_topics(part, channel)
            days = self.days.of(trades["event_ns"] // 1000)
            for day in np.unique(days).tolist():
                for number in np.flatnonzero(counts := np.bincount(channel[days == day])).tolist():
                    self.stored[number, day] = self.stored.get((number, day), 0) + int(counts[number])
        silent = rows["source_sequence"].is_null()
        silent = rows if self.settings.numbers == "none" else rows.filter(silent)
        for exchange in pc.value_counts(silent["exchange"]).to_pylist():
            name = exchange["values"]
            self.untracked[name] = self.untracked.get(name, 0) + exchange["counts"]

    def _numbered(self, rows: pa.Table) -> Iterator[tuple[pa.RecordBatch, np.ndarray, np.ndarray]]:
        """The rows with numbers, in parts: as they are, as trades, and their channels."""
        if self.settings.numbers == "none":
            return
        for part in rows.filter(rows["source_sequence"].is_valid()).combine_chunks().to_batches(_BATCH_ROWS):
            trades = trades_of(part)
            yield part, trades, self.tracker.channels.numbers_of(trades, part["kafka_partition"].to_numpy())

    def neighbours(self, tables: Iterable[pa.Table], found: Iterable[tuple[int, Gap]]) -> dict[tuple[int, int], str]:
        """(channel, number) on both sides of some gaps → the symbol of its trade."""
        wanted = {(channel, number) for channel, gap in found for number in (gap.start - 1, gap.after)}
        numbers, symbols = np.array(sorted({number for _, number in wanted}), np.uint64), {}
        for rows in tables:
            for _, trades, channel in self._numbered(rows):
                for at in np.flatnonzero(np.isin(trades["source_sequence"], numbers)).tolist():
                    side = (int(channel[at]), int(trades["source_sequence"][at]))
                    if side in wanted:
                        symbols[side] = bytes(trades["symbol"][at]).decode()
        return symbols

    def _note_topics(self, part: pa.RecordBatch, channel: np.ndarray) -> None:
        topics = part["kafka_topic"]
        last = np.full(len(self.tracker.channels), -1, np.int64)
        last[channel] = topics.indices.to_numpy()
        for number in np.flatnonzero(last >= 0).tolist():
            self.topic[number] = topics.dictionary[last[number]].as_py()


class FeedGroups:
    """A `FeedNumbers` for each group of topics whose numbers are counted together."""

    def __init__(
        self, declared: TopicFeeds | None, make: Callable[[SequenceSettings | None], FeedNumbers], topics: Iterable[str]
    ) -> None:
        """declared: None, where nothing is of any topic. topics: those that rows may be of."""
        self._declared = declared
        self._make = make
        self._by_key: dict[tuple[SequenceSettings | None, str], FeedNumbers] = {}
        for topic in topics:
            self._of(topic)
        if not self._by_key:
            self._by_key[None, ""] = make(None)

    @property
    def feeds(self) -> list[FeedNumbers]:
        """One for each group."""
        return list(self._by_key.values())

    def _of(self, topic: str) -> FeedNumbers:
        settings = None if self._declared is None else self._declared.sequence(topic)
        key = (settings, "" if settings is None or self._declared is None else self._declared.group(topic))
        if key not in self._by_key:
            self._by_key[key] = self._make(settings)
        return self._by_key[key]

    def divided(self, rows: pa.Table) -> Iterator[tuple[FeedNumbers, pa.Table]]:
        """The rows of each group."""
        of_feed: dict[FeedNumbers, list[str]] = {}
        for topic in rows["kafka_topic"].unique().to_pylist():
            of_feed.setdefault(self._of(topic), []).append(topic)
        if len(of_feed) == 1:
            yield next(iter(of_feed)), rows
            return
        for feed, topics in of_feed.items():
            yield feed, rows.filter(pc.is_in(rows["kafka_topic"].cast(pa.string()), pa.array(topics, pa.string())))

    def parts(self, tables: Iterable[pa.Table], feed: FeedNumbers) -> Iterator[pa.Table]:
        """The rows of one group."""
        yield from (part for rows in tables for of, part in self.divided(rows) if of is feed)


def merged(stored: Iterable[pa.Table], tail: pa.Table, *, with_ids: bool) -> Iterator[pa.Table]:
    """Rows of the table, which come in the order of time, with those of the stream where they belong."""
    schema = _schema(with_ids=with_ids)
    rest = tail.select(schema.names).sort_by("timestamp")
    for rows in stored:
        now = pc.less_equal(rest["timestamp"], rows["timestamp"][-1])
        yield _together([rows, rest.filter(now)], schema)
        rest = rest.filter(pc.invert(now))
    if len(rest):
        yield _together([rest], schema)


def _schema(*, with_ids: bool) -> pa.Schema:
    names = (*SEQUENCED_COLUMNS, "message_id") if with_ids else SEQUENCED_COLUMNS
    fields = {name: arrow_schema().field(name) for name in names}
    topic = fields["kafka_topic"].with_type(pa.dictionary(pa.int32(), pa.string()))
    return pa.schema(list((fields | {"kafka_topic": topic}).values()))


def _together(parts: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """Rows in the order of time, of equals the stored ones first; topics dictionary-encoded together."""
    rows = pa.concat_tables([part.cast(schema) for part in parts]).unify_dictionaries().combine_chunks()
    order = np.argsort(rows["timestamp"].cast(pa.int64()).to_numpy(), kind="stable")
    return rows.take(pa.array(order)).combine_chunks()
