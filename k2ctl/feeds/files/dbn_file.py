"""DBN, Databento's binary records: trades, with the symbols that the file's metadata has for their instruments.

A trade is 48 bytes, so that a file of nothing else is one array. Records of other kinds are left out.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa
from databento_dbn import DBNError, Metadata

from k2ctl.domain.decimals import of_int64
from k2ctl.feeds.files.found import FeedFile
from k2ctl.feeds.files.lines import SAMPLE_EVERY
from k2ctl.feeds.files.pieces import Constants, Piece, row_table
from k2ctl.feeds.mapping.mapping import Parts, Prepared

TRADE_MESSAGE: Final = np.dtype(
    [("length", "u1"), ("rtype", "u1"), ("publisher_id", "<u2"), ("instrument_id", "<u4"), ("ts_event", "<u8"),
     ("price", "<i8"), ("size", "<u4"), ("action", "S1"), ("side", "S1"), ("flags", "u1"), ("depth", "u1"),
     ("ts_recv", "<u8"), ("ts_in_delta", "<i4"), ("sequence", "<u4")]
)  # fmt: skip
"""Version 1 to 3 alike; `length` counts words of four bytes."""

_RTYPE: Final = 0x00
_SAMPLE_TRADES: Final = 1_000
_WORD: Final = 4
_PREFIX: Final = 8
"""`DBN`, the version, and the length of the metadata behind them."""

_NO_PRICE: Final = np.iinfo(np.int64).max
_PRICE: Final = pa.decimal128(38, 9)
_NO_TIME: Final = np.iinfo(np.uint64).max
_DAY_NS: Final = 86_400_000_000_000
_EPOCH: Final = date(1970, 1, 1)


class DbnFile:
    """One file of DBN."""

    def __init__(self, file: FeedFile, constants: Constants) -> None:
        """Raises:
        OSError: it cannot be read, or is no DBN.
        """
        self._file = file
        opened = file.open()
        try:
            prefix = opened.read(_PREFIX)
            if prefix[:3] != b"DBN":
                raise OSError("not DBN")
            self._header = _PREFIX + int.from_bytes(prefix[4:], "little")
            metadata = Metadata.decode(prefix + opened.read(self._header - _PREFIX))
        except DBNError as error:
            raise OSError(f"the metadata is not DBN's: {error}") from error
        finally:
            opened.close()
        self._constants = {**constants, "dataset": str(metadata.dataset)}
        self._size = TRADE_MESSAGE.itemsize + (8 if metadata.ts_out else 0)
        self._kind = _with_size(self._size)
        self._symbols = InstrumentSymbols(metadata.mappings, str(metadata.stype_out))

    def empty(self) -> Prepared:
        """The columns, without a row."""
        return self._piece(np.zeros(0, TRADE_MESSAGE), np.zeros(0, np.int64)).parts.prepared[0]

    def pieces(self, size: int) -> Iterator[Piece]:
        """All trades in order; a trade's line is the number of its record."""
        for trades, lines, broken in self._read(size):
            yield self._piece(trades, lines, broken)

    def samples(self) -> Iterator[Piece]:
        """The beginning of every few megabytes, and the end."""
        tail = None
        for trades, lines, _ in self._read(SAMPLE_EVERY):
            yield self._piece(trades[:_SAMPLE_TRADES], lines[:_SAMPLE_TRADES])
            if len(trades):
                tail = trades[_SAMPLE_TRADES:][-_SAMPLE_TRADES:], lines[_SAMPLE_TRADES:][-_SAMPLE_TRADES:]
        if tail is not None:
            yield self._piece(*tail)

    def _read(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray, list[tuple[int, str]]]]:
        number, rest = 1, b""
        opened = self._file.open()
        try:
            opened.read(self._header)
            while more := opened.read(size):
                content = rest + more
                trades, numbers, count, read = self._trades(content)
                rest = content[read:]
                yield trades, numbers + number, []
                number += count
        finally:
            opened.close()
        if rest:
            yield np.zeros(0, TRADE_MESSAGE), np.zeros(0, np.int64), [(number, "the file ends within it")]

    def _trades(self, content: bytes) -> tuple[np.ndarray, np.ndarray, int, int]:
        """The trades among some whole records, their numbers from 0; how many records and bytes these are."""
        count = len(content) // self._size
        records = np.frombuffer(content, self._kind, count)
        if (records["length"] == self._size // _WORD).all() and (records["rtype"] == _RTYPE).all():
            return records, np.arange(count), count, count * self._size
        starts, at = [], 0
        while at < len(content) and content[at] and at + content[at] * _WORD <= len(content):
            starts.append(at)
            at += content[at] * _WORD
        chosen = [number for number, start in enumerate(starts) if self._is_trade(content, start)]
        joined = b"".join(content[starts[number] : starts[number] + self._size] for number in chosen)
        return np.frombuffer(joined, self._kind), np.array(chosen, np.int64), len(starts), at

    def _is_trade(self, content: bytes, start: int) -> bool:
        return content[start + 1] == _RTYPE and content[start] * _WORD == self._size

    def _piece(self, trades: np.ndarray, lines: np.ndarray, broken: list[tuple[int, str]] | None = None) -> Piece:
        columns = {
            **{name: _times(trades[name]) for name in ("ts_event", "ts_recv")},
            **{name: _characters(trades[name]) for name in ("action", "side")},
            **{name: pa.array(np.ascontiguousarray(trades[name])) for name in _NUMBERS},
            "price": _prices(trades["price"]),
            "symbol": self._symbols.of(trades),
        }
        return Piece(Parts([Prepared(row_table(columns, self._constants, lines))]), lines, broken or ())


_NUMBERS: Final = (
    "rtype",
    "publisher_id",
    "instrument_id",
    "price",
    "size",
    "flags",
    "depth",
    "ts_in_delta",
    "sequence",
)


def _with_size(size: int) -> np.dtype:
    """The fields of a trade in a record that has more behind them."""
    fields: Any = TRADE_MESSAGE.fields
    names = list(fields)
    layout: Any = {
        "names": names,
        "formats": [fields[name][0] for name in names],
        "offsets": [fields[name][1] for name in names],
        "itemsize": size,
    }
    kind: np.dtype = np.dtype(layout)
    return kind


def _times(column: np.ndarray) -> pa.Array:
    """Nanoseconds since 1970; null where there is none."""
    return pa.array(column.astype(np.int64), mask=column == _NO_TIME)


def _prices(column: np.ndarray) -> pa.Array:
    """Decimals; null where there is none."""
    there = column != _NO_PRICE
    validity = None if there.all() else pa.array(there).buffers()[1]
    return pa.Array.from_buffers(_PRICE, len(column), [validity, pa.py_buffer(of_int64(column))])


def _characters(column: np.ndarray) -> pa.Array:
    codes, inverse = np.unique(column, return_inverse=True)
    return pa.array([code.decode("latin-1") for code in codes.tolist()], pa.string()).take(pa.array(inverse))


class InstrumentSymbols:
    """The symbols of instruments, each for some days (UTC, of the time of receipt)."""

    def __init__(self, mappings: Mapping[str, Any], stype_out: str) -> None:
        self._by_instrument: dict[int, list[tuple[int, int, str]]] = {}
        for name, intervals in mappings.items():
            for one in intervals:
                other = str(one["symbol"])
                instrument, symbol = (other, name) if stype_out == "instrument_id" else (name, other)
                if instrument.isdigit():
                    span = (_days(one["start_date"]), _days(one["end_date"]), symbol)
                    self._by_instrument.setdefault(int(instrument), []).append(span)

    def of(self, trades: np.ndarray) -> pa.Array:
        """The symbol of each trade; null of an instrument that has none that day."""
        days = (trades["ts_recv"] // _DAY_NS).astype(np.int64)
        pairs, inverse = np.unique(trades["instrument_id"].astype(np.int64) << 32 | days, return_inverse=True)
        names = [self._symbol(pair >> 32, pair & 0xFFFF_FFFF) for pair in pairs.tolist()]
        return pa.array(names, pa.string()).take(pa.array(inverse))

    def _symbol(self, instrument: int, day: int) -> str | None:
        spans = self._by_instrument.get(instrument, [])
        return next((symbol for start, end, symbol in spans if start <= day < end), None)


def _days(day: date) -> int:
    return (day - _EPOCH).days
