"""The SQL of bars, and the arithmetic that SQL cannot do exactly; `k2ctl.query.history` runs it.

Turnover is a sum of products of two decimals. Where it has at most 14 digits before the point, DuckDB counts it exactly
in decimals of 38 digits, and refuses when it has more; then the same is counted in three parts, of halves of the
numbers, which hold whatever the table can. vwap is their quotient, rounded once, to the digits that a price has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.domain.days import DAY_US, UTC_DAYS, BarLength, DayRule
from k2ctl.domain.decimals import DECIMAL_SCALE, DECIMAL_TYPE
from k2ctl.lake.columns import literal
from k2ctl.profiles.conditions import ConditionTable, load_conditions


@dataclass(frozen=True)
class BarRules:
    """What is a bar, and which prints count for it."""

    length: BarLength
    days: DayRule = UTC_DAYS
    # None: every print counts for everything.
    conditions: ConditionTable | None = None
    # Topics whose feeds name another table than that.
    of_topics: Mapping[str, ConditionTable] = field(default_factory=dict)
    # The exchange that `conditions` is for, and the tables of others, those of equities; without these it is for all.
    exchange: str = ""
    of_exchanges: Mapping[str, ConditionTable] = field(default_factory=dict)

    def among(self, others: Sequence[str]) -> "BarRules":
        """The rules for trades of its exchange and of some others. Of one that has no table every print counts."""
        every = load_conditions("all")
        return replace(self, of_exchanges={exchange: self.of_exchanges.get(exchange, every) for exchange in others})

    @property
    def by_days(self) -> bool:
        """Whether bars follow days that have not always 24 hours from midnight UTC, or weeks, or months."""
        return not self.length.fixed_us or not self.days.is_utc

    @property
    def short(self) -> bool:
        """Whether every trade is less than 39 hours behind the start of its bar; before a session opens it is not."""
        if self.length.us or not self.by_days:
            return self.length.fixed_us <= DAY_US
        return self.length.days == 1 and not self.days.session

    def pieces(self, first_us: int, last_us: int) -> pa.Table:
        """The days, or bars of several days, around the times of some trades, cut where a day begins in UTC.

        A trade belongs to the piece of its `utc_day` that it is in [since_us, until_us) of; joined by a number that is
        equal, this takes a third of the time of a join by the edges alone.
        """
        whole = BarLength(days=1) if self.length.us else self.length
        days = whole.bars(self.days, first_us, last_us)
        midnights = np.arange(days.begin_us[0] // DAY_US + 1, last_us // DAY_US + 2) * DAY_US
        since = np.union1d(days.begin_us, midnights)
        place = days.places(since)
        return pa.table(
            {
                "utc_day": since // DAY_US,
                "since_us": since,
                "until_us": np.append(since[1:], np.iinfo(np.int64).max),
                "starts": days.start_us[place],
                "day": pa.array(days.number[place].astype(np.int32)).cast(pa.date32()),
            }
        )


PIECES: Final = "bar_pieces"
"""The name under which `BarRules.pieces` is registered for a query."""

_BEFORE: Final = 70_000_000_000_000_000
"""µs: longer before 1970 than any time is that the table can hold."""

_BARS: Final = """
    SELECT symbol, make_timestamptz(bar_us) AS bar_start, {day}
        {open} AS open, max(price){high_low} AS high, min(price){high_low} AS low, {close} AS close,
        coalesce(sum(quantity){volume}, 0) AS volume, {turnover}, count(*) AS trades
    FROM (SELECT *, {place} AS place FROM ({timed})) GROUP BY ALL ORDER BY bar_start, symbol
"""
"""Trades of the same nanosecond count in the order of their arrival."""

_IN_A_SHORT_BAR: Final = (
    "((((epoch_us(timestamp) - bar_us) * 1000 + timestamp_nanos) << 16) | kafka_partition)::HUGEINT"
    " * 9223372036854775808 + ((kafka_offset << 16) | kafka_index)"
)
"""The order of a bar's trades as one number, in half the time of several columns: 47 bits hold 39 hours."""
_IN_ANY_BAR: Final = "(timestamp, timestamp_nanos, kafka_partition, kafka_offset, kafka_index)"

_EXACT: Final = "sum(price * quantity){volume} AS turnover"
_HALF: Final = 10**14
_IN_PARTS: Final = (
    "sum(p1 * q1){volume}::VARCHAR AS turnover2, sum(p1 * q0 + p0 * q1){volume}::VARCHAR AS turnover1,"
    " sum(p0 * q0){volume}::VARCHAR AS turnover0"
)
_PARTS: Final = f"""
    SELECT *, p // {_HALF} AS p1, p % {_HALF} AS p0, q // {_HALF} AS q1, q % {_HALF} AS q0 FROM (
        SELECT *, replace(price::VARCHAR, '.', '')::HUGEINT AS p, replace(quantity::VARCHAR, '.', '')::HUGEINT AS q
        FROM ({{source}})
    )
"""  # noqa: S608

TOO_WIDE: Final = "Overflow"
"""What DuckDB says where a number has more than 38 digits."""


def bars_sql(source: str, rules: BarRules, *, in_parts: bool) -> str:
    """The bars of the trades of `source`. in_parts: count turnover in parts.

    Where bars follow days, `PIECES` has to be registered.
    """
    flags, filters = _counting(rules)
    timed = _timed(_PARTS.format(source=source) if in_parts else source, rules)
    turnover = (_IN_PARTS if in_parts else _EXACT).format(volume=filters["volume"])
    return _BARS.format(
        day="day," if rules.by_days and not rules.length.us else "",
        open=_first("arg_min", "arg_min", filters),
        close=_first("arg_max", "arg_min", filters),
        high_low=filters["high_low"],
        volume=filters["volume"],
        turnover=turnover,
        place=_IN_A_SHORT_BAR if rules.short else _IN_ANY_BAR,
        timed=f"SELECT *{flags} FROM ({timed})",  # noqa: S608
    )


def _timed(source: str, rules: BarRules) -> str:
    """The trades with the start of their bar."""
    if not rules.by_days:
        length_us = rules.length.fixed_us
        return f"SELECT *, {_multiple('epoch_us(timestamp)', length_us)} AS bar_us FROM ({source})"  # noqa: S608
    start = "starts"
    if rules.length.us:  # parts of a day, from its start on
        start = f"starts + {_multiple('epoch_us(timestamp) - starts', rules.length.us)}"
    us = "epoch_us(t.timestamp)"
    piece = f"p.utc_day = {_multiple(us, DAY_US)} // {DAY_US} AND {us} >= p.since_us AND {us} < p.until_us"
    return f"SELECT t.*, {start} AS bar_us, day FROM ({source}) t JOIN {PIECES} p ON {piece}"  # noqa: S608


def _multiple(micros: str, length_us: int) -> str:
    """The multiple of a length at or before a time; DuckDB would round those below zero up."""
    below = -(-_BEFORE // length_us) * length_us
    return f"(({micros} + {below}) // {length_us} * {length_us} - {below})"


def _counting(rules: BarRules) -> tuple[str, dict[str, str]]:
    """Columns that say for what a print counts, and the filters of aggregates that obey them."""
    filters = dict.fromkeys(("high_low", "last", "only", "volume"), "")
    if rules.conditions is None:
        return "", filters
    tables, flags = [rules.conditions, *rules.of_topics.values(), *rules.of_exchanges.values()], []
    for name in filters:
        if any(table.without("only") if name == "only" else _against(name, table) for table in tables):
            flags.append(f", {_flag(name, rules.conditions, rules)} AS for_{name}")
            filters[name] = f" FILTER (for_{name})"
    return "".join(flags), filters


def _against(name: str, table: ConditionTable) -> list[str]:
    """The codes with which a print does not count for something."""
    if name == "high_low":
        return table.without("high_low")
    if name == "volume":
        return table.without("volume")
    return [*table.without("last"), *(table.without("only") if name == "last" else [])]


def _flag(name: str, table: ConditionTable, rules: BarRules) -> str:
    """Whether a print counts, by the table of its topic, or of its exchange."""
    otherwise = _by_exchange(name, table, rules)
    cases = [
        f"WHEN {literal(topic)} THEN {_none_of(_against(name, one), one)}"
        for topic, one in sorted(rules.of_topics.items())
    ]
    return f"CASE kafka_topic {' '.join(cases)} ELSE {otherwise} END" if cases else otherwise


def _by_exchange(name: str, table: ConditionTable, rules: BarRules) -> str:
    own = _none_of(_against(name, table), table)
    if not rules.of_exchanges:
        return own
    cases = [f"WHEN exchange = {literal(rules.exchange)} THEN {own}", "WHEN asset_class <> 'equities' THEN true"]
    for other in dict.fromkeys(one.name for one in rules.of_exchanges.values()):
        named = {exchange: one for exchange, one in rules.of_exchanges.items() if one.name == other}
        one = next(iter(named.values()))
        cases.append(f"WHEN exchange IN ({', '.join(map(literal, named))}) THEN {_none_of(_against(name, one), one)}")
    return f"CASE {' '.join(cases)} ELSE true END"


def _none_of(codes: list[str], table: ConditionTable) -> str:
    listed = f"[{', '.join(literal(code) for code in codes)}]::VARCHAR[]"
    texts = "trade_conditions"
    if table.codes == "characters":
        texts = f"string_split(array_to_string({texts}, ''), '')"
    return f"(len(trade_conditions) = 0 OR NOT list_has_any({texts}, {listed}))"


def _first(of_all: str, of_only: str, filters: dict[str, str]) -> str:
    """The price of the first or last print that counts; where none does, of the first that counts alone."""
    price = f"{of_all}(price, place){filters['last']}"
    if not filters["only"]:
        return price
    return f"coalesce({price}, {of_only}(price, place){filters['only']})"


_DIVISION: Final = Context(prec=80)
_STEP: Final = Decimal(1).scaleb(-DECIMAL_SCALE)


def with_vwap(bars: pa.Table) -> pa.Table:
    """Bars with vwap in the place of turnover."""
    at = bars.schema.names.index("volume") + 1
    vwap = [_quotient(*pair) for pair in zip(_turnover(bars), bars["volume"].to_pylist(), strict=True)]
    kept = bars.drop_columns([name for name in bars.schema.names if name.startswith("turnover")])
    return kept.add_column(at, "vwap", pa.array(vwap, DECIMAL_TYPE))


def _turnover(bars: pa.Table) -> list[Decimal | None]:
    if "turnover" in bars.schema.names:
        found: list[Decimal | None] = bars["turnover"].to_pylist()
        return found
    parts = zip(*(bars[f"turnover{at}"].to_pylist() for at in (2, 1, 0)), strict=True)
    return [None if high is None else _joined(int(high), int(middle), int(low)) for high, middle, low in parts]


def _joined(high: int, middle: int, low: int) -> Decimal:
    return Decimal((high * _HALF + middle) * _HALF + low).scaleb(-2 * DECIMAL_SCALE, _DIVISION)


def _quotient(turnover: Decimal | None, volume: Decimal) -> Decimal | None:
    if turnover is None or not volume:
        return None
    return _DIVISION.divide(turnover, volume).quantize(_STEP, context=_DIVISION)
