"""The seal of a data file: checksums over all of its bytes, and its count of rows, in the file itself.

Parquet's page checksums leave out page headers and the footer, and DuckDB looks at none of them. A reader of Parquet
ignores bytes between the metadata and the footer's length, so the seal is there:

    pages, indexes, metadata | CRC-32 of each block of these | lengths, rows, CRC-32 of the seal | footer length, PAR1

The seal's own checksum begins with the file's name, so that the content of another file is not taken for this one's.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from pyiceberg.io import OutputStream

BLOCK: Final = 65_536
"""Bytes that one checksum covers: the least that is read of a file in an object store."""

_MAGIC: Final = b"K2SEAL01"
_PARQUET: Final = b"PAR1"
_END: Final = struct.Struct("<QQI8sI4s")
"""Body's length, rows, CRC-32 of the seal, our magic; and what ends every Parquet file."""

SEAL_END: Final = _END.size
"""So many bytes at the end of a file tell whether it has a seal."""

_FOOTER: Final = struct.Struct("<I4s")


class Broken(Exception):
    """The bytes are not those that were written; says where."""


@dataclass(frozen=True)
class Seal:
    """The checksums of a file."""

    # How many bytes the blocks cover.
    body: int
    # Rows of the file.
    rows: int
    # The CRC-32 of each block.
    blocks: tuple[int, ...]

    def check(self, content: bytes | memoryview, start: int) -> None:
        """Compare whole blocks, from the offset of the first, with their checksums; bytes behind the body are ignored.

        Raises:
            Broken: a block is not as it was written.
        """
        view = memoryview(content)[: max(0, self.body - start)]
        for at in range(0, len(view), BLOCK):
            number = (start + at) // BLOCK
            if zlib.crc32(view[at : at + BLOCK]) != self.blocks[number]:
                raise Broken(f"bytes {number * BLOCK:,} to {min(self.body, (number + 1) * BLOCK):,} were altered")


class Sealing:
    """The sink of a Parquet writer: writes everything on, and adds the seal at the end."""

    closed = False

    def __init__(self, sink: OutputStream, name: str) -> None:
        self._sink, self._name = sink, name
        self._held = b""  # the last bytes, which are to stand behind the seal
        self._body = 0
        self._blocks: list[int] = []
        self._crc = 0

    def write(self, part: bytes) -> int:
        """Take the next bytes of the file."""
        if len(part) < _FOOTER.size:
            joined = self._held + part
            self._emit(memoryview(joined)[: -_FOOTER.size])
            self._held = joined[-_FOOTER.size :]
        else:
            self._emit(memoryview(self._held))
            self._emit(memoryview(part)[: -_FOOTER.size])
            self._held = part[-_FOOTER.size :]
        return len(part)

    def _emit(self, part: memoryview) -> None:
        at = 0
        while at < len(part):
            taken = min(BLOCK - self._body % BLOCK, len(part) - at)
            self._crc = zlib.crc32(part[at : at + taken], self._crc)
            self._body, at = self._body + taken, at + taken
            if self._body % BLOCK == 0:
                self._end_block()
        if len(part):
            self._sink.write(part)  # type: ignore[arg-type]  # any buffer will do

    def _end_block(self) -> None:
        self._blocks.append(self._crc)
        self._crc = 0

    def finish(self, rows: int) -> int:
        """Write the seal and the end of the file; returns the file's length."""
        if self._body % BLOCK:
            self._end_block()
        blocks = struct.pack(f"<{len(self._blocks)}I", *self._blocks)
        length, _ = _FOOTER.unpack(self._held)
        footer = length + len(blocks) + _END.size - _FOOTER.size
        crc = _seal_crc(self._name, blocks, self._body, rows, footer)
        self._sink.write(blocks + _END.pack(self._body, rows, crc, _MAGIC, footer, _PARQUET))
        return self._body + len(blocks) + _END.size

    def tell(self) -> int:
        """Bytes taken so far: where the Parquet writer stands."""
        return self._body + len(self._held)

    def flush(self) -> None:
        """Nothing is buffered here."""

    def close(self) -> None:
        """The sink is its owner's to close."""


def length_of_seal(ending: bytes) -> int | None:
    """How many bytes at the end of a file are its seal, given the last of them; None for a file without one."""
    if len(ending) < _END.size:
        return None
    body, _, _, magic, _, _ = _END.unpack(ending[-_END.size :])
    return -(-body // BLOCK) * 4 + _END.size if magic == _MAGIC else None


def parse_seal(name: str, ending: bytes, size: int) -> Seal:
    """The seal of a file of a name and a size, from its last bytes, which hold all of the seal.

    Raises:
        Broken: the seal is damaged, or another file's.
    """
    length = length_of_seal(ending) or 0
    body, rows, crc, _, footer, parquet = _END.unpack(ending[-_END.size :])
    if body + length != size or len(ending) < length:
        raise Broken("its seal is damaged, or bytes are missing")
    blocks = ending[len(ending) - length : -_END.size]
    if parquet != _PARQUET or crc != _seal_crc(name, blocks, body, rows, footer):
        raise Broken("its seal is damaged, or another file's")
    return Seal(body, rows, struct.unpack(f"<{len(blocks) // 4}I", blocks))


def _seal_crc(name: str, blocks: bytes, body: int, rows: int, footer: int) -> int:
    return zlib.crc32(struct.pack("<QQI", body, rows, footer), zlib.crc32(blocks, zlib.crc32(name.encode())))
