"""What the demo reads from its stack: the platform at a moment, answers to queries, what became of the trades."""

from contextlib import suppress
from typing import Any

from k2ctl.demo.result import Sample, Tick
from k2ctl.domain.checkpoint import Counts
from k2ctl.domain.window import Window
from k2ctl.endpoints import Endpoints
from k2ctl.errors import K2Error
from k2ctl.kafka.overview import OverviewReader
from k2ctl.kafka.telemetry import TelemetryReader
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.query.answer import Answer
from k2ctl.query.session import Session


class Readings:
    """Reads as anybody does: from telemetry, Kafka and the table, never from the processes on the stage."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._overview = OverviewReader(endpoints)
        self._telemetry = TelemetryReader(endpoints)

    def tick(self, at_s: float, *, naive: bool) -> Tick:
        """The platform as it stands, at_s after the act began; with `naive` also what the naive consumer says."""
        overview = self._overview.poll(0.1)
        status = self._naive() if naive else None
        critical: Any = status and status.get("critical_lag_seconds")
        sample = Sample(
            round(at_s, 2),
            overview.level_number,
            overview.lag_trades,
            overview.lag_seconds,
            overview.critical_lag_seconds,
            None if critical is None else float(critical),
        )
        return Tick(overview, sample, status)

    def _naive(self) -> dict[str, object] | None:
        statuses = self._telemetry.poll(0.0).others.values()
        return next((status for status in statuses if status.get("kind") == "naive"), None)

    def query(self, symbol: str | None, window: Window, limit: int | None = None, *, deferred: bool = False) -> Answer:
        """Ask the platform, as `k2ctl query recent` does."""
        with Session.at(self._endpoints) as session:
            return session.recent(symbol, window, limit, deferred=deferred)

    def counts(self) -> Counts:
        """What became of the trades, by the table."""
        with Lake.at(self._endpoints) as lake:
            table = lake.find_table()
            return Counts() if table is None else checkpoints_of(table).total()

    def close(self) -> None:
        """Leave the broker."""
        with suppress(K2Error):
            self._overview.close()
        with suppress(K2Error):
            self._telemetry.close()
