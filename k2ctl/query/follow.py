"""Trades as they arrive: what is appended to the topics, read from their ends on, and never from the lake."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.clock import Clock
from k2ctl.domain.rows import Rows, arrow_schema
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.reader import Reader
from k2ctl.kafka.topic_admin import TopicAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.duckdb_files import lock, open_duckdb
from k2ctl.lake.snapshots import pin
from k2ctl.profiles import Profile
from k2ctl.query.refusals import as_errors
from k2ctl.query.stream import KafkaStream, KafkaStreams, tail_records_of
from k2ctl.query.tail import valid
from k2ctl.timing import Every

_FETCH_RECORDS: Final = 20_000
_LOOK_EVERY_S: Final = 2.0
_FILTER_MB: Final = 256
_ROW: Final = "row"


@dataclass(frozen=True)
class Arrived:
    """What came in one go."""

    # As `domain.rows.arrow_schema()` says, by their exchange times.
    trades: pa.Table
    # Records that cannot be read and trades that are not valid, of all symbols; the consumer dead-letters both.
    left_out: int
    # Records that retention deleted before they were read.
    lost: int = 0


class RowFilter:
    """A condition over the columns of a trade, in DuckDB's SQL. It reaches no file, network, extension or setting."""

    def __init__(self, lake: Lake, condition: str) -> None:
        """Raises:
        SqlError: it is no condition over these columns.
        """
        self._condition = condition
        self._connection = open_duckdb(lake)
        lock(self._connection, [], _FILTER_MB)
        self.of(arrow_schema().empty_table())

    def of(self, rows: pa.Table) -> pa.Table:
        """Those that meet it."""
        numbered = rows.append_column(_ROW, pa.array(range(len(rows)), pa.int64()))
        with as_errors():
            met = self._connection.from_arrow(numbered).filter(self._condition).project(_ROW).to_arrow_table()
        return rows.take(pa.array(sorted(met[_ROW].to_pylist()), pa.int64()))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Follower:
    """Follows the topics of the table and its profile: from now on, or from a while ago. Not thread-safe.

    A topic that is made again or given partitions meanwhile, or comes new, is read from its beginning.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        profile: Profile,
        clock: Clock,
        symbols: Sequence[str] = (),
        condition: str = "",
        back_s: float = 0.0,
    ) -> None:
        """symbols: none for all; one in lower case is meant in upper case, too.

        Raises:
            SqlError: `condition` is none. BrokerError: Kafka does not answer.
        """
        self._endpoints = endpoints
        self._clock = clock
        self._symbols = symbols
        self._lake = Lake.at(endpoints)
        self._filter = RowFilter(self._lake, condition) if condition else None
        self._streams = KafkaStreams(endpoints, profile)
        self._readings: dict[str, _Reading] = {}
        self._every = Every(_LOOK_EVERY_S)
        self._look(clock.now_us() - round(back_s * 1e6))

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *_: object) -> None:
        for reading in self._readings.values():
            reading.reader.close()
        if self._filter is not None:
            self._filter.close()
        self._lake.close()

    @property
    def topics(self) -> tuple[str, ...]:
        """Those that are followed."""
        return tuple(self._readings)

    def fetch(self, wait_s: float) -> Arrived:
        """What has come; waits a moment for it.

        Raises:
            BrokerError: Kafka does not answer.
        """
        if self._every.due():
            self._look(None)
        if not self._readings:
            time.sleep(wait_s)
        parts, left_out, lost = [], 0, 0
        for reading in self._readings.values():
            found, bad = reading.fetch(wait_s / len(self._readings), self._symbols, self._clock.now_us())
            parts.append(found)
            left_out += bad
            lost += sum(hole.first - hole.asked for hole in reading.reader.holes())
        rows = [part.to_arrow() for part in parts if len(part)]
        trades = pa.concat_tables(rows).unify_dictionaries() if rows else arrow_schema().empty_table()
        if self._filter is not None and len(trades):
            trades = self._filter.of(trades)
        by_time = [("timestamp", "ascending"), ("timestamp_nanos", "ascending"), ("kafka_offset", "ascending")]
        return Arrived(trades.sort_by(by_time), left_out, lost)

    def _look(self, from_us: int | None) -> None:
        """Begin with topics that are new. from_us: where the first ones begin; None: at their beginning."""
        for stream in self._streams(pin(self._lake)):
            marks, before = stream.watermarks(), self._readings.get(stream.topic)
            if not marks:
                continue
            if before is not None and before.stream is stream and before.is_of(stream.epoch(), len(marks)):
                continue
            starts = {number: low for number, (low, _) in marks.items()}
            if from_us is not None:
                with TopicAdmin(self._endpoints) as admin:
                    starts = admin.offsets_at(stream.topic, from_us // 1000, marks)
            if before is not None:
                starts |= before.positions(stream.epoch())
                before.reader.close()
            self._readings[stream.topic] = _Reading(self._endpoints, stream, starts)


class _Reading:
    """One topic that is followed."""

    def __init__(self, endpoints: Endpoints, stream: KafkaStream, starts: dict[int, int]) -> None:
        self.stream = stream
        self._epoch = stream.epoch()
        self.reader = Reader(endpoints, stream.topic, "k2ctl-follow", stream.decoder.beside)
        self.reader.assign(starts)

    def is_of(self, epoch: str, partitions: int) -> bool:
        return (epoch, partitions) == (self._epoch, len(self.reader.positions))

    def positions(self, epoch: str) -> dict[int, int]:
        """Up to where it was read; none where the topic is another one by now."""
        return self.reader.positions if epoch == self._epoch else {}

    def fetch(self, wait_s: float, symbols: Sequence[str], now_us: int) -> tuple[Rows, int]:
        """The trades that have come, and how many records and trades are left out."""
        fetched = self.reader.fetch(_FETCH_RECORDS, wait_s)
        if not len(fetched):
            return Rows.empty(self.stream.topic, self._epoch), 0
        received = tail_records_of(fetched, self.stream.decoder)
        wanted = [name for name in received.symbols if _is_meant(name, symbols)] if symbols else None
        rows = received.rows(self.stream.topic, self._epoch, received.of(wanted))
        kept = valid(rows, max(now_us, received.newest_us), self.stream.decoder)
        return kept, len(np.unique(received.broken, axis=0)) + len(rows) - len(kept)


def _is_meant(stored: str, symbols: Sequence[str]) -> bool:
    return any(symbol == stored or (symbol != symbol.upper() and symbol.upper() == stored) for symbol in symbols)
