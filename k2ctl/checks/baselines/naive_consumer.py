"""The naive baseline: what is often written first, kept to be compared with.

One record after the other: parse it, look its id up in a set, its sequence number in a dict, append a dict to a list,
and write the list to Iceberg every second while nothing is read. Kafka commits offsets by itself, and all symbols wait
in one queue. It is not slowed on purpose: orjson parses, SBE is unpacked with one compiled struct, prices are floats,
and a record is read only once. What it does not do is what it shows: a kill between the client's commit and the append
loses rows, one between the append and the commit stores rows twice, and under load CRITICAL trades wait with the rest.

    python -m k2ctl.checks.baselines.naive_consumer --until-caught-up
"""

import argparse
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson
import psutil

from k2ctl.checks.baselines.tutorial_consumer import PlainConsumer
from k2ctl.checks.baselines.tutorial_table import PlainTable
from k2ctl.clock import SystemClock
from k2ctl.consume.degradation import Budget
from k2ctl.domain.topics import WireFormat, trades_topic
from k2ctl.domain.trade import DECIMAL_ONE, NO_SEQUENCE, SIDES, TRADE
from k2ctl.endpoints import Endpoints, require_endpoints
from k2ctl.errors import K2Error
from k2ctl.kafka.telemetry import PUBLISH_EVERY_S, TelemetryWriter
from k2ctl.lake.catalog import Lake
from k2ctl.profiles import Profile, load_profile
from k2ctl.timing import SlidingWindow, rate

KIND: Final = "naive"
GROUP: Final = "naive"
QUIET_S: Final = 3.0
"""Nothing read for so long, and nothing waiting, is caught up."""

BUDGET_PAUSE_S: Final = 0.002

Row = dict[str, Any]


@dataclass(frozen=True)
class NaiveStatus:
    """What the naive consumer says of itself on `k2.telemetry`. Counts are trades unless named records.

    lag_records: high watermarks − what was handled; critical_lag_records: of the partitions of CRITICAL symbols.
    lag_seconds, critical_lag_seconds: age of the last handled record of the partition that is furthest behind.
    skipped_records: offsets that were jumped over without a word, because Kafka no longer had them.
    stored: rows in its table; pending: in memory. cpu_s: processor time so far. handled_s: from the start to the last
    record that was read. None means unknown.
    """

    id: str
    at_us: int
    topic: str
    records: int
    trades: int
    stored: int
    pending: int
    duplicates: int
    gaps: int
    broken_records: int
    skipped_records: int
    lag_records: int | None
    critical_lag_records: int | None
    lag_seconds: float | None
    critical_lag_seconds: float | None
    rate: float
    memory_bytes: int
    cpu_s: float
    elapsed_s: float
    handled_s: float
    kind: str = KIND
    stopped: bool = False


def parse_json(value: bytes) -> Iterable[Row]:
    """A JSON trade, or an array of them, as rows."""
    document = orjson.loads(value)
    for trade in document if isinstance(document, list) else [document]:
        trade["price"], trade["quantity"] = float(trade["price"]), float(trade["quantity"])
        yield trade


_FORMATS: Final = {"V": "s", "S": "s", "u1": "B", "u2": "H", "u8": "Q", "i8": "q"}
_STRUCT: Final = struct.Struct(
    "<"
    + "".join(
        f"{kind.itemsize}s" if kind.kind in "SV" else _FORMATS[kind.str[1:]]
        for kind in (TRADE.message[name] for name in TRADE.message.names or ())
    )
)


def parse_sbe(value: bytes) -> Iterable[Row]:
    """The trades of an SBE record as rows, one message at a time."""
    for fields in _STRUCT.iter_unpack(value):
        _, _, _, _, message_id, trade_id, timestamp, _, price, quantity, sequence, symbol, exchange, _, _, _, side = (
            fields
        )
        yield {
            "message_id": message_id.hex(),
            "trade_id": trade_id,
            "symbol": symbol.rstrip(b"\0").decode(),
            "exchange": exchange.rstrip(b"\0").decode(),
            "timestamp": timestamp,
            "price": price / DECIMAL_ONE,
            "quantity": quantity / DECIMAL_ONE,
            "side": SIDES[side],
            "source_sequence": None if sequence == NO_SEQUENCE else sequence,
        }


PARSERS: Final[dict[WireFormat, Callable[[bytes], Iterable[Row]]]] = {"json": parse_json, "sbe": parse_sbe}


class NaiveConsumer:
    """Reads one topic record by record into a table of its own, and says how far behind it is."""

    def __init__(self, endpoints: Endpoints, profile: Profile, budget: float | None = None) -> None:
        self._endpoints = endpoints
        self._budget = Budget(budget, SystemClock())
        self._topic = trades_topic(profile.market.asset_class, profile.market.exchange)
        self._parse = PARSERS[profile.topic.format]
        self._critical = range(profile.topic.critical_partitions)
        self._every_s = profile.consumer.commit_interval_s
        self._seen: set[str] = set()
        self._last: dict[str, int] = {}
        self._rows: list[Row] = []
        self._records = self._trades = self._stored = self._duplicates = self._gaps = self._broken = 0
        self._recent = SlidingWindow[int](2.0)
        self._started_s = time.monotonic()
        self._received_s = self._started_s

    def run(self, stop: threading.Event, *, until_caught_up: bool) -> NaiveStatus:
        """Consume until `stop` is set or, if asked to, until nothing waits; returns the last status.

        Raises:
            K2Error: Kafka or the catalog does not answer.
        """
        telemetry = TelemetryWriter(self._endpoints)
        with Lake.at(self._endpoints) as lake, PlainConsumer(self._endpoints, self._topic, GROUP) as consumer:
            table = PlainTable(lake)
            append_at_s = say_at_s = time.monotonic()
            while not stop.is_set():
                if self._budget.exhausted:
                    time.sleep(BUDGET_PAUSE_S)
                else:
                    self._take(consumer.next_value(0.1))
                now_s = time.monotonic()
                if now_s >= append_at_s:
                    self._append(table)
                    append_at_s = time.monotonic() + self._every_s
                if now_s >= say_at_s:
                    status = self._status(consumer)
                    telemetry.publish(status)
                    say_at_s = now_s + PUBLISH_EVERY_S
                    if until_caught_up and status.lag_records == 0 and now_s - self._received_s > QUIET_S:
                        break
            self._append(table)
            last = self._status(consumer, stopped=True)
        telemetry.publish(last)
        telemetry.close()
        return last

    def _take(self, value: bytes | None) -> None:
        if value is None:
            return
        self._records += 1
        self._received_s = time.monotonic()
        try:
            for row in self._parse(value):
                self._handle(row)
        except (ValueError, KeyError, TypeError, struct.error):
            self._broken += 1

    def _handle(self, row: Row) -> None:
        self._trades += 1
        self._budget.spend(1)
        if row["message_id"] in self._seen:
            self._duplicates += 1
            return
        self._seen.add(row["message_id"])
        sequence = row["source_sequence"]
        if sequence is not None:
            last = self._last.get(row["symbol"])
            if last is not None and sequence > last + 1:
                self._gaps += 1
            self._last[row["symbol"]] = sequence
        self._rows.append(row)

    def _append(self, table: PlainTable) -> None:
        if self._rows:
            table.append(self._rows)
            self._stored += len(self._rows)
            self._rows = []

    def _status(self, consumer: PlainConsumer, *, stopped: bool = False) -> NaiveStatus:
        lags = consumer.lags()
        critical = [lag for partition, lag in lags.items() if partition in self._critical]
        process = psutil.Process()
        self._recent.add(self._trades)
        return NaiveStatus(
            id=f"naive-{os.getpid()}",
            at_us=time.time_ns() // 1000,
            topic=self._topic,
            records=self._records,
            trades=self._trades,
            stored=self._stored,
            pending=len(self._rows),
            duplicates=self._duplicates,
            gaps=self._gaps,
            broken_records=self._broken,
            skipped_records=consumer.skipped_records,
            lag_records=sum(lag.records for lag in lags.values()) if lags else None,
            critical_lag_records=sum(lag.records for lag in critical) if critical else None,
            lag_seconds=max((lag.behind_s for lag in lags.values()), default=None),
            critical_lag_seconds=max((lag.behind_s for lag in critical), default=None),
            rate=rate(self._recent.oldest, self._trades, self._recent.span_s),
            memory_bytes=process.memory_info().rss,
            cpu_s=sum(process.cpu_times()[:2]),
            elapsed_s=time.monotonic() - self._started_s,
            handled_s=self._received_s - self._started_s,
            stopped=stopped,
        )


def main() -> int:
    """The process: consumes until SIGINT or SIGTERM, and ends with its last status as one JSON object on stdout."""
    parser = argparse.ArgumentParser(
        prog="python -m k2ctl.checks.baselines.naive_consumer", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--profile", default="", help="name or file; the stack's own when left out")
    parser.add_argument("--until-caught-up", action="store_true", help="end when nothing waits in Kafka")
    parser.add_argument("--budget", type=float, help="handle at most so many trades per second: pressure on purpose")
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        endpoints = require_endpoints()
        consumer = NaiveConsumer(endpoints, load_profile(arguments.profile or endpoints.profile), arguments.budget)
        status = consumer.run(stop, until_caught_up=arguments.until_caught_up)
    except K2Error as error:
        sys.stderr.write(f"naive: {error}\n  {error.hint}\n")
        return error.exit_code
    sys.stdout.write(orjson.dumps(status).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
