"""The format of k2ctl's own files: frames with a magic, a length and a checksum.

    8 bytes of magic | length of the body, 8 bytes | CRC-32 of the body, 4 bytes | body

Numbers are little-endian. Most files are one frame. A file of several is read past a damaged one.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

_HEADER: Final = struct.Struct("<8sQI")
HEADER_BYTES: Final = _HEADER.size


def frame_header(magic: bytes, *parts: bytes) -> bytes:
    """The header of a frame whose body is these parts, for a writer that does not join them."""
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return _HEADER.pack(magic, sum(map(len, parts)), checksum)


def framed(magic: bytes, body: bytes) -> bytes:
    """A whole frame."""
    return frame_header(magic, body) + body


def body_of(magic: bytes, content: bytes) -> memoryview:
    """The body of a file that is one frame.

    Raises:
        ValueError: it has another magic, is torn, or was altered.
    """
    if not magic.startswith(content[: len(magic)]):
        raise ValueError("its magic is another: another program or version has written it")
    body = _body(magic, content, 0)
    if body is None or len(body) + HEADER_BYTES != len(content):
        raise ValueError("its checksum or its length does not match")
    return body


def bodies_of(magic: bytes, content: bytes) -> Iterator[memoryview | None]:
    """The body of each intact frame of a file; None for each stretch of damage."""
    at = 0
    while at < len(content):
        body = _body(magic, content, at)
        yield body
        if body is not None:
            at += HEADER_BYTES + len(body)
        else:
            found = content.find(magic, at + 1)
            at = len(content) if found < 0 else found


def _body(magic: bytes, content: bytes, at: int) -> memoryview | None:
    """The body of the frame at a position; None where there is no intact one."""
    if len(content) - at < HEADER_BYTES:
        return None
    own, length, checksum = _HEADER.unpack_from(content, at)
    body = memoryview(content)[at + HEADER_BYTES :][:length]
    return body if own == magic and len(body) == length and zlib.crc32(body) == checksum else None
