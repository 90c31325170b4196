"""An answer in a notebook: rows as Arrow, Polars or pandas, and the proof of where they come from."""

import html
import importlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from k2ctl.errors import UsageError
from k2ctl.query.answer import Evidence
from k2ctl.query.formats import text_column
from k2ctl.query.texts import with_nanoseconds

_SHOWN: Final = 10
_WIDTH: Final = 100


@dataclass(frozen=True, repr=False)
class ClientAnswer:
    """Rows, and why they can be trusted."""

    table: pa.Table
    # Where the rows come from, in full.
    evidence: Evidence
    # False of SQL, whose rows are not rows of the sources.
    counted: bool = True

    @property
    def complete(self) -> bool:
        """True if every trade that was acknowledged before the question is in the answer, or cut by its limit."""
        return self.evidence.complete

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why rows may be missing; empty if the answer is complete."""
        return self.evidence.missing

    @property
    def more(self) -> bool:
        """True if the limit cut older rows off."""
        return self.evidence.more

    @property
    def snapshot_id(self) -> int | None:
        """The table's snapshot; None before there is one."""
        return self.evidence.snapshot_id

    @property
    def boundary(self) -> dict[str, Mapping[int, int]]:
        """Topic → partition → the first offset that came from the stream; everything before it is the table's."""
        return {span.topic: span.boundary for span in self.evidence.spans}

    @property
    def watermarks(self) -> dict[str, Mapping[int, int]]:
        """Topic → partition → the end of its log when the question began."""
        return {span.topic: span.watermarks for span in self.evidence.spans}

    @property
    def rows_per_source(self) -> dict[str, int] | None:
        """Trades of the rows from the lake and from the stream; None of SQL."""
        counts = {"lake": self.evidence.lake_rows, "stream": self.evidence.tail_rows}
        return counts if self.counted else None

    @property
    def freshness_s(self) -> float | None:
        """Age of the newest trade when the answer was there, in seconds; None without rows, and of bars and SQL."""
        return self.evidence.newest_age_s

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table."""
        return self.table

    def to_polars(self) -> Any:
        """The rows as a `polars.DataFrame`.

        Raises:
            UsageError: Polars is not installed.
        """
        return _library("polars").from_arrow(self.table)

    def to_pandas(self, **options: Any) -> Any:
        """The rows as a `pandas.DataFrame`; prices and quantities are decimals. options: of Arrow's `to_pandas`.

        Raises:
            UsageError: pandas is not installed.
        """
        _library("pandas")
        return self.table.to_pandas(**options)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        from rich.console import Console

        from k2ctl.views.query import rows_table, trades_table

        shown = self._shown()
        is_trade = {"kafka_offset", "side", "sector"} <= set(shown.column_names)
        page = io.StringIO()
        console = Console(file=page, width=_WIDTH, markup=False, highlight=False, color_system=None)
        if len(shown):
            console.print((trades_table if is_trade else rows_table)(shown, _WIDTH).table)
        for line in self._lines():
            console.print(line, soft_wrap=True)
        return "\n".join(line.rstrip() for line in page.getvalue().rstrip().splitlines())

    def _repr_html_(self) -> str:
        shown = self._shown()
        names = "".join(f"<th>{html.escape(name)}</th>" for name in shown.column_names)
        columns = [text_column(column) for column in shown.columns]
        rows = "".join(_html_row(row) for row in zip(*columns, strict=True))
        proof = "<br>".join(html.escape(line) for line in self._lines())
        return f"<table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table><p>{proof}</p>"

    def _shown(self) -> pa.Table:
        return with_nanoseconds(self.table.slice(0, _SHOWN))

    def _lines(self) -> list[str]:
        """What is said below the rows, as `k2ctl query` does."""
        from k2ctl.views.query import footer

        left_out = len(self.table) - _SHOWN
        lines = [f"… and {left_out:,} more rows, of {len(self.table):,}"] if left_out > 0 else []
        return lines + [line.plain for line in footer(self.evidence, len(self.table) if self.counted else None)]


def _html_row(values: Sequence[str | None]) -> str:
    return "<tr>" + "".join(f"<td>{html.escape(value or '')}</td>" for value in values) + "</tr>"


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(f"{name} is not installed.", f"Install it: pip install {name}") from None
