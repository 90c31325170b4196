"""The lake's side of the seam: DuckDB over the data files that Iceberg planned."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.domain.corrections import CHANGES_SCHEMA, EVENT_COLUMNS, EVENTS_SCHEMA, NO_EVENTS
from k2ctl.domain.rows import arrow_schema, as_declared
from k2ctl.domain.trade import WHOLE_HISTORY, Window
from k2ctl.errors import LakeError, TooLong
from k2ctl.lake.addresses import local_path
from k2ctl.lake.catalog import Lake
from k2ctl.lake.columns import literal
from k2ctl.lake.duckdb_files import ASK_AGAIN, another, open_duckdb, refuse_damage, unreadable
from k2ctl.lake.snapshots import ScanPlan
from k2ctl.query.bars import PIECES, TOO_WIDE, BarRules, bars_sql, with_vwap
from k2ctl.query.corrected import KEY, NEW_PRINTS, NEW_TRADES, NO_EVENT, as_corrected
from k2ctl.query.page import Page

NEWEST_FIRST = "timestamp DESC, timestamp_nanos DESC, kafka_partition, kafka_offset DESC, kafka_index DESC, kafka_topic"
"""The order of answers. Rows of one symbol share a partition, so ties in time fall back on the order of arrival."""


@dataclass(frozen=True)
class Asked:
    """Which rows of the lake are asked for."""

    # None: all.
    symbols: Sequence[str] | None = None
    window: Window = WHOLE_HISTORY
    # Only what was committed by then; None: everything.
    known_at_us: int | None = None


class FilesGone(LakeError):
    """A planned data file is no longer there: the snapshot was pinned too long ago."""


class History:
    """A DuckDB connection for reading a lake's data files. Not thread-safe.

    beside: one of the same lake, to share its threads and its cache of files.
    """

    def __init__(self, lake: Lake, beside: "History | None" = None) -> None:
        self._connection: duckdb.DuckDBPyConnection = (
            open_duckdb(lake) if beside is None else another(beside._connection)
        )
        self._connection.execute("SET arrow_lossless_conversion = true")  # uuid stays 16 bytes
        self._connection.execute("SET parquet_metadata_cache = true")  # data files never change

    def close(self) -> None:
        self._connection.close()

    def interrupt(self) -> None:
        """End the scan under way, from another thread."""
        self._connection.interrupt()

    def newest(
        self,
        plan: ScanPlan,
        asked: Asked,
        limit: int | None,
        page: Page | None = None,
    ) -> pa.Table:
        """The newest `limit` rows (None: all) that were printed, newest first, as `arrow_schema()` says."""
        if not plan.paths:
            return arrow_schema().empty_table()
        source, parameters = _stored(plan, asked, page)
        query = f"{source} ORDER BY {NEWEST_FIRST}"
        if limit is not None:
            query += f" LIMIT {int(limit)}"
        return as_declared(self._read(query, parameters))

    def newest_corrected(
        self, plan: ScanPlan, asked: Asked, limit: int | None, page: Page | None, fresh: pa.Table, changes: pa.Table
    ) -> tuple[pa.Table, np.ndarray]:
        """The newest trades of both sides as corrected, newest first, and bool[n], which of them the stream gave.

        fresh: rows of the stream that are not in the lake.
        """
        source, parameters = "SELECT *, true AS from_tail FROM tail", dict[str, Any]()
        if plan.paths:
            stored, parameters = _stored(plan, asked, page)
            source += f" UNION ALL SELECT *, false AS from_tail FROM ({stored})"  # noqa: S608
        query = f"{as_corrected(source)} ORDER BY {NEWEST_FIRST}"
        if limit is not None:
            query += f" LIMIT {int(limit)}"
        with self._registered(tail=fresh, changes=changes):
            found = self._read(query, parameters)
        from_tail = found["from_tail"].to_numpy().astype(np.bool_)
        return as_declared(found.drop_columns("from_tail")), from_tail

    def events(self, plan: ScanPlan, asked: Asked, page: Page | None = None) -> pa.Table:
        """The corrections and cancellations of the files, whatever their time, as `EVENTS_SCHEMA`."""
        if not plan.paths:
            return NO_EVENTS
        condition, parameters = _condition(replace(asked, window=WHOLE_HISTORY))
        if page is not None:
            of_page, more = page.seen()
            condition, parameters = f"{condition} AND {of_page}", {**parameters, **more}
        names = ", ".join(EVENT_COLUMNS)
        query = f"SELECT {names} FROM {_rows(plan)} WHERE refers_to IS NOT NULL AND {condition}"  # noqa: S608
        return self._read(query, {"files": plan.paths, **parameters}).cast(EVENTS_SCHEMA)

    def alike(self, plan: ScanPlan, asked: Asked, cancellations: pa.Table) -> pa.Table:
        """The trades of the files that have symbol, exchange, price and quantity of one of some cancellations.

        cancellations: as `EVENTS_SCHEMA`.
        """
        if not plan.paths:
            return NO_EVENTS
        condition, parameters = _condition(replace(asked, window=WHOLE_HISTORY))
        names = ", ".join(EVENT_COLUMNS)
        query = (
            f"SELECT {names} FROM {_rows(plan)} f SEMI JOIN cancellations c ON f.symbol = c.symbol"  # noqa: S608
            " AND f.exchange = c.exchange AND f.price = c.price AND f.quantity = abs(c.quantity)"
            f" WHERE {NO_EVENT} AND {condition}"
        )
        with self._registered(cancellations=cancellations):
            return self._read(query, {"files": plan.paths, **parameters}).cast(EVENTS_SCHEMA)

    def without_trade(self, plan: ScanPlan, asked: Asked, tail: pa.Table, referred: pa.Table) -> pa.ChunkedArray:
        """The positions of the events in `referred` (`Resolved.referred`) whose trade neither side has."""
        key, parameters = "message_id, symbol, exchange", dict[str, Any]()
        source = f"SELECT {key} FROM tail WHERE {NO_EVENT}"  # noqa: S608
        if plan.paths:
            condition, parameters = _condition(asked)
            source += f" UNION ALL SELECT {key} FROM {_rows(plan)} WHERE {NO_EVENT} AND {condition}"  # noqa: S608
            parameters["files"] = plan.paths
        query = f"SELECT event FROM referred ANTI JOIN ({source}) USING ({key})"  # noqa: S608
        with self._registered(tail=tail, referred=referred):
            return self._read(query, parameters)["event"]

    def fresh(self, plan: ScanPlan, tail: pa.Table) -> pa.Table:
        """The rows of `tail` that are not in the lake, of copies one: the lowest in Kafka's order. Reprints are marked.

        A copy or reprint has the time of its trade, so only that time of the lake is searched.
        """
        whole = as_declared(tail)
        if not len(whole):
            return whole
        columns, parameters = ", ".join(arrow_schema().names), dict[str, Any]()
        unless, stored = "", "SELECT * FROM tail WHERE false"
        if plan.paths:
            times = whole.column("timestamp").cast(pa.int64())
            span = pc.min_max(times).as_py()
            parameters = {"files": plan.paths, "first": span["min"], "last": span["max"]}
            within = f"FROM {_rows(plan)} WHERE timestamp BETWEEN make_timestamptz($first) AND make_timestamptz($last)"
            unless, stored = f"ANTI JOIN (SELECT {KEY} {within}) USING ({KEY})", f"SELECT {columns} {within}"
        with self._registered(tail=whole):
            found = self._read(NEW_TRADES.format(columns=columns, unless=unless), parameters)
            if len(found) < len(whole):  # some are known already, so it is worth while to compare what was printed
                found = self._read(NEW_PRINTS.format(columns=columns, stored=stored), parameters)
        return as_declared(found)

    def bars(
        self, plan: ScanPlan, fresh: pa.Table, asked: Asked, rules: BarRules, changes: pa.Table | None
    ) -> pa.Table:
        """Open, high, low, close, volume, vwap and count per symbol and bar, oldest first.

        fresh: rows of the stream that are not in the lake. changes: what corrects the trades; None leaves all trades
        as they were first printed.
        """
        source, parameters = "SELECT * FROM tail", dict[str, Any]()
        if plan.paths:
            stored, parameters = _stored(plan, asked)
            source += f" UNION ALL {stored}"
        as_printed = source
        if changes is None:
            source = f"SELECT * FROM ({source}) WHERE {NO_EVENT}"  # noqa: S608
        elif len(changes):
            source = as_corrected(source)
        tables = {"tail": fresh, "changes": CHANGES_SCHEMA.empty_table() if changes is None else changes}
        with self._registered(**tables):
            if rules.of_exchanges:
                # Files of one exchange alone are passed over by their statistics.
                others = f"SELECT DISTINCT exchange FROM ({as_printed}) WHERE exchange <> {literal(rules.exchange)}"  # noqa: S608
                rules = rules.among(self._read(others, parameters)["exchange"].to_pylist())
            if not rules.by_days:
                return self._bars(source, parameters, rules)
            times = "SELECT epoch_us(min(timestamp)) AS first, epoch_us(max(timestamp)) AS last"
            first, last = (column[0].as_py() for column in self._read(f"{times} FROM ({source})", parameters).columns)
            with self._registered(**{PIECES: rules.pieces(first or 0, last or 0)}):
                return self._bars(source, parameters, rules)

    def _bars(self, source: str, parameters: dict[str, Any], rules: BarRules) -> pa.Table:
        try:
            found = self._read(bars_sql(source, rules, in_parts=False), parameters)
        except LakeError as error:
            if TOO_WIDE not in str(error):
                raise
            found = self._read(bars_sql(source, rules, in_parts=True), parameters)
        return with_vwap(found)

    @contextmanager
    def _registered(self, **tables: pa.Table) -> Iterator[None]:
        for name, table in tables.items():
            self._connection.register(name, table)
        try:
            yield
        finally:
            for name in tables:
                self._connection.unregister(name)

    def last_trade_us(self, plan: ScanPlan, symbol: str) -> int | None:
        """The newest timestamp of a symbol, or None if the files do not know it."""
        if not plan.paths:
            return None
        query = f"SELECT epoch_us(max(timestamp)) AS last FROM {_rows(plan)} WHERE symbol = $symbol"  # noqa: S608
        last: int | None = self._read(query, {"files": plan.paths, "symbol": symbol}).column("last")[0].as_py()
        return last

    def open_ahead(self, plan: ScanPlan, *, whole: bool) -> None:
        """Have DuckDB keep what it needs of the files: where columns are, or of a store with `whole` also all bytes."""
        if not plan.paths:
            return
        of_store = whole and any(local_path(path) is None for path in plan.paths)
        what = "max(hash(f))" if of_store else "count(symbol)"
        self._read(f"SELECT {what} FROM {_rows(plan)} f", {"files": plan.paths})  # noqa: S608

    def symbols(self, plan: ScanPlan) -> set[str]:
        """All symbols in the files."""
        if not plan.paths:
            return set()
        table = self._read(f"SELECT DISTINCT symbol FROM {_rows(plan)}", {"files": plan.paths})  # noqa: S608
        return set(table.column("symbol").to_pylist())

    def _read(self, query: str, parameters: dict[str, Any]) -> pa.Table:
        try:
            return self._connection.sql(query, params=parameters).to_arrow_table()
        except duckdb.InterruptException as error:
            raise TooLong from error
        except duckdb.Error as error:
            refuse_damage(error)
            reason = unreadable(error)
            if reason:
                raise FilesGone(f"A data file of the table cannot be read: {reason}", ASK_AGAIN) from error
            raise LakeError(
                f"The table's files cannot be scanned: {str(error).splitlines()[0]}",
                "Look at it with: k2ctl lake status",
            ) from error


def _rows(plan: ScanPlan) -> str:
    return plan.columns.source("$files")


def _stored(plan: ScanPlan, asked: Asked, page: Page | None = None) -> tuple[str, dict[str, Any]]:
    """The files' rows that are asked for, as SQL with named parameters."""
    condition, parameters = _condition(asked)
    if page is not None:
        of_page, more = page.condition()
        condition, parameters = f"{condition} AND {of_page}", {**parameters, **more}
    names = ", ".join(arrow_schema().names)
    source = f"SELECT {names} FROM {_rows(plan)} WHERE {condition}"  # noqa: S608
    return source, {"files": plan.paths, **parameters}


def _condition(asked: Asked) -> tuple[str, dict[str, Any]]:
    """The exact filter as SQL with named parameters."""
    conditions, parameters = ["true"], dict[str, Any]()
    if asked.symbols is not None:
        parameters |= {f"symbol{i}": symbol for i, symbol in enumerate(asked.symbols)}
        conditions.append(f"symbol IN ({', '.join(f'$symbol{i}' for i in range(len(asked.symbols)))})")
    for name, limit, at_us in (
        ("since_us", "timestamp >=", asked.window.since_us),
        ("until_us", "timestamp <", asked.window.until_us),
        ("known_at_us", "committed_at <=", asked.known_at_us),
    ):
        if at_us is not None:
            conditions.append(f"{limit} make_timestamptz(${name})")
            parameters[name] = at_us
    return " AND ".join(conditions), parameters
