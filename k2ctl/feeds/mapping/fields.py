"""Columns that the SELECT gave, as the fields of trades: exactly, or not at all.

DuckDB's casts are lenient where digits are concerned: they round, and take `1_000` and `0x10`. So the bytes of each
text that was cast are looked at as well, a column at a time; a text that is not plain is read alone.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np
import orjson
import pyarrow as pa

from k2ctl.domain.conditions import pack
from k2ctl.domain.decimals import DECIMAL, DECIMAL_SCALE, exact_words, from_arrow
from k2ctl.domain.rows import ids_of
from k2ctl.domain.texts import codes_of
from k2ctl.domain.trade import ACTIONS, ASSET_CLASSES, SIDES, TRADE
from k2ctl.domain.validity import NUMBER_MOST
from k2ctl.feeds.mapping.digit_words import PlacedTexts

MISSING: Final = "is missing"
_CUT: Final = 40
_SHORT: Final = 8
"""Bytes of a text that is read as a number."""

_BETWEEN_CODES: Final = re.compile(r"[ ,;\x1f]+")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NAMES: Final = {"asset_class": ASSET_CLASSES, "side": SIDES, "action": ACTIONS}
_WHOLE: Final = re.compile(r"-?[0-9]+")


def _bytes_of(characters: str) -> np.ndarray:
    known = np.zeros(256, np.bool_)
    known[np.frombuffer(characters.encode(), np.uint8)] = True
    return known


_DIGITS: Final = _bytes_of("0123456789")
_OF_DECIMALS: Final = _bytes_of("0123456789.-")
_OF_TIMES: Final = _bytes_of("0123456789.-+:TZzUC ")


@dataclass
class Made:
    """Fields of n trades, and what could not be made."""

    # Dtype `TRADE.message`.
    trades: np.ndarray
    # bool[n]: every field is there.
    good: np.ndarray
    # Position → why, of those that are not.
    reasons: dict[int, str] = field(default_factory=dict)

    def refuse(self, failed: np.ndarray, why: Callable[[int], str]) -> None:
        """Refuse some trades (bool[n]), for a reason each."""
        if failed.any():
            for at in np.flatnonzero(failed & self.good).tolist():
                self.reasons[at] = why(at)
            self.good &= ~failed


class Selected:
    """The rows of the SELECT, n of them."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._names = frozenset(table.column_names)

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def column(self, name: str) -> pa.Array:
        """A column in one piece."""
        chunks = self._table[name]
        column: pa.Array = chunks.combine_chunks() if chunks.num_chunks != 1 else chunks.chunk(0)
        return column

    def integers(self, name: str) -> np.ndarray:
        """int64[n]; of nulls 0."""
        return np.asarray(self.column(name).fill_null(0).to_numpy(zero_copy_only=False))

    def nulls(self, name: str) -> np.ndarray:
        """bool[n]."""
        column = self.column(name)
        return np.asarray(column.is_null().to_numpy(zero_copy_only=False)) if column.null_count else _none(len(column))

    def mask(self, name: str) -> np.ndarray:
        """bool[n] of a column of booleans without nulls."""
        column = self.column(name)
        storage = column.storage if isinstance(column, pa.ExtensionArray) else column
        return np.asarray(storage.to_numpy(zero_copy_only=False)).astype(np.bool_)


def _none(count: int) -> np.ndarray:
    return np.zeros(count, np.bool_)


def shown(value: object) -> str:
    """A value as a reason shows it: cut."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
    return text if len(text) <= _CUT else text[:_CUT] + "…"


@dataclass(frozen=True)
class _Texts:
    """The bytes of n texts, one behind the other; those of nulls are none."""

    data: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @staticmethod
    def of(column: pa.StringArray) -> "_Texts":
        _, offsets, data = column.buffers()
        if not len(column):
            return _Texts(np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64))
        ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
        raw = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
        first = int(ends[0])
        return _Texts(raw[first : int(ends[-1])], ends[:-1] - first, ends[1:] - first)

    def with_others_than(self, known: np.ndarray) -> np.ndarray:
        """bool[n]: which texts have a byte that is not known."""
        failed = _none(len(self.starts))
        others = np.flatnonzero(~known[self.data])
        if len(others):
            failed[np.searchsorted(self.ends, others, side="right")] = True
        return failed

    def finer_than(self, places: int) -> np.ndarray:
        """bool[n]: which texts may have more digits behind their point; also those with two points."""
        long = np.asarray(self.ends - self.starts > places + 1)
        if not long.any():
            return long
        points = np.flatnonzero(self.data == ord("."))
        row = np.searchsorted(self.ends, points, side="right")
        fine = _none(len(self.starts))
        fine[row[self.ends[row] - points - 1 > places]] = True
        return fine


def decimals(name: str, result: Selected, made: Made) -> None:
    """price and quantity."""
    column = result.column(name)
    values, failed = from_arrow(column), result.nulls(name)
    reasons: dict[int, str] = {}
    if f"{name}_text" in result:
        texts = result.column(f"{name}_text")
        raw = _Texts.of(texts)
        odd = failed | raw.with_others_than(_OF_DECIMALS) | raw.finer_than(DECIMAL_SCALE)
        if odd.any():
            values = values.copy()
            for at in np.flatnonzero(odd & made.good).tolist():
                try:
                    values[at] = exact_words(texts[at].as_py())
                    failed[at] = False
                except ValueError as error:
                    failed[at] = True
                    reasons[at] = f"{name} {error}"
    made.refuse(failed, lambda at: reasons.get(at, f"{name} {MISSING}"))
    made.trades[name] = np.where(failed, np.zeros(1, DECIMAL), values) if failed.any() else values


def wholes(name: str, result: Selected, made: Made, *, optional: bool) -> np.ndarray:
    """trade_id and source_sequence: uint64[n]. Where `optional`, null is none; returns bool[n] of those."""
    values, nulls = result.integers(name), result.nulls(name)
    failed, absent = nulls.copy(), nulls
    texts = None
    if f"{name}_text" in result:
        texts = result.column(f"{name}_text")
        absent = result.nulls(f"{name}_text")
        failed |= _Texts.of(texts).with_others_than(_DIGITS)
    if optional:
        failed &= ~absent
    failed |= values < 0

    def why(at: int) -> str:
        value = texts[at].as_py() if texts is not None else int(values[at])
        if value is None or (texts is None and nulls[at]):
            return f"{name} {MISSING}"
        if _WHOLE.fullmatch(str(value)) and int(str(value)[:_CUT]) > NUMBER_MOST:
            return f"{name} is {shown(value)}, above {NUMBER_MOST} (2^63 − 1)"
        return f"{name} is {shown(value)}, not a whole number from 0 to 2^63 − 1"

    made.refuse(failed, why)
    made.trades[name] = np.where(failed, 0, values).astype(np.uint64)
    return absent


def instants(name: str, field_name: str, result: Selected, made: Made) -> None:
    """timestamp and ingestion_timestamp, as nanoseconds."""
    values, failed = result.integers(name), result.nulls(name)
    texts = result.column(f"{name}_text") if f"{name}_text" in result else None
    if texts is not None:
        failed = failed | _Texts.of(texts).with_others_than(_OF_TIMES)
    made.refuse(
        failed,
        lambda at: (
            f"{name} {MISSING}"
            if texts is None or texts[at].as_py() is None
            else f"{name} is {shown(texts[at].as_py())}, neither a time with an offset nor a number of one"
        ),
    )
    made.trades[field_name] = np.where(failed, 0, values) if failed.any() else values


def texts(name: str, column: pa.Array, made: Made) -> None:
    """symbol, exchange, currency, and the names of `asset_class`, `side` and `action`; and the conditions.

    Work is done once per distinct text.
    """
    codes, distinct = _coded(column)
    kind = TRADE.message[name]
    read = [text_value(name, text) for text in [*distinct, None]]
    good = np.array([isinstance(value, str) is False for value in read], np.bool_)
    values = np.zeros(len(read), kind)
    for at, value in enumerate(read):
        if not isinstance(value, str):
            values[at] = value
    # One text in all of them, which exchange and currency mostly are, is copied and not looked up.
    made.trades[name] = values[codes[0]] if len(codes) and (codes == codes[0]).all() else values[codes]
    if not good.all():
        made.refuse(~good[codes], lambda at: str(read[codes[at]]))


def _coded(column: pa.Array) -> tuple[np.ndarray, list[str]]:
    """int[n] codes, and the texts that they are codes of; that of null is one more than the last.

    Many texts are short, and in all rows the same: those are held against each other as numbers.
    """
    if not column.null_count and (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        texts = PlacedTexts.of(column)
        if not texts.has_zeros:
            short, fit = texts.fixed(_SHORT)
            if fit.all():
                codes, distinct = codes_of(short)
                return codes, [text.decode() for text in distinct.tolist()]
    encoded = column.dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    return encoded.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False), distinct


@lru_cache(65_536)
def text_value(name: str, text: str | None) -> bytes | int | str:
    """The value of a field, or, as a text, why it has none."""
    if name == "trade_conditions":
        return _conditions(text)
    if name in _NAMES:
        return _code(name, _NAMES[name], text)
    if text is None:
        return b"" if name == "currency" else f"{name} {MISSING}"
    if _is_container(text):
        return f"{name} is {shown(text)}, not a text"
    encoded = text.encode(errors="surrogatepass")
    size = TRADE.message[name].itemsize
    if len(encoded) > size:
        return f"{name} is {shown(text)}, longer than {size} bytes"
    return f"{name} is {shown(text)}, not printable UTF-8" if text.endswith("\0") else encoded


def _is_container(text: str) -> bool:
    """Whether a text is an object or a list of JSON, which is no name of anything."""
    if text[:1] not in ("{", "[") or text[-1:] not in ("}", "]"):
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _code(name: str, names: Sequence[str], text: str | None) -> int | str:
    if text is None and name != "asset_class":
        return names.index("UNKNOWN" if name == "side" else "NEW")
    for number, known in enumerate(names):
        if text is not None and text.lower() == known.lower():
            return number
    return f"{name} {MISSING}" if text is None else f"{name} is {shown(text)}, none of {', '.join(names)}"


def _conditions(text: str | None) -> bytes | str:
    if not text:
        return b""
    if text.startswith("["):
        try:
            items = json.loads(text)
        except ValueError:
            items = [text]
        if not all(type(code) in (str, int) for code in items):
            return f"trade_conditions is {shown(text)}, neither a list of codes nor a text"
        codes = [str(code) for code in items]
    else:
        codes = [code for code in _BETWEEN_CODES.split(text) if code]
    try:
        return pack(codes)
    except ValueError as error:
        return str(error)


def uuids(result: Selected, made: Made) -> None:
    """message_id, where the feed has one."""
    column, failed = result.column("message_id"), result.nulls("message_id")
    texts = result.column("message_id_text") if "message_id_text" in result else None
    if texts is not None:
        raw = _Texts.of(texts)
        odd = raw.ends - raw.starts != 36
        failed = failed | odd
    made.refuse(
        failed,
        lambda at: (
            f"message_id {MISSING}"
            if texts is None or texts[at].as_py() is None
            else f"message_id is {shown(texts[at].as_py())}, not a UUID"
        ),
    )
    ids = ids_of(column)
    made.trades["message_id"] = np.where(failed, np.void(bytes(16)), ids) if failed.any() else ids


def uuid_of(text: str) -> bytes | None:
    """The bytes of a UUID as it is written; None of another text."""
    return bytes.fromhex(text.replace("-", "")) if _UUID.fullmatch(text) else None
