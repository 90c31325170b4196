"""The seals of the table's files: checksums over all of a file's bytes, in the file itself.

A data file's seal also has its count of rows. Parquet's page checksums leave out page headers and the footer, and
DuckDB looks at none of them. Readers of Parquet ignore bytes between metadata and footer length, so the seal is there:

    pages, indexes, metadata | CRC-32 of each block of these | lengths, rows, CRC-32 of the seal | footer length, PAR1

A manifest, a manifest list or a metadata file has a digest, which every reader of these formats ignores. An Avro file
has a marker of sixteen bytes of the writer's choice behind its header and behind each block: ours is a word and the
digest of the rest. A metadata file is a JSON object, in which ours is a first key that no reader knows.

Each seal covers the file's name too, so that the content of another file is not taken for this one's.
"""

import hashlib
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
"""So many bytes at the end of a file show whether it has a seal."""

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


_WORD: Final = b"K2SEAL"
_MARKER_BYTES: Final = 16
_KEY: Final = b'{"k2-seal":"'
_DIGEST_BYTES: Final = _MARKER_BYTES - len(_WORD)


def is_metadata(location: str) -> bool:
    """Whether a file of such a name is sealed here."""
    return location.endswith((".avro", ".metadata.json"))


def sealed(name: str, content: bytes) -> bytes:
    """The content of a new file with its seal; as it is where it is of no known form."""
    if name.endswith(".avro"):
        marker = content[-_MARKER_BYTES:]
        return content.replace(marker, _marker(name, content.split(marker)))
    if content.startswith(b'{"'):
        rest = content[1:]
        return _KEY + _digest(name, [rest]).hex().encode() + b'",' + rest
    return content


def hold(name: str, content: bytes) -> None:
    """Compare a file with its seal; one without a seal was written by another program.

    Raises:
        Broken: it is not as it was written.
    """
    if name.endswith(".avro"):
        marker = content[-_MARKER_BYTES:]
        whole = _WORD not in content or marker == _marker(name, content.split(marker))
    elif content.startswith(_KEY):
        end = len(_KEY) + 2 * _DIGEST_BYTES
        rest = content[end + 2 :]
        whole = content[len(_KEY) : end] == _digest(name, [rest]).hex().encode() and content[end : end + 2] == b'",'
    else:
        whole = True
    if not whole:
        raise Broken("bytes were altered")


def _marker(name: str, parts: list[bytes]) -> bytes:
    return _WORD + _digest(name, parts)


def _digest(name: str, parts: list[bytes]) -> bytes:
    """Of the parts with their lengths: a marker that stands elsewhere changes it."""
    digest = hashlib.blake2b(name.encode(), digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()
