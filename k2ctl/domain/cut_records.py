"""Documents that are cut into records: no record of Kafka nears a megabyte, whatever a table's columns and partitions.

A record is a frame: magic, checksum over the rest, the id of its document, its number, how many there are, and a piece.
Records may be missing, come twice, in any order, damaged, or from another program: then a document is not whole, or a
record none of ours, and neither is an error.
"""

import struct
import uuid
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

LARGEST_RECORD: Final = 200_000
LARGEST_DOCUMENT: Final = 64_000_000
"""More is no document of ours; it bounds what one may unpack to."""

MOST_UNFINISHED: Final = 64
"""Documents of which records are kept while others are missing."""

_MAGIC: Final = b"K2CUT1"
_FRAME: Final = struct.Struct("!6sI16sHH")
_MOST_PIECES: Final = LARGEST_DOCUMENT // LARGEST_RECORD


def cut(document: bytes, largest: int = LARGEST_RECORD) -> list[bytes]:
    """The records of a document, at most `largest` bytes each.

    Raises:
        ValueError: it is too large.
    """
    packed, room = zlib.compress(document, 1), largest - _FRAME.size
    pieces = [packed[at : at + room] for at in range(0, len(packed), room)]
    if len(document) > LARGEST_DOCUMENT or len(pieces) > _MOST_PIECES:
        raise ValueError(f"a document of {len(document):,} bytes is too large to be sent")
    document_id = uuid.uuid4().bytes
    return [_framed(document_id, number, len(pieces), piece) for number, piece in enumerate(pieces)]


def _framed(document_id: bytes, number: int, count: int, piece: bytes) -> bytes:
    frame = _FRAME.pack(_MAGIC, 0, document_id, number, count)
    return _FRAME.pack(_MAGIC, _checksum(frame, piece), document_id, number, count) + piece


def _checksum(frame: bytes, piece: bytes) -> int:
    return zlib.crc32(piece, zlib.crc32(frame[10:]))


class CutDocuments:
    """Puts documents together again. Bounded: of too many unfinished ones the oldest are dropped. Not thread-safe."""

    def __init__(self) -> None:
        # Document id → its pieces by number.
        self._pieces: OrderedDict[bytes, dict[int, bytes]] = OrderedDict()
        # Records that were not ours, or damaged.
        self.strange = 0

    def add(self, record: bytes | None) -> bytes | None:
        """The document that this record completes; None while others are missing, or for a record not of ours."""
        frame = _read(record)
        if frame is None:
            self.strange += 1
            return None
        document_id, number, count, piece = frame
        pieces = self._pieces.setdefault(document_id, {})
        self._pieces.move_to_end(document_id)
        pieces[number] = piece
        if len(pieces) < count:
            while len(self._pieces) > MOST_UNFINISHED:
                self._pieces.popitem(last=False)
            return None
        del self._pieces[document_id]
        found = _unpacked(b"".join(pieces[at] for at in sorted(pieces)))
        self.strange += found is None
        return found

    def all_of(self, records: list[bytes | None]) -> Iterator[bytes]:
        """Every document that these records complete."""
        return (document for document in map(self.add, records) if document is not None)


def _read(record: bytes | None) -> tuple[bytes, int, int, bytes] | None:
    if record is None or len(record) < _FRAME.size:
        return None
    magic, checksum, document_id, number, count = _FRAME.unpack_from(record)
    piece = record[_FRAME.size :]
    if magic != _MAGIC or checksum != _checksum(record[: _FRAME.size], piece) or not number < count <= _MOST_PIECES:
        return None
    return document_id, number, count, piece


def _unpacked(packed: bytes) -> bytes | None:
    try:
        unpacking = zlib.decompressobj()
        document = unpacking.decompress(packed, LARGEST_DOCUMENT)
    except zlib.error:
        return None
    return document if unpacking.eof else None
