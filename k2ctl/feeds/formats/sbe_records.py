"""Records of somebody's SBE: a message a record, or several back to back where nothing stands behind their blocks."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.feeds.formats.avro_fields import MOST_ITEMS
from k2ctl.feeds.formats.cursor import Cursor
from k2ctl.feeds.formats.sbe_schema import SbeMessage
from k2ctl.feeds.mapping.mapping import Parts, Prepared

_HEAD: Final = "a header"


class SbeRecords:
    """The columns of records that a schema of SBE describes."""

    def __init__(self, message: SbeMessage) -> None:
        self._message = message

    def sample(self, _: str, columns: dict[str, pa.Array]) -> Prepared:
        """No rows of these columns."""
        none = np.zeros(0, np.int64)
        return self._prepared(np.zeros((0, 1 << 16), np.uint8), none, none, columns)

    def prepare(self, values: Sequence[bytes], columns: dict[str, pa.Array]) -> Parts:
        """The columns of n record values. columns: of the records, n each."""
        cursor = Cursor(values)
        prepared, filtered = list[Prepared](), [np.zeros(0, np.int64)]
        going, index = np.arange(len(values)), 0
        empty = going[cursor.at == cursor.end]
        cursor.fail(empty, "empty value")
        going = np.setdiff1d(going, empty)
        found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        while len(going):
            if index >= MOST_ITEMS:
                cursor.fail(going, f"more than {MOST_ITEMS} messages")
                break
            heads = self._heads(cursor, going)
            other = heads["templateId"] != self._message.template_id
            filtered.append(going[other & ~cursor.failed[going]])
            going, lengths = going[~other], heads["blockLength"][~other].astype(np.int64)
            begins = cursor.take(going, lengths, self._message.name)
            good = ~cursor.failed[going]
            for length in np.unique(lengths[good]).tolist():
                chosen = good & (lengths == length)
                found.append((_blocks(cursor, begins[chosen], length), going[chosen], np.full(chosen.sum(), index)))
            going = going[cursor.at[going] < cursor.end[going]] if self._message.is_fixed else going[:0]
            index += 1
        for blocks, rows, places in found:
            whole = ~cursor.failed[rows]
            if whole.any():
                prepared.append(self._prepared(blocks[whole], rows[whole], places[whole], columns))
        return Parts(prepared, list(cursor.reasons.items()), filtered=np.concatenate(filtered))

    def why_bad(self, _: bytes) -> str:
        """No row of these says that its record is none."""
        raise AssertionError("a record of a schema is broken, or none of its rows is bad")

    def alone(self, value: bytes) -> list[bytes]:
        """The bytes of each message of a record that could be read."""
        if not self._message.is_fixed:
            return [value]
        found, at, head = list[bytes](), 0, self._message.header
        while at < len(value):
            size = head.itemsize + int(np.frombuffer(value, head, 1, at)["blockLength"][0])
            found.append(value[at : at + size])
            at += size
        return found

    def _heads(self, cursor: Cursor, rows: np.ndarray) -> np.ndarray:
        """The headers before the next message of each record; those of another schema fail."""
        head = self._message.header
        heads = _blocks(cursor, cursor.take(rows, head.itemsize, _HEAD), head.itemsize).view(head)[:, 0]
        wrong = heads["schemaId"] != self._message.schema_id
        for number in np.unique(heads["schemaId"][wrong]).tolist():
            reason = f"schema id {number}, not {self._message.schema_id}"
            cursor.fail(rows[heads["schemaId"] == number], reason)
        return heads

    def _prepared(
        self, blocks: np.ndarray, rows: np.ndarray, places: np.ndarray, columns: dict[str, pa.Array]
    ) -> Prepared:
        count = len(blocks)
        return Prepared(
            pa.table(
                {
                    **self._message.columns(blocks),
                    **{name: one.take(pa.array(rows)) for name, one in columns.items()},
                    "_record": rows,
                    "_index": places.astype(np.int32),
                    "_bad": pa.array(np.zeros(count, np.bool_)),
                }
            )
        )


def _blocks(cursor: Cursor, begins: np.ndarray, length: int) -> np.ndarray:
    """uint8[n, length]: the bytes from each position on; zeros beyond the last record."""
    if not length or not len(begins):
        return np.zeros((len(begins), length), np.uint8)
    raw = cursor.raw if len(cursor.raw) >= length else np.append(cursor.raw, np.zeros(length, np.uint8))
    last = len(raw) - length
    found = np.ndarray((last + 1,), f"V{length}", raw, strides=(1,))[np.minimum(begins, last)]
    blocks: np.ndarray = found.view(np.uint8).reshape(len(begins), length)
    return blocks
