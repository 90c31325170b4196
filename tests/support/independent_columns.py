"""Whether a table holds what Kafka does, by columns: the quick way of `independent_reader`, and as independent.

It only ever says yes. Whatever is unusual, missing or different is left to the way row by row, which names it.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa

Columns = np.ndarray[Any, Any]

_BLOCK: Final = np.dtype("<u2,<u2,<u2,<u2,V16,<u8,<i8,<i8,<u8,<i8,<u8,<i8,<u8,S32,S16,S8,S32,V16,u1,u1,u1,V5")
"""A trade of version 1, with its message header: see `independent_reader`."""

_BLOCK.names = (
    "length", "template", "schema", "version", "message_id", "trade_id", "event_ns", "received_ns", "price_low",
    "price_high", "quantity_low", "quantity_high", "sequence", "symbol", "exchange", "currency", "conditions",
    "refers_to", "asset_class", "side", "action", "padding",
)  # fmt: skip
_IDENTITY: Final = (
    "message_id", "symbol", "exchange", "event_ns", "price_low", "price_high", "quantity_low", "quantity_high",
    "action", "refers_to",
)  # fmt: skip
_HEADER: Final = np.array([192, 1, 7203], "<u2")
_SIDES: Final = np.array(["BUY", "SELL", "SELL_SHORT", "UNKNOWN"], object)
_ASSET_CLASSES: Final = np.array(["equities", "crypto", "futures", "options"], object)
_ACTIONS: Final = np.array(["NEW", "CORRECT", "CANCEL"], object)
_KNOWN: Final = (("side", _SIDES), ("asset_class", _ASSET_CLASSES), ("action", _ACTIONS))
_NOTHING, _LATEST_ALIKE = np.void(bytes(16)), np.void(b"\xff" * 16)
_NO_SEQUENCE: Final = np.uint64(2**64 - 1)
_MAY_BE_NULL: Final = frozenset(("refers_to", "source_sequence", "sector", "tick_size", "lot_size", "enriched"))


def is_plain(value: bytes) -> bool:
    """True for a record of whole blocks, as far as its length and first header say."""
    return bool(value) and len(value) % _BLOCK.itemsize == 0 and value[:6] == _HEADER.tobytes()


def copies_if_equal(records: Sequence[tuple[int, int, bytes]], stored: pa.Table) -> int | None:
    """How many copies Kafka holds, where each trade is stored once, as it was sent, and nothing else is.

    records: partition, offset, value, all plain. None: that is not so, or it cannot be said here.
    """
    sent = np.frombuffer(b"".join(value for *_, value in records), _BLOCK)
    if not len(sent) or not _is_usual(sent) or not _is_whole(stored):
        return None
    counts = np.array([len(value) // _BLOCK.itemsize for *_, value in records], np.int64)
    of_record = [np.repeat(np.array(column, np.int64), counts) for column in list(zip(*records, strict=True))[:2]]
    index = np.arange(len(sent)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = _numbered(*of_record, index)
    wanted = _numbered(*(_numbers(stored[f"kafka_{name}"]) for name in ("partition", "offset", "index")))
    order = np.argsort(places)
    at = order[np.minimum(np.searchsorted(places, wanted, sorter=order), len(order) - 1)]
    if not (places[at] == wanted).all() or not _are_equal(sent[at], stored):
        return None
    identity = _identities(sent)
    different, once = len(np.unique(identity)), len(np.unique(identity[at]))
    return len(sent) - different if once == different == len(at) else None


def _is_usual(sent: Columns) -> bool:
    headers = (sent[name] == value for name, value in zip(("length", "template", "schema"), _HEADER, strict=True))
    texts = b"".join(sent[name].tobytes() for name in ("symbol", "exchange", "currency", "conditions"))
    return (
        all(each.all() for each in headers)
        and texts.isascii()
        and all(sent[name].max() < len(names) for name, names in _KNOWN)
    )


def _is_whole(stored: pa.Table) -> bool:
    must = (name for name in stored.column_names if name not in _MAY_BE_NULL)
    return not any(stored[name].null_count for name in must)


def _numbered(partition: Columns, offset: Columns, index: Columns) -> Columns:
    """A number for each place in Kafka."""
    for column, bits in ((partition, 15), (offset, 32), (index, 16)):
        assert not len(column) or 0 <= column.min() <= column.max() < 1 << bits, f"more than {bits} bits"
    return partition << 48 | offset << 16 | index


def _are_equal(sent: Columns, stored: pa.Table) -> bool:
    """Row by row; what the consumer has marked in a row counts as it was printed."""
    refers_to, marked = _ids(stored["refers_to"]), ~np.array(stored["refers_to"].is_null())
    action, message_id = stored["action"].to_numpy(), _ids(stored["message_id"])
    printed = marked & ((refers_to == _LATEST_ALIKE) | ((action == "NEW") & (refers_to == message_id)))
    unnumbered = sent["sequence"] == _NO_SEQUENCE
    committed_us = _numbers(stored["committed_at"])
    pairs = (
        (sent["message_id"], message_id),
        (sent["refers_to"], np.where(printed, _NOTHING, refers_to)),
        (sent["refers_to"] != _NOTHING, marked & ~printed),
        (_ACTIONS[sent["action"]], np.where(printed, "NEW", action)),
        (unnumbered, np.array(stored["source_sequence"].is_null())),
        (np.where(unnumbered, 0, sent["sequence"]), _numbers(stored["source_sequence"].fill_null(0)).astype(np.uint64)),
        (sent["trade_id"], _numbers(stored["trade_id"]).astype(np.uint64)),
        *_instants(sent["event_ns"], stored, "timestamp"),
        *_instants(sent["received_ns"], stored, "ingestion_timestamp"),
        *((_text(sent[name]), stored[name].to_numpy()) for name in ("symbol", "exchange", "currency")),
        *((names[sent[name]], stored[name].to_numpy()) for name, names in _KNOWN[:2]),
        *_amounts(sent, stored, "price"),
        *_amounts(sent, stored, "quantity"),
        (committed_us <= datetime.now(UTC).timestamp() * 1e6, True),
    )
    alike = all(np.all(ours == theirs) for ours, theirs in pairs)
    return alike and _conditions(sent) == stored["trade_conditions"].to_pylist()


def _numbers(column: pa.ChunkedArray) -> Columns:
    return column.cast(pa.int64()).to_numpy()


def _instants(nanoseconds: Columns, stored: pa.Table, name: str) -> Iterator[tuple[Columns, Columns]]:
    """The microseconds, and the nanoseconds beyond them."""
    yield nanoseconds // 1000, _numbers(stored[name])
    yield nanoseconds % 1000, _numbers(stored[f"{name}_nanos"])


def _amounts(sent: Columns, stored: pa.Table, name: str) -> Iterator[tuple[Columns, Columns]]:
    """The lower and the upper word of a mantissa."""
    column = pa.concat_arrays(stored[name].cast(pa.decimal128(38, 12)).chunks)
    words = np.frombuffer(column.buffers()[1], "<i8").reshape(-1, 2)[column.offset : column.offset + len(column)]
    yield sent[f"{name}_low"], words[:, 0].astype(np.uint64)
    yield sent[f"{name}_high"], words[:, 1]


def _ids(column: pa.ChunkedArray) -> Columns:
    """V16[n]; zeros for none."""
    chunks = [chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk for chunk in column.chunks]
    return np.frombuffer(b"".join(value or bytes(16) for chunk in chunks for value in chunk.to_pylist()), "V16")


def _text(column: Columns) -> Columns:
    names, number = np.unique(column, return_inverse=True)
    return np.array([name.decode() for name in names.tolist()], object)[number]


def _conditions(sent: Columns) -> list[list[str]]:
    found, number = np.unique(sent["conditions"], return_inverse=True)
    parts = [[text[at : at + 4].rstrip(b"\0").decode() for at in range(0, 32, 4)] for text in found.tolist()]
    codes = [[code for code in each if code] for each in parts]
    return [codes[at] for at in number.tolist()]


def _identities(sent: Columns) -> Columns:
    """A number for each identity."""
    parts = [np.frombuffer(sent[name].tobytes(), np.uint8).reshape(len(sent), -1) for name in _IDENTITY]
    packed = np.ascontiguousarray(np.concatenate(parts, 1))
    buffers = [None, pa.py_buffer(packed)]
    whole = pa.Array.from_buffers(pa.binary(packed.shape[1]), len(sent), buffers)
    return whole.dictionary_encode().indices.to_numpy()
