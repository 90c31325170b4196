"""Text files, some megabytes of whole lines at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from k2ctl.feeds.files.found import FeedFile, OpenedFile

LONGEST_LINE: Final = 16 << 20
"""Bytes. What is longer is no line of trades."""

SAMPLE_BYTES: Final = 1 << 16
SAMPLE_EVERY: Final = 8 << 20
MOST_SAMPLES: Final = 256
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Block:
    """Whole lines of a file."""

    # The number of the first line, from 1.
    first: int
    # Empty of a line that is too long.
    content: bytes
    # Of a line that is left out, why.
    broken: str = ""

    @property
    def count(self) -> int:
        """Lines; the last one of a file may lack its end."""
        return self.content.count(b"\n") + (not self.content.endswith(b"\n")) if self.content else 0


def blocks(file: FeedFile, size: int, skip: int = 0) -> Iterator[Block]:
    """The lines of a file, about `size` bytes at once, without the first `skip` of them.

    Raises:
        OSError: it cannot be read to its end; the lines before that came.
    """
    opened = file.open()
    try:
        for block in _blocks(opened, size):
            if block.first > skip:
                yield block
            elif block.count > skip:
                at = 0
                for _ in range(skip):
                    at = block.content.index(b"\n", at) + 1
                yield Block(skip + 1, block.content[at:])
    finally:
        opened.close()


def _blocks(opened: OpenedFile, size: int) -> Iterator[Block]:
    line, rest, too_long = 1, b"", False
    begun = opened.read(len(_BOM))
    rest = begun.removeprefix(_BOM)
    while True:
        more = opened.read(size)
        if too_long and more:  # the rest of a line that was given up
            at = more.find(b"\n")
            if at < 0:
                continue
            more, too_long, line = more[at + 1 :], False, line + 1
        content = rest + more
        cut = content.rfind(b"\n") + 1 if more else len(content)
        rest = content[cut:]
        if cut:
            block = Block(line, content[:cut])
            line += block.count
            yield block
        if len(rest) > LONGEST_LINE:
            yield Block(line, b"", f"longer than {LONGEST_LINE >> 20} MB")
            rest, too_long = b"", True
        if not more:
            return


def first_lines(file: FeedFile, count: int = 1) -> list[bytes]:
    """The first lines of a file, without their ends.

    Raises:
        OSError: it cannot be read.
    """
    for block in blocks(file, SAMPLE_BYTES):
        return [line.rstrip(b"\r") for line in block.content.split(b"\n")[:count]]
    return []


def samples(file: FeedFile, skip: int) -> Iterator[bytes]:
    """Whole lines of all parts of a file, in order: of its beginning, its end, and some between.

    skip: lines at the beginning that are no rows. A compressed file is read as a whole, for nobody can seek in it.

    Raises:
        OSError: it cannot be read.
    """
    opened = file.open()
    try:
        found = _by_seeking(opened) if opened.is_plain else _by_reading(opened)
        for number, content in enumerate(found):
            yield content if number or not skip else content.split(b"\n", skip)[-1]
    finally:
        opened.close()


def _by_seeking(opened: OpenedFile) -> Iterator[bytes]:
    step = max(SAMPLE_EVERY, opened.size // MOST_SAMPLES)
    last = max(0, opened.size - SAMPLE_BYTES)
    starts = [*range(0, last, step), last]
    for at, following in zip(starts, [*starts[1:], opened.size], strict=True):
        opened.stream.seek(at)
        content = opened.read(min(SAMPLE_BYTES, following - at))
        yield _whole(content, from_start=at == 0, to_end=at + len(content) >= opened.size)


def _by_reading(opened: OpenedFile) -> Iterator[bytes]:
    number, before = 0, b""
    while content := opened.read(SAMPLE_EVERY):
        yield _whole(content[:SAMPLE_BYTES], from_start=number == 0, to_end=len(content) < SAMPLE_BYTES)
        number, before = number + 1, content
    if len(before) > SAMPLE_BYTES:
        yield _whole(before[max(SAMPLE_BYTES, len(before) - SAMPLE_BYTES) :], from_start=False, to_end=True)


def _whole(content: bytes, *, from_start: bool, to_end: bool) -> bytes:
    """The lines of some bytes that are whole."""
    first = 0 if from_start else content.find(b"\n") + 1
    last = len(content) if to_end else content.rfind(b"\n") + 1
    return content[first:last].removeprefix(_BOM if from_start else b"")
