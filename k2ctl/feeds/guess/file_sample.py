"""A sample of a file as columns: CSV sniffed by DuckDB, lines of JSON, Parquet."""

import csv
import io
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from k2ctl.errors import UsageError
from k2ctl.feeds.check.file_parts import format_of
from k2ctl.feeds.files.found import FeedFile
from k2ctl.feeds.files.lines import blocks
from k2ctl.feeds.guess.columns import SampleColumn
from k2ctl.feeds.guess.document import FeedSample
from k2ctl.feeds.guess.json_layout import layout_of
from k2ctl.feeds.guess.names import USUAL
from k2ctl.feeds.guess.registry_sample import typed_columns
from k2ctl.lake.duckdb_files import silent

SAMPLE_BYTES: Final = 1 << 20
_DELIMITERS: Final = ",;|\t"
_NAMES: Final = {name for names in USUAL.values() for name in names if len(name) > 1}


def sample_of_file(file: FeedFile, rows: int) -> FeedSample:
    """The first rows of a file.

    Raises:
        OSError: it cannot be read.
        UsageError: it is empty, or of no format that says its columns.
    """
    form = format_of(file)
    if form == "parquet":
        return _of_parquet(file, rows)
    if form == "dbn":
        raise UsageError(f"{file.name} is DBN, and no trades of Databento.", "Ask for the schema `trades`.")
    content = next((block.content for block in blocks(file, SAMPLE_BYTES) if block.content.strip()), b"")
    if not content:
        raise UsageError(f"{file.name} is empty.", "Name a file with trades.")
    return _of_lines(file, content, rows) if form == "ndjson" else _of_csv(file, content, rows)


def _of_lines(file: FeedFile, content: bytes, rows: int) -> FeedSample:
    lines = [line for line in content.splitlines() if line.strip()][:rows]
    layout = layout_of(lines)
    if not layout.columns:
        raise UsageError(f"{file.name} is neither lines of JSON nor CSV.", "Write each trade as one line of JSON.")
    settings = {} if layout.trades is None else {"trades": layout.trades}
    remarks = [f"{layout.broken:,} lines are no JSON."] if layout.broken else []
    return FeedSample(file.base_name, "ndjson", layout.columns, layout.record, settings, remarks=remarks)


@dataclass(frozen=True)
class _Dialect:
    delimiter: str
    quote: str
    has_header: bool


def _of_csv(file: FeedFile, content: bytes, rows: int) -> FeedSample:
    text = content.decode("utf-8-sig", "replace")
    dialect = _sniffed(text)
    quoting: Any = csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE
    reader = csv.reader(
        io.StringIO(text), delimiter=dialect.delimiter, quotechar=dialect.quote or None, quoting=quoting
    )
    try:
        table = [row for row, _ in zip(reader, range(rows + dialect.has_header), strict=False) if row]
    except csv.Error as error:
        raise UsageError(f"{file.name} is no CSV: {error}", "Name a file with a trade in each line.") from error
    names = [name.strip() for name in table[0]]
    if not dialect.has_header:
        names = [f"column{at}" for at in range(1, len(names) + 1)]
    lower = [name.lower() for name in names]
    twice = next((name for name in names if lower.count(name.lower()) > 1), None)
    if twice is not None:
        raise UsageError(f"{file.name} has two columns that are named {twice[:40]!r}.", "Give one another name.")
    whole = [row for row in table[dialect.has_header :] if len(row) == len(names)]
    if not whole:
        raise UsageError(f"{file.name} has no rows but its first line.", "Name a file with trades.")
    columns = [SampleColumn(name, values) for name, values in zip(names, zip(*whole, strict=True), strict=True)]
    others = len(table) - dialect.has_header - len(whole)
    settings: dict[str, Any] = {} if dialect.delimiter == "," else {"delimiter": dialect.delimiter}
    if not dialect.has_header:
        settings["header"] = False
    return FeedSample(
        file.base_name,
        "csv",
        columns,
        settings=settings,
        header=dialect.has_header,
        remarks=[f"{others:,} lines have not {len(names)} columns."] if others else [],
    )


def _sniffed(text: str) -> _Dialect:
    """What DuckDB sees in a CSV; what it cannot see, the first line says."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.csv"
        path.write_text(text, encoding="utf-8")
        sniffed = list[tuple[str, str, bool]]()
        with suppress(duckdb.Error), silent(duckdb.connect()) as connection:
            asked = "SELECT Delimiter, Quote, HasHeader FROM sniff_csv(?)"
            sniffed = connection.execute(asked, [str(path)]).fetchall()
    first = text.partition("\n")[0]
    likely = max(_DELIMITERS, key=first.count)
    delimiter, quote, has_header = sniffed[0] if sniffed else (likely, '"', False)
    if delimiter not in first:
        delimiter = likely
    cells = ["".join(sign for sign in cell if sign.isalnum()).lower() for cell in first.split(delimiter)]
    named = sum(cell in _NAMES for cell in cells)
    return _Dialect(
        delimiter, '"' if quote in ("(empty)", "") else quote, named > 1 or (bool(has_header) and named > 0)
    )


def _of_parquet(file: FeedFile, rows: int) -> FeedSample:
    with file.system.open_input_file(file.path) as raw:
        try:
            batch = next(pq.ParquetFile(raw).iter_batches(rows), None)
        except pa.ArrowInvalid as error:
            raise OSError(str(error).partition("\n")[0]) from error
    if batch is None or not batch.num_rows:
        raise UsageError(f"{file.name} has no rows.", "Name a file with trades.")
    return FeedSample(file.base_name, "parquet", typed_columns(pa.Table.from_batches([batch])))
