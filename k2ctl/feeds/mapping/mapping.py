"""Foreign columns to trades: the feed's SELECT over a batch, and its rows as trades."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from k2ctl.domain.trade import NEW, NO_SEQUENCE, TRADE, RefusedTrade, joined_trades
from k2ctl.feeds.mapping.bound import Select, bind, connect
from k2ctl.feeds.mapping.by_name import TEXTS, ByName
from k2ctl.feeds.mapping.fields import Made, Selected, decimals, instants, shown, texts, uuids, wholes
from k2ctl.feeds.mapping.identity import identify, refer
from k2ctl.profiles.feed import DeclaredFeed

RECORDS: Final = "records"
"""The name that the query has for what a source hands over."""


@dataclass(frozen=True)
class Prepared:
    """What a source hands over for a batch.

    table: Arrow columns, one of them `_record` (int64): the position of a row's record in the batch.
    sql: what stands in FROM: over `records`, one row per trade, in order, with `_record`, `_index` (int32, the position
    in the record), `_bad` (true: the record is none, whatever else the row has), the source's columns, and where
    nothing identifies a trade of a file `_alike`, how many rows before it are the same in all columns.
    """

    table: pa.Table
    sql: str = RECORDS


@dataclass(frozen=True)
class Parts:
    """A batch of records as its source hands it over.

    prepared: its rows; in several parts where records have columns of their own, as those of other schemas.
    broken: (record, reason) of records that are none as a whole.
    refused: trades that are none, of records that have others; they are not among the rows.
    filtered: int64[m]: records that hold something else than trades.
    """

    prepared: Sequence[Prepared]
    broken: Sequence[tuple[int, str]] = ()
    refused: Sequence[RefusedTrade] = ()
    filtered: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class Mapped:
    """What the rows of a source are.

    trades: structured array of n trades (dtype `TRADE.message`), in order of the rows.
    record, index: int64[n] and int32[n]: which record each came from, and its position there.
    refused: rows of which a field cannot be made.
    bad: int64[k]: records that are none.
    filtered: int64[m]: the record of each row that `where` leaves out.
    """

    trades: np.ndarray
    record: np.ndarray
    index: np.ndarray
    refused: list[RefusedTrade] = field(default_factory=list)
    bad: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    filtered: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def in_order(parts: Sequence[Mapped]) -> Mapped:
    """What the rows of several parts are, in order of the records."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Mapped(TRADE.empty(0), np.zeros(0, np.int64), np.zeros(0, np.int32))
    record, index = (np.concatenate([getattr(part, name) for part in parts]) for name in ("record", "index"))
    trades = joined_trades([part.trades for part in parts])
    if (np.diff(record) < 0).any():
        order = np.lexsort((index, record))
        # `take` copies a trade in one piece, where indexing copies it field by field.
        trades, record, index = trades.take(order), record[order], index[order]
    return Mapped(
        trades,
        record,
        index,
        sorted((one for part in parts for one in part.refused), key=lambda one: (one.record, one.index)),
        np.concatenate([part.bad for part in parts]),
        np.concatenate([part.filtered for part in parts]),
    )


class Mapping:
    """A feed at work, in one thread at a time."""

    def __init__(self, declared: DeclaredFeed) -> None:
        self.declared = declared
        self.feed = declared.feed
        self._lock = threading.Lock()
        self._selects: dict[tuple[pa.Schema, str], Select] = {}
        self._named: dict[pa.Schema, ByName | None] = {}

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        return connect(self.feed.source)

    def check(self, prepared: Prepared) -> None:
        """Look for mistakes; the rows do not matter.

        Raises:
            ProfileError: an expression does not fit the source's columns.
        """
        if self._by_name(prepared) is None:
            self.bind(prepared)

    def bind(self, prepared: Prepared) -> Select:
        """The query over what a source hands over; the rows do not matter.

        Raises:
            ProfileError: an expression does not fit the source's columns.
        """
        known = (prepared.table.schema, prepared.sql)
        self._connection.register(RECORDS, prepared.table)
        if known not in self._selects:
            select, name = bind(self._connection, self.declared, prepared.sql), f"batch_{len(self._selects)}"
            # To read and plan so long a query takes longer than to run it over a few records.
            self._connection.execute(f"PREPARE {name} AS {select.sql}")
            self._selects[known] = replace(select, sql=f"EXECUTE {name}")
        return self._selects[known]

    def trades(self, prepared: Prepared) -> Mapped:
        """The trades of a batch; never raises for what a record may hold.

        Raises:
            ProfileError: an expression does not fit the source's columns.
        """
        with self._lock:
            return self._trades(prepared)

    def _by_name(self, prepared: Prepared) -> ByName | None:
        """What reads the columns of a source where a feed only names them; None if DuckDB has to."""
        schema = prepared.table.schema
        if prepared.sql != RECORDS:
            return None
        if schema not in self._named:
            self._named[schema] = ByName.of(self.feed, schema)
        return self._named[schema]

    def _trades(self, prepared: Prepared) -> Mapped:
        by_name = self._by_name(prepared)
        if by_name is None:
            return self._selected(prepared)
        table, known = by_name.read(prepared.table)
        if not known.all():
            left = replace(prepared, table=prepared.table.filter(pa.array(~known)))
            if not known.any():
                return self._selected(left)
            prepared = replace(prepared, table=prepared.table.filter(pa.array(known)))
            plain = self._mapped(Select("", by_name.bound), prepared, Selected(table.filter(pa.array(known))))
            return in_order([plain, self._selected(left)])
        return self._mapped(Select("", by_name.bound), prepared, Selected(table))

    def _selected(self, prepared: Prepared) -> Mapped:
        """By the feed's SELECT, whatever it is."""
        select = self.bind(prepared)
        return self._mapped(select, prepared, Selected(self._connection.sql(select.sql).to_arrow_table()))

    def _mapped(self, select: Select, prepared: Prepared, result: Selected) -> Mapped:
        """The trades of what the SELECT gave."""
        made = self._made(select, result)
        record, index = result.integers("_record"), result.integers("_index").astype(np.int32)
        bad = result.mask("_bad")
        kept = result.mask("_kept") if "_kept" in result else np.ones(len(result), np.bool_)
        refused = np.flatnonzero(kept & ~bad & ~made.good)
        good = kept & ~bad & made.good
        trades = made.trades
        if not good.all():
            trades, record_, index_ = trades.take(np.flatnonzero(good)), record[good], index[good]
        else:
            record_, index_ = record, index
        reasons = self._with_values(select, prepared, made, refused, record, index)
        return Mapped(trades, record_, index_, reasons, np.unique(record[bad]), record[~bad & ~kept])

    def _made(self, select: Select, result: Selected) -> Made:
        count, bound = len(result), select.bound
        trades = TRADE.empty(count)
        made = Made(trades, np.ones(count, np.bool_))
        trades["source_sequence"] = NO_SEQUENCE
        for name in TEXTS:
            one = bound.get(name)
            if one is None:
                continue
            column = pa.array([one.constant], pa.string()) if name not in result else result.column(name)
            if name in result:
                texts(name, column, made)
            else:
                self._constant(name, column, made)
        for name in ("price", "quantity"):
            decimals(name, result, made)
        wholes("trade_id", result, made, optional=False)
        if "source_sequence" in bound:
            absent = wholes("source_sequence", result, made, optional=True)
            trades["source_sequence"][absent] = NO_SEQUENCE
        instants("timestamp", "event_ns", result, made)
        if "ingestion_timestamp" in bound:
            instants("ingestion_timestamp", "received_ns", result, made)
        if "message_id" in bound:
            uuids(result, made)
        else:
            identify(result, made)
        if self.feed.refers_to or (trades["action"] != NEW).any():
            refer(result, made)
        return made

    def _constant(self, name: str, column: pa.Array, made: Made) -> None:
        """A field that is the same in every trade."""
        one = Made(TRADE.empty(1), np.ones(1, np.bool_))
        texts(name, column, one)
        made.trades[name] = one.trades[name][0]
        if one.reasons:
            raise self.declared.mistake(("trade", name), one.reasons[0])

    def _with_values(
        self,
        select: Select,
        prepared: Prepared,
        made: Made,
        refused: np.ndarray,
        record: np.ndarray,
        index: np.ndarray,
    ) -> list[RefusedTrade]:
        """The refused rows, each reason with the columns that the field is made of where they are not the field."""
        if not len(refused):
            return []
        reasons = {int(at): made.reasons[int(at)] for at in refused}
        fields = {reason.partition(" ")[0] for reason in reasons.values()}
        made_of = {name: _columns_of(select, name) for name in fields}
        wanted = sorted({column for several in made_of.values() for column in several})
        values = self._columns(prepared, np.unique(record[refused]), wanted) if wanted else {}
        found = []
        for at, reason in reasons.items():
            place = (int(record[at]), int(index[at]))
            columns = made_of[reason.partition(" ")[0]] if place in values else ()
            of = [f"{column} = {shown(values[place][column])}" for column in columns]
            found.append(RefusedTrade(*place, f"{reason} ({', '.join(of)})" if of else reason))
        return found

    def _columns(
        self, prepared: Prepared, records: np.ndarray, names: Sequence[str]
    ) -> dict[tuple[int, int], dict[str, Any]]:
        """The values of some columns in the rows of some records."""
        mask = np.isin(prepared.table["_record"].to_numpy(), records)
        self._connection.register(RECORDS, prepared.table.filter(pa.array(mask)))
        chosen = ", ".join(f'CAST("{name}" AS VARCHAR) AS "{name}"' for name in names)
        rows = self._connection.sql(f"SELECT _record, _index, {chosen} FROM {prepared.sql}").fetchall()  # noqa: S608
        return {(row[0], row[1]): dict(zip(names, row[2:], strict=True)) for row in rows}


def _columns_of(select: Select, name: str) -> tuple[str, ...]:
    """The columns that a field is made of, but one that it is."""
    parts = [one for key, one in select.bound.items() if key == name or key.startswith(f"{name}_")]
    return tuple(dict.fromkeys(column for one in parts if not one.is_column for column in one.columns))
