"""Files of a feed as trades: what each line is, and which lines are none."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from k2ctl.domain.trade import TRADE
from k2ctl.errors import UsageError, first_line
from k2ctl.feeds.files.beside import names_beside
from k2ctl.feeds.files.csv_file import CsvFile
from k2ctl.feeds.files.found import FeedFile, find_files, name_groups
from k2ctl.feeds.files.mapper import MappedPiece, PieceMapper
from k2ctl.feeds.files.ndjson_file import NdjsonFile
from k2ctl.feeds.files.parquet_file import ParquetFile
from k2ctl.feeds.files.pieces import BLOCK_BYTES, BrokenLine, FileFormat
from k2ctl.feeds.mapping.mapping import Prepared
from k2ctl.profiles.feed import DeclaredFeed
from k2ctl.profiles.model import MarketSettings

SHOWN_BROKEN_LINES: Final = 10
"""Of a file."""

MOST_BROKEN_LINES: Final = 1_000
"""Of all files."""


@dataclass(frozen=True)
class WantedTrades:
    """Which trades of the files are asked for."""

    # Nanoseconds of the venue's time, [since, until); None leaves that side open.
    since_ns: int | None = None
    until_ns: int | None = None
    # None: all.
    symbols: Collection[str] | None = None

    def among(self, trades: np.ndarray) -> np.ndarray:
        """Those of some trades."""
        masks = []
        if self.since_ns is not None:
            masks.append(trades["event_ns"] >= self.since_ns)
        if self.until_ns is not None:
            masks.append(trades["event_ns"] < self.until_ns)
        if self.symbols is not None:
            masks.append(np.isin(trades["symbol"], np.array([name.encode() for name in self.symbols])))
        mask = np.logical_and.reduce(masks) if masks else np.ones(1, np.bool_)
        return trades if mask.all() else trades.take(np.flatnonzero(mask))


@dataclass
class Findings:
    """What was found in files beside trades."""

    # The first lines of each file that are no trades, of `broken_count`.
    broken: list[BrokenLine] = field(default_factory=list)
    broken_count: int = 0
    # Rows that the feed's `where` leaves out.
    filtered: int = 0
    _shown: dict[str, int] = field(default_factory=dict)

    def add(self, file: str, mapped: MappedPiece) -> None:
        """What a piece of a file has beside trades."""
        self.filtered += mapped.filtered
        if mapped.broken:
            self._add(file, mapped.broken)

    def break_off(self, file: str, line: int, error: OSError) -> None:
        """A file that cannot be read from a line on."""
        self._add(file, [(line, f"the file cannot be read from here on: {first_line(error)}")])

    def _add(self, file: str, lines: list[tuple[int, str]]) -> None:
        room = min(SHOWN_BROKEN_LINES - self._shown.get(file, 0), MOST_BROKEN_LINES - len(self.broken))
        chosen = sorted(lines)[: max(0, room)]
        self.broken += [BrokenLine(file, line, reason) for line, reason in chosen]
        self._shown[file] = self._shown.get(file, 0) + len(chosen)
        self.broken_count += len(lines)


def market_columns(market: MarketSettings) -> dict[str, str]:
    """What a profile says of the market, as columns of every file."""
    return {
        "market_exchange": market.exchange,
        "market_currency": market.currency,
        "market_asset_class": market.asset_class,
    }


class FeedFiles:
    """The files of a path, read by a feed.

    columns: beside those of the source, the same for all files; `said` are those that somebody gives for what the names
    of the files do not say. A row's time may be at most a little after `now_us`.
    """

    def __init__(
        self,
        declared: DeclaredFeed,
        files: Sequence[FeedFile],
        columns: Mapping[str, str],
        now_us: int,
        wanted: WantedTrades | None = None,
        said: Mapping[str, str] | None = None,
    ) -> None:
        self.declared, self.files, self.wanted = declared, files, wanted or WantedTrades()
        self.where = ""
        """The path of the files, as it was given."""

        self.findings = Findings()
        texts = [text for _, text in declared.feed.expressions()]
        self._columns = {name: value for name, value in columns.items() if any(name in text for text in texts)}
        self._said = _useful(said or {}, declared, texts)
        self._now_us = now_us
        self.is_stopped = False
        """Set by another thread: files end where they are."""

        self._mapper = PieceMapper(declared, now_us)
        self._beside: dict[str, dict[str, dict[str, str]]] = {}
        self.has_receive_times = declared.feed.trade.ingestion_timestamp is not None

    @classmethod
    def at(
        cls,
        declared: DeclaredFeed,
        where: str,
        storage: Mapping[str, str],
        columns: Mapping[str, str],
        now_us: int,
        wanted: WantedTrades | None = None,
        said: Mapping[str, str] | None = None,
    ) -> "FeedFiles":
        """The files of a path, see `find_files`. A feed of JSON records reads lines of them.

        Raises:
            UsageError: there are none, or the feed is not of files.
        """
        if declared.feed.source.format == "json":
            declared = _of_lines(declared)
        if not declared.feed.source.is_of_files:
            raise UsageError(
                f"The feed {declared.name} is of {declared.feed.source.format}, which topics hold, not files.",
                f"Read its topic: k2ctl consume --feed {declared.name}",
            )
        files = find_files(where, declared.feed.source, storage)
        found = cls(declared, files, columns, now_us, wanted, said)
        found.where = where
        return found

    def open(self, file: FeedFile) -> FileFormat:
        """One of the files, by the feed's format, its expressions bound to its columns.

        Raises:
            OSError: it cannot be read.
            UsageError: the feed does not fit it.
        """
        source, constants = self.declared.feed.source, self._constants(file)
        opened: FileFormat
        if source.format == "csv":
            opened = CsvFile(file, source, constants)
        elif source.format == "ndjson":
            opened = NdjsonFile(file, source, constants)
        elif source.format == "parquet":
            opened = ParquetFile(file, constants, self._needed)
        else:
            from k2ctl.feeds.files.dbn_file import DbnFile  # a library of its own

            opened = DbnFile(file, constants)
        self._mapper.bind(opened.empty())
        return opened

    def _needed(self, prepared: Prepared) -> frozenset[str]:
        """The columns that make a trade; where nothing identifies one, all."""
        if self.declared.feed.identity == "look-alikes":
            return frozenset(prepared.table.column_names)
        return frozenset(column for one in self._mapper.bind(prepared).bound.values() for column in one.columns)

    def _constants(self, file: FeedFile) -> dict[str, str | None]:
        """What is said of a file: by its name, by the table of names beside it, by the profile."""
        source = self.declared.feed.source
        groups: dict[str, str | None] = {}
        if source.file_name is not None:
            found = name_groups(file, source.file_name)
            lacking = [name for name in re.compile(source.file_name).groupindex if name not in self._said]
            if found is None and lacking:
                options = " ".join(f"--column {name}=…" for name in lacking)
                raise UsageError(
                    f"{file.name}: its name does not fit the feed's file_name: {source.file_name}",
                    f"Rename the file, or give what its name does not say: {options}",
                )
            groups = found or {}
        beside = self._names_beside(file, groups)
        return {**self._columns, "file_name": file.base_name, **groups, **beside, **self._said}

    def _names_beside(self, file: FeedFile, groups: Mapping[str, str | None]) -> dict[str, str | None]:
        beside = self.declared.feed.source.names
        if beside is None:
            return {}
        if file.folder not in self._beside:
            self._beside[file.folder] = names_beside(file, beside)
        row = self._beside[file.folder].get(groups.get(beside.by) or "", {})
        return {column: row.get(column) for column in beside.columns}

    def read(self, file: FeedFile, size: int, *, is_in_order: bool) -> Iterator[np.ndarray]:
        """The wanted trades of a file, those of about `size` bytes at once; what ends it early is a broken line."""
        line, until_ns = 0, self.wanted.until_ns
        try:
            for mapped in self._mapper.ahead(self.open(file).pieces(size)):
                if self.is_stopped:
                    return
                trades, lines = mapped.trades, mapped.piece.lines
                line = max(line, int(lines[-1]) if len(lines) else 0)
                self.findings.add(file.name, mapped)
                chosen = self.wanted.among(trades)
                if len(chosen):
                    yield chosen
                elif is_in_order and until_ns is not None and len(trades) and (trades["event_ns"] >= until_ns).all():
                    return
        except OSError as error:
            self.findings.break_off(file.name, line + 1, error)

    def sampled(self, file: FeedFile, *, whole: bool) -> Iterator[np.ndarray]:
        """Trades of all parts of a file, in order, wanted or not; nothing is noted, for all of it is read later.

        whole: all of them.
        """
        try:
            opened = self.open(file)
            for mapped in self._mapper.ahead(opened.pieces(BLOCK_BYTES) if whole else opened.samples()):
                if len(mapped.trades):
                    yield mapped.trades
        except OSError:
            return

    def require_trades(self) -> None:
        """Look for one trade in all files, wanted or not.

        Raises:
            UsageError: there is none, with the first line that fails.
        """
        for file in self.files:
            if next(self.sampled(file, whole=False), None) is not None:
                return
        everything = FeedFiles(self.declared, self.files, self._columns, self._now_us, said=self._said)
        for file in self.files:
            if next(everything.read(file, BLOCK_BYTES, is_in_order=False), None) is not None:
                return
        found = everything.findings
        first = f" {found.broken[0].file}:{found.broken[0].line}: {found.broken[0].reason}." if found.broken else ""
        left_out = f" The feed's `where` leaves {found.filtered:,} rows out." if found.filtered else ""
        raise UsageError(
            f"There are no trades of the feed {self.declared.name} in {self.where}.{first}{left_out}",
            f"What the feed makes of it: k2ctl feed check '{self.where}' --feed {self.declared.argument}",
        )

    def none(self) -> np.ndarray:
        """No trades."""
        return TRADE.empty(0)


def _of_lines(declared: DeclaredFeed) -> DeclaredFeed:
    """The same feed for files that hold a record a line."""
    source = declared.feed.source.model_copy(update={"format": "ndjson"})
    return replace(declared, feed=declared.feed.model_copy(update={"source": source}))


def _useful(said: Mapping[str, str], declared: DeclaredFeed, texts: Sequence[str]) -> dict[str, str]:
    """The columns that somebody gives.

    Raises:
        UsageError: no expression names one of them.
    """
    for name in said:
        if not any(re.search(rf"\b{re.escape(name)}\b", text) for text in texts):
            raise UsageError(
                f"The feed {declared.name} makes nothing of a column {name[:40]}.",
                f"What it is made of: k2ctl feed show {declared.name}",
            )
    return dict(said)
