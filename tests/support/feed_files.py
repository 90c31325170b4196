"""All trades of files, read as a replay reads them."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from k2ctl.feeds.files.order import TimeOrder, in_folder
from k2ctl.feeds.files.reading import FeedFiles, Findings, WantedTrades
from k2ctl.profiles.feed import load_feed


@dataclass
class Everything:
    """In order of time."""

    # dtype `TRADE.message`
    trades: np.ndarray
    findings: Findings
    late: int
    chunks: int

    @property
    def reasons(self) -> list[str]:
        """Broken lines as `file:line: reason`."""
        return [f"{one.file}:{one.line}: {one.reason}" for one in self.findings.broken]


def opened(
    where: Path | str,
    feed: str,
    *,
    exchange: str = "ASX",
    wanted: WantedTrades | None = None,
    storage: dict[str, str] | None = None,
) -> FeedFiles:
    """The files of a path, loaded as a market of equities."""
    market = {"market_exchange": exchange, "market_currency": "AUD", "market_asset_class": "equities"}
    return FeedFiles.at(load_feed(feed), str(where), storage or {}, market, time.time_ns() // 1000, wanted)


def everything(
    where: Path | str,
    feed: str,
    *,
    exchange: str = "ASX",
    wanted: WantedTrades | None = None,
    storage: dict[str, str] | None = None,
) -> Everything:
    """All trades of a path."""
    files = opened(where, feed, exchange=exchange, wanted=wanted, storage=storage)
    with in_folder() as folder:
        order = TimeOrder(files, Path(folder))
        order.survey()
        chunks = list(order.trades())
    return Everything(np.concatenate([files.none(), *chunks]), files.findings, order.late, len(chunks))
