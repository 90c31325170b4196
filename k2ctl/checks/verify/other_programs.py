"""Rows in data files that another program committed, column by column, each with the trade and the column altered.

What k2ctl wrote is covered by the seal of its files. A row of another program's file is compared with the record of
Kafka at its place, as long as Kafka holds it, and its enrichment with the reference topic. What cannot be compared is
counted as not judged, by column. The time of a commit is k2ctl's own, and no record has it: there must be one, and a
past one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.checks.verify.slots import Interval
from k2ctl.checks.verify.sources import PlacedTrades, TradeSources
from k2ctl.domain.copies import sessions_and_numbers, without_marks
from k2ctl.domain.decimals import from_arrow
from k2ctl.domain.rows import TIMES, TRADE_COLUMNS, arrow_schema, identity_numbers, trades_of
from k2ctl.domain.texts import codes_of
from k2ctl.domain.trade import TRADE
from k2ctl.domain.validity import FUTURE_TOLERANCE_US
from k2ctl.load.acknowledged_log import AcknowledgedLog

ENRICHED: Final = ("sector", "tick_size", "lot_size", "enriched")
_VALUES: Final = ENRICHED[:-1]


class References:
    """All entries that the reference topic holds (dtype `REFERENCE.message`), by symbol."""

    def __init__(self, entries: np.ndarray) -> None:
        self._by_symbol: dict[bytes, np.ndarray] = {}
        for entry in np.unique(entries["symbol"]).tolist():
            self._by_symbol[entry] = entries[entries["symbol"] == entry]

    def check(self, batch: pa.RecordBatch, trades: np.ndarray) -> tuple[dict[str, np.ndarray], int]:
        """Column → bool[n], the rows in which it was altered; and how many rows could not be judged.

        A trade from before the oldest entry may have had another, which the compacted topic no longer holds. A row
        without enrichment has none of the values, and may be so: a consumer skips enrichment under pressure.
        """
        enriched = pc.fill_null(batch["enriched"], False).to_numpy(zero_copy_only=False)
        absent = {name: batch[name].is_null().to_numpy(zero_copy_only=False) for name in _VALUES}
        none, complete = (
            np.logical_and.reduce(masks) for masks in (list(absent.values()), [~m for m in absent.values()])
        )
        altered = {name: enriched & absent[name] & ~none | ~enriched & ~absent[name] & ~complete for name in _VALUES}
        altered["enriched"] = enriched & none | ~enriched & complete
        judged = np.zeros(len(trades), np.bool_)
        sectors = batch["sector"].cast(pa.string()).to_numpy(zero_copy_only=False)
        stored = {"sector": sectors, **{name: _words(from_arrow(batch[name])) for name in _VALUES[1:]}}
        codes, symbols = codes_of(trades["symbol"])
        for code, symbol in enumerate(symbols.tolist()):
            entries = self._by_symbol.get(symbol)
            if entries is None:
                continue
            rows = np.flatnonzero((codes == code) & enriched & ~none)
            known, right = (
                trades["received_ns"][rows] >= int(entries["timestamp_ns"].min()),
                np.ones(len(rows), bool),
            )
            for name in _VALUES:
                valid = entries[name].astype(str).astype(object) if name == "sector" else _words(entries[name])
                differs = ~np.isin(stored[name][rows], valid) & ~absent[name][rows]
                altered[name][rows] |= differs & known
                right &= ~differs
            judged[rows] = known | right
        return altered, int((~judged & enriched & ~none).sum())


COLUMNS: Final = tuple(arrow_schema().names)
PLACE: Final = ("kafka_partition", "kafka_offset", "kafka_index")
RESOLVED: Final = 10_000
"""Rows that are not at their place in Kafka and are searched for in all of the topic; more get no column named."""

_ALTERED: Final = np.dtype([("symbol", TRADE.message["symbol"]), ("column", "u1"), ("number", "u8")])


@dataclass
class OtherPrograms:
    """What was found in the data files of other programs."""

    # Trades of loads in these files.
    rows: int = 0
    # Column → trades of which it could not be compared.
    not_judged: dict[str, int] = field(default_factory=dict)
    # dtype _ALTERED; one entry for each trade and column.
    altered: np.ndarray = field(default_factory=lambda: np.zeros(0, _ALTERED))

    def note(self, trades: np.ndarray, column: str) -> None:
        """Count trades (dtype `TRADE.message`) as altered in a column."""
        if len(trades):
            part = np.empty(len(trades), _ALTERED)
            part["symbol"], part["column"] = trades["symbol"], COLUMNS.index(column)
            part["number"] = sessions_and_numbers(trades)[1]
            self.altered = np.unique(np.concatenate([self.altered, part]))

    def leave_open(self, columns: Sequence[str], trades: int) -> None:
        """Count trades of which some columns could not be compared."""
        for column in columns if trades else ():
            self.not_judged[column] = self.not_judged.get(column, 0) + trades

    def runs(self) -> list[Interval]:
        """The altered trades as runs of numbers, by symbol and column."""
        found = self.altered
        if not len(found):
            return []
        breaks = (found[1:][["symbol", "column"]] != found[:-1][["symbol", "column"]]) | (np.diff(found["number"]) != 1)
        starts = np.append(0, np.flatnonzero(breaks) + 1)
        ends = np.append(starts[1:], len(found)) - 1
        return [
            Interval(
                bytes(found["symbol"][start]).decode("utf-8", "replace"),
                int(found["number"][start]),
                int(found["number"][end]),
                int(end - start + 1),
                COLUMNS[found["column"][start]],
            )
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ]

    def explains(self, symbol: str, first: int, last: int) -> bool:
        """True if a stretch of numbers holds a trade that is known to be altered."""
        numbers = self.altered["number"][self.altered["symbol"] == symbol.encode()]
        return bool(((numbers >= first) & (numbers <= last)).any())


class _Suspects(NamedTuple):
    """Rows whose own place in Kafka holds another record, or none: records, where `there`."""

    rows: PlacedTrades
    records: np.ndarray
    there: np.ndarray


class Examination:
    """Compares rows of other programs, those of one topic."""

    def __init__(self, sources: TradeSources, every: Sequence[AcknowledgedLog], now_us: int) -> None:
        self._sources, self._topic, self._now_us = sources, sources.topic, now_us
        self._sent = {
            key: np.unique(np.concatenate([log.sessions["session"] for log in every if key == _key(log)]))
            for key in {_key(log) for log in every}
        }
        self._ours = self._sessions_of(self._topic)
        self._references: References | None = None
        self._suspects: list[_Suspects] = []
        self.found = OtherPrograms()

    def _sessions_of(self, topic: str) -> np.ndarray:
        parts = [sessions for (of, _), sessions in self._sent.items() if of == topic]
        return np.unique(np.concatenate([np.zeros(0, np.uint64), *parts]))

    def run(self) -> OtherPrograms:
        """Compare all rows, then search Kafka for those that are not at their place."""
        for batch in self._sources.rows_of_others():
            self._take(batch)
        if self._suspects:
            self._resolve()
        return self.found

    def _take(self, batch: pa.RecordBatch) -> None:
        trades = trades_of(batch)
        session, _ = sessions_and_numbers(trades)
        topic, epoch = (_texts_of(batch[name]) for name in ("kafka_topic", "kafka_epoch"))
        ours = np.isin(session, self._ours)
        here = topic == self._topic
        for other in np.unique(topic[ours & ~here]).tolist():
            strays = ours & (topic == other) & ~np.isin(session, self._sessions_of(other))
            self.found.note(trades[strays], "kafka_topic")
        # A session of another topic's loads is that topic's to judge.
        here &= ours | ~np.isin(session, np.concatenate(list(self._sent.values())))
        wrong_epoch = np.zeros(len(trades), np.bool_)
        for name in np.unique(epoch[here]).tolist():
            sent = self._sent.get((self._topic, name), np.zeros(0, np.uint64))
            wrong_epoch |= here & ours & (epoch == name) & ~np.isin(session, sent)
        self.found.note(trades[wrong_epoch], "kafka_epoch")
        self.found.rows += int((here & ours).sum())
        now = here & ~wrong_epoch & (epoch == self._sources.epoch)
        self.found.leave_open((*TRADE_COLUMNS, *PLACE), int((here & ours & ~now & ~wrong_epoch).sum()))
        self._compare(_records_of(batch, trades).take(np.flatnonzero(now)))
        self.found.note(trades[here & ours & ~_is_a_past_time(batch["committed_at"], self._now_us)], "committed_at")
        self._check_enrichment(batch.filter(pa.array(here & ours)), trades[here & ours])

    def _compare(self, rows: PlacedTrades) -> None:
        """Rows of the running epoch with the records at their places."""
        low, high = self._watermarks_of(rows.partition)
        gone = (rows.offset >= 0) & (rows.offset < low)
        possible = ~gone & (rows.offset >= 0) & (rows.offset < high) & (rows.index >= 0) & (rows.index < 1 << 16)
        records, there = self._at_places(rows, possible)
        if self._sources.unread:
            gone |= possible & ~there
        self.found.leave_open((*TRADE_COLUMNS, *PLACE), int(self._is_ours(rows.trades[gone]).sum()))
        same = there & (records["message_id"] == rows.trades["message_id"])
        for column, differs in altered_columns(rows.trades, records):
            altered = records.take(np.flatnonzero(same & differs))
            self.found.note(altered[self._is_ours(altered)], column)
        suspect = ~same & ~gone & (self._is_ours(rows.trades) | (there & self._is_ours(records)))
        if suspect.any():
            at = np.flatnonzero(suspect)
            self._suspects.append(_Suspects(rows.take(at), records[at], there[at]))

    def _watermarks_of(self, partition: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int64[n] each: low and high of each row's partition; 0 for one that the topic has not."""
        names, code = np.unique(partition, return_inverse=True)
        marks = np.array([self._sources.marks.get(name, (0, 0)) for name in names.tolist()], np.int64).reshape(-1, 2)
        return marks[code, 0], marks[code, 1]

    def _at_places(self, rows: PlacedTrades, possible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The trades that Kafka holds at the places of rows, and bool[n], where it holds one."""
        records, there = np.zeros(len(rows.trades), rows.trades.dtype), np.zeros(len(rows.trades), np.bool_)
        place, ranges = identity_numbers(rows.offset, rows.index), {}
        for partition in np.unique(rows.partition[possible]).tolist():
            offsets = rows.offset[possible & (rows.partition == partition)]
            ranges[partition] = (int(offsets.min()), int(offsets.max()) + 1)
        for read in self._sources.records(self._topic, ranges):
            for partition in np.unique(read.partition).tolist():
                theirs = read.take(np.flatnonzero(read.partition == partition))
                places = identity_numbers(theirs.offset, theirs.index)
                mine = np.flatnonzero(possible & (rows.partition == partition))
                at = np.minimum(np.searchsorted(places, place[mine]), len(places) - 1)
                met = places[at] == place[mine]
                records[mine[met]], there[mine[met]] = theirs.trades[at[met]], True
        return records, there

    def _is_ours(self, trades: np.ndarray) -> np.ndarray:
        return np.isin(sessions_and_numbers(trades)[0], self._ours)

    def _resolve(self) -> None:
        """For each suspect, the record that it differs from in the fewest columns, and these columns."""
        every = [item for suspects in self._suspects for item in _one_by_one(suspects)]
        named, rest = every[:RESOLVED], every[RESOLVED:]
        records = self._records_with_ids({_id(row) for row, _ in named})
        for row, at_place in named:
            choices = [*records.get(_id(row), []), *([at_place] if at_place is not None else [])]
            if choices:
                chosen = min(choices, key=lambda record: len(_differences(row, record)))
                for column in _differences(row, chosen):
                    self.found.note(chosen.trades, column)
            else:
                self.found.note(row.trades, "message_id")
        for row, at_place in rest:
            self.found.note(row.trades if at_place is None else at_place.trades, "message_id")

    def _records_with_ids(self, wanted: set[bytes]) -> dict[bytes, list[PlacedTrades]]:
        """PlacedTrades of all of the topic, by the ids that are searched for."""
        found: dict[bytes, list[PlacedTrades]] = {}
        numbers = np.array([int.from_bytes(name[8:], "big") for name in wanted], np.uint64)
        for read in self._sources.records(self._topic, self._sources.marks):
            for at in np.flatnonzero(np.isin(sessions_and_numbers(read.trades)[1], numbers)).tolist():
                record = read.take(np.array([at]))
                if _id(record) in wanted:
                    found.setdefault(_id(record), []).append(record)
        return found

    def _check_enrichment(self, batch: pa.RecordBatch, trades: np.ndarray) -> None:
        if not len(batch):
            return
        if self._references is None:
            self._references = References(self._sources.reference_entries())
        altered, open_rows = self._references.check(batch, trades)
        for column, mask in altered.items():
            self.found.note(trades[mask], column)
        self.found.leave_open(ENRICHED, open_rows)


def _key(log: AcknowledgedLog) -> tuple[str, str]:
    return log.run.topic, log.run.epoch


def _texts_of(column: pa.DictionaryArray) -> np.ndarray:
    """object[n]: the texts of a column that is dictionary-encoded; as few objects as there are distinct texts."""
    names = np.array(column.dictionary.to_pylist(), object)
    return np.asarray(names[column.indices.to_numpy(zero_copy_only=False)])


def _records_of(batch: pa.RecordBatch, trades: np.ndarray) -> PlacedTrades:
    partition, offset, index = (batch[name].to_numpy(zero_copy_only=False).astype(np.int64) for name in PLACE)
    return PlacedTrades(trades, partition, offset, index)


def _one_by_one(suspects: _Suspects) -> Iterator[tuple[PlacedTrades, PlacedTrades | None]]:
    for at in range(len(suspects.there)):
        row = suspects.rows.take(np.array([at]))
        at_place = PlacedTrades(suspects.records[at : at + 1], row.partition, row.offset, row.index)
        yield row, at_place if suspects.there[at] else None


def _id(record: PlacedTrades) -> bytes:
    return bytes(record.trades["message_id"][0])


def _differences(row: PlacedTrades, record: PlacedTrades) -> list[str]:
    differing = [name for name, differs in altered_columns(row.trades, record.trades) if differs[0]]
    places: tuple[tuple[str, Any, Any], ...] = (
        ("kafka_partition", row.partition, record.partition),
        ("kafka_offset", row.offset, record.offset),
        ("kafka_index", row.index, record.index),
    )
    return differing + [name for name, mine, theirs in places if mine[0] != theirs[0]]


def altered_columns(rows: np.ndarray, records: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Of each column of trades bool[n], in which rows it is not what was sent (both of dtype `TRADE.message`).

    A mark that says no more than the record does, as a consumer sets it, is no difference.
    """
    stored, sent = without_marks(rows), without_marks(records)
    for name in TRADE_COLUMNS:
        yield name, _values(stored, name) != _values(sent, name)


def _values(trades: np.ndarray, column: str) -> np.ndarray:
    """A column of the table, of trades."""
    time = column.removesuffix("_nanos")
    if time not in TIMES:
        return np.asarray(trades[column])
    nanoseconds = trades[TIMES[time]]
    return np.asarray(nanoseconds // 1000 if time == column else nanoseconds % 1000)


def _is_a_past_time(column: pa.Array, now_us: int) -> np.ndarray:
    """bool[n]: there is one, and it is not ahead of the clock by more than clocks may differ."""
    past = pc.less_equal(column.cast(pa.int64()), now_us + FUTURE_TOLERANCE_US)
    return np.asarray(pc.fill_null(past, False).to_numpy(zero_copy_only=False))


def _words(column: np.ndarray) -> np.ndarray:
    """Decimals as texts of 16 bytes, which numpy can look up."""
    return np.ascontiguousarray(column).view("S16")
