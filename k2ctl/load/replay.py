"""Real trades from files: ASX course-of-sales CSV, exact to the last digit, in time order.

Columns, without a header: date (mm/dd/yyyy), time (Sydney local, milliseconds), price, volume, qualifiers, venue,
buyer id, which is not kept. `company_info.csv` in the same folder maps a file's number to its symbol; without it the
file's name is the symbol.

The files have neither ids nor numbers. A trade's id is a digest of what it is: venue, symbol, time, and every column of
its line. Lines that look the same are different trades, so the digest also has how many before it in its file do. A
file that was published again with lines that were missing so gives every trade the id that it had. Numbers in the order
of a file would change with such a line, so the trades have none: gaps in them cannot be found.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from k2ctl.domain.conditions import pack
from k2ctl.domain.copies import sessions_and_numbers
from k2ctl.domain.decimals import DECIMAL_TYPE, from_arrow
from k2ctl.domain.texts import codes_of
from k2ctl.domain.trade import ASSET_CLASSES, NO_SEQUENCE, SIDES, TRADE
from k2ctl.errors import UsageError
from k2ctl.load.market import Batch
from k2ctl.profiles.universe import Universe

COLUMNS: Final = ("date", "time", "price", "volume", "qualifiers", "venue", "buyer")
COMPANIES: Final = "company_info.csv"
VENUE_ZONE: Final = "Australia/Sydney"
SHOWN_BROKEN_LINES: Final = 10

_DATE: Final = r"^\d{2}/\d{2}/\d{4}$"
_TIME: Final = r"^\d{2}:\d{2}:\d{2}(\.\d{1,6})?$"
_PRICE: Final = r"^\d{1,15}(\.\d{1,12})?$"
_VOLUME: Final = r"^\d{1,15}$"


@dataclass(frozen=True)
class BrokenLine:
    """A line that is not a trade: where it is and why."""

    file: str
    line: int
    reason: str


@dataclass
class Replay:
    """Trades read from files, sorted by time."""

    # Structured array, dtype `TRADE.message`.
    trades: np.ndarray
    # The first broken lines of each file, of `broken_count`.
    broken: list[BrokenLine] = field(default_factory=list)
    broken_count: int = 0


def read_replay(path: Path, universe: Universe) -> Replay:
    """Read a file, or every numbered or named CSV file of a folder.

    Raises:
        UsageError: nothing is there, or nothing in it is a trade.
    """
    files = _files(path)
    symbols = _symbols(path if path.is_dir() else path.parent)
    parts = [_read_file(file, symbols.get(file.stem, file.stem.upper()), universe) for file in files]
    trades = np.concatenate([part.trades for part in parts])
    broken = [line for part in parts for line in part.broken]
    if not len(trades):
        first = f" The first line: {broken[0].reason}." if broken else ""
        raise UsageError(f"{path} holds no trades.{first}", "Expected: date,time,price,volume,qualifiers,venue,buyer")
    trades = trades[np.argsort(trades["event_ns"], kind="stable")]
    return Replay(trades, broken, sum(part.broken_count for part in parts))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"There is no file or folder {path}.", "Name a CSV file, or a folder of them, with --replay.")
    files = sorted(file for file in path.glob("*.csv") if file.name != COMPANIES)
    if not files:
        raise UsageError(f"There are no CSV files in {path}.", "Name a folder with one CSV file per symbol.")
    return files


def _symbols(folder: Path) -> dict[str, str]:
    companies = folder / COMPANIES
    if not companies.is_file():
        return {}
    try:
        table = csv.read_csv(companies, convert_options=csv.ConvertOptions(column_types={"company_id": pa.string()}))
        return dict(zip(table["company_id"].to_pylist(), table["symbol"].to_pylist(), strict=True))
    except (pa.ArrowInvalid, KeyError) as error:
        raise UsageError(f"{companies}: {error}", "Expected a header with company_id and symbol.") from error


def _read_file(path: Path, symbol: str, universe: Universe) -> Replay:
    """One file of one symbol."""
    content = path.read_bytes()
    table, misshapen = _parse(path, content)
    line_numbers = np.setdiff1d(np.arange(1, len(table) + len(misshapen) + 1), [line.line for line in misshapen])
    valid, reasons = _validate(table, symbol)
    broken = misshapen + [
        BrokenLine(path.name, int(line_numbers[at]), reasons[at]) for at in sorted(reasons)[:SHOWN_BROKEN_LINES]
    ]
    broken_count = len(misshapen) + len(reasons)
    good = table.filter(pa.array(valid))
    trades = _trades_of(good, symbol, universe)
    if len(trades):
        trades["message_id"] = _identities(good, trades)
    return Replay(trades, sorted(broken, key=lambda line: line.line)[:SHOWN_BROKEN_LINES], broken_count)


def _identities(table: pa.Table, trades: np.ndarray) -> np.ndarray:
    """V16[n], the ids of the trades that the lines of one file hold. Figures are taken by value: 1.5 is 1.50."""
    figures = [pa.array(trades["event_ns"]), *(table[name].cast(DECIMAL_TYPE) for name in ("price", "volume"))]
    columns = [pa.chunked_array([column]) if isinstance(column, pa.Array) else column for column in figures]
    texts = [column.cast(pa.string()) for column in columns] + [table[n] for n in ("qualifiers", "venue", "buyer")]
    looks = pc.binary_join_element_wise(*texts, "\n").combine_chunks()
    of_all = b"%s\n%s\n" % (bytes(trades["exchange"][0]), bytes(trades["symbol"][0]))
    before = _before(looks.dictionary_encode().indices.to_numpy())
    numbered = zip(looks.cast(pa.binary()).to_pylist(), before.tolist(), strict=True)
    return _digests([of_all + b"%s\n%d" % line for line in numbered])


def _before(codes: np.ndarray) -> np.ndarray:
    """int64[n]: how many equal codes stand before each."""
    order, counts = np.argsort(codes, kind="stable"), np.bincount(codes)
    before = np.empty(len(codes), np.int64)
    before[order] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return before


def _digests(contents: Iterable[bytes]) -> np.ndarray:
    """V16[n]: a digest of each as a UUID of version 8, RFC 9562, which is above all ids of session and number."""
    joined = b"".join(hashlib.blake2b(content, digest_size=16).digest() for content in contents)
    words = np.frombuffer(joined, ">u8").reshape(-1, 2).copy()
    words[:, 0] = words[:, 0] & np.uint64(0xFFFF_FFFF_FFFF_0FFF) | np.uint64(0x8000)
    words[:, 1] = words[:, 1] >> np.uint64(2) | np.uint64(1 << 63)
    return np.asarray(words.view("V16")[:, 0])


def _parse(path: Path, content: bytes) -> tuple[pa.Table, list[BrokenLine]]:
    """Seven columns of text, and the lines that have another number of them."""
    misshapen: list[BrokenLine] = []

    def on_invalid_row(row: Any) -> str:
        misshapen.append(BrokenLine(path.name, row.number, f"{row.actual_columns} columns, not {len(COLUMNS)}"))
        return "skip"

    if not content.strip():
        return pa.table({name: pa.array([], pa.string()) for name in COLUMNS}), []
    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            # One thread, so that the number of a broken line is known.
            read_options=csv.ReadOptions(column_names=list(COLUMNS), use_threads=False, encoding="latin-1"),
            parse_options=csv.ParseOptions(
                invalid_row_handler=on_invalid_row, quote_char=False, ignore_empty_lines=False
            ),
            convert_options=csv.ConvertOptions(
                column_types={name: pa.string() for name in COLUMNS}, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise UsageError(f"{path}: not a CSV file of trades: {error}", "Name a CSV file with --replay.") from error
    return table, misshapen


def _validate(table: pa.Table, symbol: str) -> tuple[np.ndarray, dict[int, str]]:
    """bool[n] of the lines that are trades, and for the others the reason."""
    valid = np.ones(len(table), np.bool_)
    reasons: dict[int, str] = {}
    for name, pattern in (("date", _DATE), ("time", _TIME), ("price", _PRICE), ("volume", _VOLUME)):
        matches = pc.match_substring_regex(table[name], pattern).to_numpy()
        for at in np.flatnonzero(valid & ~matches).tolist():
            reasons[at] = f"'{table[name][at].as_py()}' is not a {name}"
        valid &= matches
    for text in pc.unique(_conditions(table)).to_pylist():
        try:
            pack(_codes(text))
        except ValueError as error:
            those = pc.equal(_conditions(table), text).to_numpy() & valid
            reasons |= dict.fromkeys(np.flatnonzero(those).tolist(), str(error))
            valid &= ~those
    instants = _instants(table.filter(pa.array(valid)))
    missing = np.flatnonzero(valid)[np.isnat(instants)]
    for at in missing.tolist():
        reasons[at] = f"'{table['date'][at].as_py()} {table['time'][at].as_py()}' is not a moment in Sydney"
    valid[missing] = False
    if not symbol or not symbol.isprintable() or len(symbol.encode()) > TRADE.message["symbol"].itemsize:
        raise UsageError(f"'{symbol}' is not a symbol.", f"Map the file's name to one in {COMPANIES}.")
    return valid, reasons


def _conditions(table: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(table["qualifiers"], table["venue"], ";")


def _codes(conditions: str) -> list[str]:
    """Qualifiers, with spaces between where there are several, and the venue. The buyer is no condition of a trade."""
    return [code for code in re.split("[; ]", conditions) if code]


def _packed(table: pa.Table) -> np.ndarray:
    encoded = _conditions(table).combine_chunks().dictionary_encode()
    fields = [pack(_codes(text)) for text in encoded.dictionary.to_pylist()]
    return np.asarray(np.array(fields, TRADE.message["trade_conditions"])[encoded.indices.to_numpy()])


def _instants(table: pa.Table) -> np.ndarray:
    """datetime64[us], UTC, of Sydney dates and times; NaT where there is no such date."""
    iso = pc.binary_join_element_wise(
        pc.utf8_slice_codeunits(table["date"], 6, 10),
        pc.utf8_slice_codeunits(table["date"], 0, 2),
        pc.utf8_slice_codeunits(table["date"], 3, 5),
        "-",
    )
    days = pc.strptime(iso, format="%Y-%m-%d", unit="us", error_is_null=True)
    texts = table["time"]
    parts = [pc.cast(pc.utf8_slice_codeunits(texts, start, start + 2), pa.int64()).to_numpy() for start in (0, 3, 6)]
    fraction = pc.utf8_rpad(pc.utf8_slice_codeunits(texts, 9, 15), 6, "0")
    micros = (parts[0] * 3600 + parts[1] * 60 + parts[2]) * 1_000_000 + pc.cast(fraction, pa.int64()).to_numpy()
    possible = (parts[0] < 24) & (parts[1] < 60) & (parts[2] < 60)
    local = days.to_numpy().astype("datetime64[us]") + micros
    local[~possible] = np.datetime64("NaT")
    # The hour that summer time leaves out does not exist; the one it repeats is taken as the earlier.
    localised = pc.assume_timezone(
        pa.array(local), str(ZoneInfo(VENUE_ZONE)), ambiguous="earliest", nonexistent="earliest"
    )
    return np.asarray(localised.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us")).to_numpy(zero_copy_only=False))


def _trades_of(table: pa.Table, symbol: str, universe: Universe) -> np.ndarray:
    count = len(table)
    trades = TRADE.empty(count)
    if not count:
        return trades
    market = universe.profile.market
    trades["symbol"], trades["exchange"], trades["currency"] = symbol.encode(), market.exchange, market.currency
    trades["event_ns"] = _instants(table).astype(np.int64) * 1000
    for name, column in (("price", "price"), ("quantity", "volume")):
        trades[name] = from_arrow(table[column].combine_chunks().cast(DECIMAL_TYPE))
    trades["trade_conditions"] = _packed(table)
    trades["side"] = SIDES.index("UNKNOWN")
    trades["source_sequence"] = NO_SEQUENCE
    trades["asset_class"] = ASSET_CLASSES.index(market.asset_class)
    return trades


class ReplaySource:
    """Hands out the trades of a replay in order, each at its partition.

    last_us: shift all times so that the last trade's is this; None keeps them. A trade at another time is another
    trade, with an id of its own: what is shifted and replayed again is stored again.
    """

    def __init__(self, replay: Replay, universe: Universe, *, last_us: int | None) -> None:
        self._trades = replay.trades
        if last_us is not None:
            shift_ns = last_us * 1000 - int(self._trades["event_ns"][-1])
            self._trades["event_ns"] += shift_ns
            ids = self._trades["message_id"].tolist()
            self._trades["message_id"] = _digests(b"%s%d" % (bytes(name), shift_ns) for name in ids)
        self._partition = universe.partitioner().partitions_of(self._trades["symbol"])
        self._partitions = universe.profile.topic.partitions
        self._at = 0
        self.fraction = (0.0, 1.0)

    def sessions(self) -> dict[int, bytes]:
        """The first halves of the trades' ids with their symbols. Ids are digests, so each trade has one of its own."""
        session, _ = sessions_and_numbers(self._trades)
        return dict(zip(session.tolist(), self._trades["symbol"].tolist(), strict=True))

    def sample_symbol(self) -> bytes:
        """The symbol whose acknowledgements are timed: the rarest."""
        codes, distinct = codes_of(self._trades["symbol"])
        return bytes(distinct[np.argmin(np.bincount(codes))])

    def take(self, count: int, from_us: int, to_us: int) -> Batch:
        """The next `count` trades, sorted by partition; their times are the file's, or shifted to now."""
        part = slice(self._at, min(self._at + count, len(self._trades)))
        self._at = part.stop
        partition = self._partition[part]
        order = np.argsort(partition, kind="stable")
        trades = self._trades[part][order]
        due_us = from_us + (order * ((to_us - from_us) / max(1, len(trades)))).astype(np.int64)
        trades["received_ns"] = due_us * 1000
        return Batch(trades, np.bincount(partition, minlength=self._partitions))


@dataclass(frozen=True)
class ReplaySchedule:
    """The file's own timing, `speed` times as fast."""

    # float64[n], seconds from the first trade to each.
    offsets_s: np.ndarray
    # Infinite: everything is due at once.
    speed: float

    @classmethod
    def of(cls, replay: Replay, speed: float) -> "ReplaySchedule":
        """The schedule of a replay."""
        times = replay.trades["event_ns"]
        return cls((times - times[0]) / 1e9, speed)

    @property
    def duration_s(self) -> float:
        """Seconds until the last trade is due."""
        return 0.0 if np.isinf(self.speed) else float(self.offsets_s[-1]) / self.speed

    @property
    def total(self) -> int:
        """Trades in all."""
        return len(self.offsets_s)

    def due(self, elapsed_s: float) -> float:
        """Trades that should have been sent by then."""
        if np.isinf(self.speed):
            return float(self.total)
        return float(np.searchsorted(self.offsets_s, elapsed_s * self.speed, side="right"))
