"""The gaps of a gap report as rows: the `gaps` of SQL and of the HTTP service."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pyarrow as pa

from k2ctl.domain.trade import Window
from k2ctl.query.answer import Answer
from k2ctl.query.session import Session
from k2ctl.sequence.gap_report import FoundGap

GAPS_SCHEMA: Final = pa.schema(
    [
        ("exchange", pa.string()),
        ("symbol", pa.string()),
        ("first_missing", pa.int64()),
        ("last_missing", pa.int64()),
        ("missing", pa.int64()),
        ("state", pa.string()),
        ("cause", pa.string()),
        ("after", pa.timestamp("us", "UTC")),
        ("until", pa.timestamp("us", "UTC")),
    ]
)
"""first_missing, last_missing: numbers. state, cause: as in `FoundGap`. after, until: exchange times on both sides."""


def gap_table(gaps: Sequence[FoundGap]) -> pa.Table:
    """Gaps as rows of `GAPS_SCHEMA`, in their order."""
    rows = [
        (gap.exchange, gap.symbol, gap.first, gap.last, gap.missing, gap.state, gap.cause, gap.before_us, gap.after_us)
        for gap in gaps
    ]
    columns = zip(*rows, strict=True) if rows else [()] * len(GAPS_SCHEMA)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, GAPS_SCHEMA.types, strict=True)]
    return pa.table(arrays, schema=GAPS_SCHEMA)


def gaps_of(session: Session, symbols: Sequence[str], window: Window, limit: int) -> Answer:
    """The first `limit` gaps of `symbols` in `window`, by day, symbol and time.

    Raises:
        UnknownSymbol, BrokerError, LakeError: as `Session.gaps`.
    """
    report, evidence = session.gaps(symbols, window)
    return Answer(gap_table(report.gaps[:limit]), replace(evidence, more=len(report.gaps) > limit))
