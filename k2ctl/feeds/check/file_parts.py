"""The lines of files, and what a feed makes of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from k2ctl.domain.trade import RefusedTrade
from k2ctl.domain.validity import invalid
from k2ctl.errors import UsageError
from k2ctl.feeds.check.check import Part
from k2ctl.feeds.check.checked import Origin
from k2ctl.feeds.check.topic_parts import CUT_BYTES, text_of
from k2ctl.feeds.files.found import FeedFile
from k2ctl.feeds.files.lines import blocks
from k2ctl.feeds.files.pieces import Piece
from k2ctl.feeds.files.reading import FeedFiles
from k2ctl.feeds.mapping.mapping import Mapping, in_order
from k2ctl.profiles.feed import DeclaredFeed, Format, Source

PART_BYTES: Final = 1 << 20
BEGIN_BYTES: Final = 4_096
_OF_LINES: Final = ("csv", "ndjson")
_NO_COLUMNS: Final = ("_record", "_index", "_bad", "_alike", "line", "file_name")


def file_parts(files: FeedFiles, now_us: int, size: int = PART_BYTES) -> Iterator[Part]:
    """What a feed makes of files, some lines at a time, of about `size` bytes.

    Raises:
        OSError: a file cannot be read.
        UsageError: the feed does not fit a file.
        ProfileError: an expression does not fit the columns.
    """
    mapping = Mapping(files.declared)
    for file in files.files:
        _require_format(file, files.declared)
        for piece in files.open(file).pieces(size):
            yield _part(mapping, file, piece, now_us)


def _require_format(file: FeedFile, declared: DeclaredFeed) -> None:
    """A file of another kind would be lines of rubbish."""
    begins, wanted = format_of(file), declared.feed.source.format
    if begins != wanted and (begins, wanted) != ("csv", "ndjson"):
        raise UsageError(
            f"{file.name} begins as {begins} does, and the feed {declared.name} reads {wanted}.",
            f"Name another feed, or begin one: k2ctl feed guess {file.name}",
        )


def format_of(file: FeedFile) -> Format:
    """The format of a file, by how it begins.

    Raises:
        OSError: it cannot be read.
    """
    opened = file.open()
    try:
        begun = opened.read(BEGIN_BYTES)
    finally:
        opened.close()
    if begun.startswith(b"PAR1"):
        return "parquet"
    if begun.startswith(b"DBN"):
        return "dbn"
    text = begun.removeprefix(b"\xef\xbb\xbf").lstrip()
    return "ndjson" if text[:1] in (b"{", b"[") else "csv"


def _part(mapping: Mapping, file: FeedFile, piece: Piece, now_us: int) -> Part:
    source, lines = mapping.feed.source, piece.lines
    mapped = in_order([mapping.trades(prepared) for prepared in piece.parts.prepared])
    trades, record = mapped.trades, mapped.record
    if mapping.feed.trade.ingestion_timestamp is None:
        trades["received_ns"] = now_us * 1000
    bad = invalid(trades, now_us, source.earliest_us)
    refused = [RefusedTrade(int(record[at]), int(mapped.index[at]), why) for at, why in bad.items()]
    kept = np.delete(np.arange(len(trades)), list(bad))
    return Part(
        records=len(lines) + len(piece.broken),
        trades=trades[kept],
        record=lines[record[kept]],
        broken=[
            *piece.broken,
            *((int(lines[at]), reason) for at, reason in piece.parts.broken),
            *((int(lines[at]), piece.why_bad(int(at))) for at in mapped.bad),
        ],
        refused=[
            replace(one, record=int(lines[one.record])) for one in (*piece.parts.refused, *mapped.refused, *refused)
        ],
        filtered=len(mapped.filtered) + len(piece.parts.filtered),
        origin=_Lines(file, piece, source).origin,
    )


@dataclass(frozen=True)
class _Lines:
    """Finds what a line of a file looks like."""

    file: FeedFile
    piece: Piece
    source: Source

    def origin(self, line: int) -> Origin:
        text = self._line(line) if self.source.format in _OF_LINES else self._row(line)
        return Origin(f"{self.file.name}:{line}", text)

    def _line(self, line: int) -> str:
        """As it is in the file."""
        for block in blocks(self.file, PART_BYTES):
            if block.first + block.count > line:
                rows = block.content.split(b"\n", line - block.first + 1)
                return text_of(rows[line - block.first].rstrip(b"\r")) if block.content else block.broken
        return ""

    def _row(self, line: int) -> str:
        """The columns of a row, of a file without lines."""
        at = np.flatnonzero(self.piece.lines == line)
        if not len(at):
            return ""
        row = self.piece.parts.prepared[0].table.slice(int(at[0]), 1).to_pylist()[0]
        text = ", ".join(f"{name} {value}" for name, value in row.items() if name not in _NO_COLUMNS)
        return text[:CUT_BYTES]
