"""The trade on the wire: encode and decode whole batches.

A Kafka record's value is a frame: one SBE message, or several back to back. A batch of frames is joined and
read as one array, so that decoding costs one `numpy.frombuffer` however many frames there are.

The format is Simple Binary Encoding 1.0 (FIX Trading Community), of which only what K2's schema uses is read: fixed
offsets, primitive types, char and uint8 arrays, enums. The XML schema becomes numpy dtypes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np

from k2ctl.home import shipped

SBE_NAMESPACE = "{http://fixprotocol.io/2016/sbe}"
HEADER = np.dtype([(name, "<u2") for name in ("block_length", "template_id", "schema_id", "version")])

_PRIMITIVES = {
    "uint8": "u1", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8",
    "int8": "i1", "int16": "<i2", "int32": "<i4", "int64": "<i8",
}  # fmt: skip


@dataclass(frozen=True)
class Template:
    """One message of the schema.

    `message` is the dtype of header and block together: a batch of n messages is one array of it.
    `header` holds the four values that precede every message of this version.
    """

    name: str
    message: np.dtype
    header: tuple[int, int, int, int]

    @property
    def block_length(self) -> int:
        return self.header[0]

    def empty(self, count: int) -> np.ndarray:
        """`count` messages with their headers filled in and every field zero."""
        messages = np.zeros(count, self.message)
        for name, value in zip(HEADER.names or (), self.header, strict=True):
            messages[name] = value
        return messages

    def with_block_length(self, block_length: int) -> np.dtype:
        """The dtype of the same fields in a longer block, as a newer version of the schema sends it."""
        fields: Any = self.message.fields or {}
        return np.dtype(
            {
                "names": list(fields),
                "formats": [entry[0] for entry in fields.values()],
                "offsets": [entry[1] for entry in fields.values()],
                "itemsize": HEADER.itemsize + block_length,
            }
        )


@dataclass(frozen=True)
class Schema:
    """A parsed SBE schema: its templates by name and its enums as code → name."""

    templates: dict[str, Template]
    enums: dict[str, dict[int, str]]
    null_values: dict[str, int]


def parse_schema(path: Path) -> Schema:
    """Read an SBE XML schema of ours (a shipped file, so its XML is trusted)."""
    root = ElementTree.parse(path).getroot()  # noqa: S314
    formats: dict[str, Any] = dict(_PRIMITIVES)
    null_values: dict[str, int] = {}
    enums: dict[str, dict[int, str]] = {}
    for node in root.iterfind("types/type"):
        length, primitive = int(node.get("length", "1")), node.attrib["primitiveType"]
        if primitive == "char":
            formats[node.attrib["name"]] = f"S{length}"
        elif length > 1:
            formats[node.attrib["name"]] = f"V{length}"
        else:
            formats[node.attrib["name"]] = _PRIMITIVES[primitive]
        if "nullValue" in node.attrib:
            null_values[node.attrib["name"]] = int(node.attrib["nullValue"])
    for node in root.iterfind("types/composite"):
        sent = [part.attrib for part in node.iterfind("type") if part.get("presence") != "constant"]
        formats[node.attrib["name"]] = [(part["name"], _PRIMITIVES[part["primitiveType"]]) for part in sent]
    for node in root.iterfind("types/enum"):
        formats[node.attrib["name"]] = _PRIMITIVES[node.attrib["encodingType"]]
        enums[node.attrib["name"]] = {int(v.text or ""): v.attrib["name"] for v in node.iterfind("validValue")}
    templates = {}
    for message in root.iterfind(f"{SBE_NAMESPACE}message"):
        block_length = int(message.attrib["blockLength"])
        fields = list(message.iterfind("field"))
        dtype = np.dtype(
            {
                "names": [*(HEADER.names or ()), *(f.attrib["name"] for f in fields)],
                "formats": ["<u2"] * 4 + [formats[f.attrib["type"]] for f in fields],
                "offsets": [0, 2, 4, 6, *(HEADER.itemsize + int(f.attrib["offset"]) for f in fields)],
                "itemsize": HEADER.itemsize + block_length,
            }
        )
        header = (block_length, int(message.attrib["id"]), int(root.attrib["id"]), int(root.attrib["version"]))
        templates[message.attrib["name"]] = Template(message.attrib["name"], dtype, header)
    return Schema(templates, enums, null_values)


@cache
def k2_schema() -> Schema:
    """The schema that this version of k2ctl ships."""
    return parse_schema(shipped("stack") / "schemas" / "trade.xml")


TRADE: Final = k2_schema().templates["Trade"]
REFERENCE: Final = k2_schema().templates["Reference"]
ASSET_CLASSES: Final = tuple(k2_schema().enums["AssetClass"].values())
SIDES: Final = tuple(k2_schema().enums["Side"].values())
NO_SEQUENCE: Final = k2_schema().null_values["OptionalSequence"]
ACTIONS: Final = tuple(k2_schema().enums["Action"].values())
NEW, CORRECT, CANCEL = (ACTIONS.index(name) for name in ("NEW", "CORRECT", "CANCEL"))
WHOLE_TRADE: Final = np.dtype((np.void, TRADE.message.itemsize))
"""A trade as so many bytes: numpy copies it as one piece, where it would copy the trade field by field."""


def joined_trades(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Several arrays of trades (dtype `TRADE.message`) as one."""
    return np.concatenate([part.view(WHOLE_TRADE) for part in parts]).view(TRADE.message)


NO_ID: Final = np.void(bytes(16))
"""Where a trade refers to no other."""

LATEST_ALIKE: Final = np.void(b"\xff" * 16)
"""Where a cancellation names no id: it refers to the latest earlier trade of its symbol with its price and quantity."""


def refer(trades: np.ndarray) -> np.ndarray:
    """bool[n]: which of some trades refer to another, or are marked as reprints."""
    words = trades["refers_to"][:, None].view(np.uint64)
    return np.asarray((words[:, 0] | words[:, 1]) != 0)  # six times as fast as `any` along the axis


CONDITION_CODES: Final = 8
CONDITION_BYTES: Final = 4
_FIRST_VERSION_BLOCK_LENGTH: Final = 192


@dataclass(frozen=True)
class RefusedTrade:
    """A trade of a record that is refused alone: which record of the batch, its position there, and why."""

    record: int
    index: int
    reason: str


@dataclass(frozen=True)
class Decoded:
    """What a batch of records held.

    trades: structured array of n trades (dtype `TRADE.message`), in the order of the records.
    record: int64[n], which record of the batch each trade came from.
    index: int32[n], the trade's position within that record.
    broken: (record number, reason) of every record that is not a frame of trades as a whole.
    refused: trades of the other records that could not be read.
    filtered: int64[m], the record of each row that the feed says is no trade.
    """

    trades: np.ndarray
    record: np.ndarray
    index: np.ndarray
    broken: list[tuple[int, str]]
    refused: list[RefusedTrade] = field(default_factory=list)
    filtered: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def merged(some: Decoded, others: Decoded, records: np.ndarray) -> Decoded:
    """Two parts of a batch in the order of its records. records: int64[k], those of `others` in the batch."""
    record = np.concatenate([some.record, records[others.record]])
    index = np.concatenate([some.index, others.index])
    order = np.lexsort((index, record))
    return Decoded(
        joined_trades([some.trades, others.trades]).take(order),
        record[order],
        index[order],
        [*some.broken, *((int(records[at]), reason) for at, reason in others.broken)],
        [*some.refused, *(RefusedTrade(int(records[one.record]), one.index, one.reason) for one in others.refused)],
        np.concatenate([some.filtered, records[others.filtered]]),
    )


def frames(trades: np.ndarray, per_frame: int) -> list[bytes]:
    """Cut an array of messages into record values of `per_frame` trades, the last one perhaps shorter."""
    raw = trades.tobytes()
    step = trades.dtype.itemsize * per_frame
    whole = len(raw) // step
    # numpy cuts in C, three times as fast as slicing one by one.
    values: list[bytes] = np.frombuffer(raw, f"V{step}", whole).tolist()
    if len(raw) > whole * step:
        values.append(raw[whole * step :])
    return values


def messages_of(value: bytes) -> list[bytes]:
    """The bytes of each message of a frame that could be decoded."""
    size = HEADER.itemsize + int(np.frombuffer(value, HEADER, 1)["block_length"][0])
    return [value[at : at + size] for at in range(0, len(value), size)]


def decode(values: Sequence[bytes]) -> Decoded:
    """Decode a batch of record values; never raises for what a record may hold."""
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    raw = b"".join(values)
    size = TRADE.message.itemsize
    if len(raw) and not (lengths % size).any() and lengths.all():
        trades = np.frombuffer(raw, TRADE.message)
        if _headers_match(trades, TRADE.block_length):
            return Decoded(trades, *positions(np.arange(len(values)), lengths // size), [])
    return _decode_mixed(raw, lengths)


def _headers_match(trades: np.ndarray, block_length: int) -> bool:
    """Whether every message announces a trade of this schema with this block length; any version will do."""
    _, template_id, schema_id, _ = TRADE.header
    return bool(
        (trades["block_length"] == block_length).all()
        and (trades["template_id"] == template_id).all()
        and (trades["schema_id"] == schema_id).all()
    )


def positions(records: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For `counts[i]` trades in record `records[i]`: each trade's record and its index within it."""
    record = np.repeat(records, counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    return record, (np.arange(len(record)) - first).astype(np.int32)


def _decode_mixed(raw: bytes, lengths: np.ndarray) -> Decoded:
    """The slow path: records of several versions, or with damage, sorted out one record at a time."""
    starts = np.cumsum(lengths) - lengths
    broken: list[tuple[int, str]] = []
    good: list[tuple[int, np.ndarray]] = []
    for number, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
        result = decode_frame(raw[start : start + length])
        if isinstance(result, str):
            broken.append((number, result))
        else:
            good.append((number, result))
    trades = np.concatenate([frame for _, frame in good]) if good else np.zeros(0, TRADE.message)
    counts = np.array([len(frame) for _, frame in good], np.int64)
    record, index = positions(np.array([number for number, _ in good], np.int64), counts)
    return Decoded(trades, record, index, broken)


def decode_frame(value: bytes) -> np.ndarray | str:
    """One record value as trades, or the reason why it is not a frame of trades."""
    if not value:
        return "empty value"
    if len(value) < HEADER.itemsize:
        return f"{len(value)} bytes, shorter than an SBE header"
    block_length, template_id, schema_id, _ = np.frombuffer(value, HEADER, 1)[0].tolist()
    if schema_id != TRADE.header[2]:
        return f"schema id {schema_id}, not {TRADE.header[2]}"
    if template_id != TRADE.header[1]:
        return f"template id {template_id}, not a trade"
    if block_length < _FIRST_VERSION_BLOCK_LENGTH:
        return f"block of {block_length} bytes, shorter than version 1's {_FIRST_VERSION_BLOCK_LENGTH}"
    size = HEADER.itemsize + block_length
    if len(value) % size:
        return f"{len(value)} bytes are not whole messages of {size}"
    wide = np.frombuffer(value, TRADE.with_block_length(block_length))
    if not _headers_match(wide, block_length):
        return "headers within the frame differ"
    if block_length == TRADE.block_length:
        return wide
    trades = TRADE.empty(len(wide))
    for name in (TRADE.message.names or ())[len(HEADER.names or ()) :]:
        trades[name] = wide[name]
    return trades


@dataclass(frozen=True)
class Window:
    """Exchange timestamps in [since_us, until_us), microseconds UTC; None leaves that side open."""

    since_us: int | None = None
    until_us: int | None = None

    def holds(self, timestamps: np.ndarray) -> np.ndarray:
        """bool[n]: which of the int64[n] timestamps are within."""
        mask = np.ones(len(timestamps), np.bool_)
        if self.since_us is not None:
            mask &= timestamps >= self.since_us
        if self.until_us is not None:
            mask &= timestamps < self.until_us
        return mask


WHOLE_HISTORY = Window()


_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_END: Final = datetime(2262, 1, 1, tzinfo=UTC)


_FINER: Final = re.compile(r"[.,][0-9]{6}[0-9]*[1-9]")


def micros_of(text: str) -> int:
    """An ISO time as microseconds since the epoch; UTC unless it says otherwise.

    Raises:
        ValueError: it is no time, finer than that, or outside of the range of the table's timestamps, 1970 to 2262.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("not an ISO time") from error
    if _FINER.search(text):
        raise ValueError("finer than microseconds")
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not _FIRST <= moment < _END:
        raise ValueError("not between 1970 and 2262")
    since = moment - _FIRST
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_FRACTION: Final = re.compile(r"([.,])([0-9]+)")


def nanos_of(text: str) -> int:
    """An ISO time with up to nine digits of a second as nanoseconds since the epoch; UTC unless it says otherwise.

    Raises:
        ValueError: see `micros_of`.
    """
    found = _FRACTION.search(text)
    digits = found[2] if found else ""
    if len(digits) > 9:
        raise ValueError("finer than nanoseconds")
    coarse = text if found is None else text.replace(found[0], found[1] + digits[:6].ljust(6, "0"), 1)
    return micros_of(coarse) * 1000 + int(digits[6:].ljust(3, "0"))
