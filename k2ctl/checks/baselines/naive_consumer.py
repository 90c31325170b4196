"""The naive baseline: what is often written first, kept to be compared with.

One record after the other: parse it, look its id up in a set, its sequence number in a dict, append a dict to a list,
and write the list to Iceberg every second while nothing is read. Kafka commits offsets by itself, and all symbols wait
in one queue. It is not slowed on purpose: orjson parses, SBE is unpacked with one compiled struct, prices are floats.
What it does not do is what it shows: a kill between the client's commit and the append loses rows, one between the
append and the commit stores rows twice, and under load CRITICAL trades wait with the rest.

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
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pyarrow as pa
from confluent_kafka import Consumer, Message, TopicPartition
from pyiceberg.exceptions import NamespaceAlreadyExistsError
from pyiceberg.table import Table

from k2ctl.clock import SystemClock
from k2ctl.consume.degradation import Budget
from k2ctl.domain.decimals import DECIMAL, DECIMAL_ONE
from k2ctl.domain.topics import WireFormat
from k2ctl.domain.trade import NO_SEQUENCE, SIDES, TRADE
from k2ctl.endpoints import Endpoints, require_endpoints
from k2ctl.errors import BrokerError, K2Error
from k2ctl.home import Home
from k2ctl.kafka.clients import CLIENT_LOG, SESSION_S
from k2ctl.kafka.telemetry import PUBLISH_EVERY_S, TelemetryWriter
from k2ctl.lake.catalog import Lake
from k2ctl.profiles import Profile, load_profile
from k2ctl.timing import SlidingWindow, rate

GROUP: Final = "naive"
NAIVE_TABLE: Final = "naive.trades"
QUIET_S: Final = 3.0
"""Nothing read for so long, and nothing waiting, is caught up."""
LEAVE_AFTER_ERRORS_S: Final = 30.0
BUDGET_PAUSE_S: Final = 0.002

Row = dict[str, Any]


@dataclass(frozen=True)
class NaiveStatus:
    """What the naive consumer reports on `k2.telemetry`, in trades; None is unknown."""

    id: str
    at_us: int
    trades: int
    # Rows in its table.
    stored: int
    duplicates: int
    gaps: int
    # High watermarks − what was handled; of all partitions, and of those of CRITICAL symbols.
    lag_records: int | None
    critical_lag_records: int | None
    # Age of the last handled record, of the CRITICAL partition that is furthest behind.
    critical_lag_seconds: float | None
    rate: float
    # From the start to the last record that was read.
    handled_s: float
    kind: str = GROUP
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
        "Qq" if kind == DECIMAL else f"{kind.itemsize}s" if kind.kind in "SV" else _FORMATS[kind.str[1:]]
        for kind in (TRADE.message[name] for name in TRADE.message.names or ())
    )
)


def parse_sbe(value: bytes) -> Iterable[Row]:
    """The trades of an SBE record as rows, one message at a time."""
    for fields in _STRUCT.iter_unpack(value):
        message_id, trade_id, time_ns, _, price, high, quantity, most, sequence, symbol, exchange = fields[4:15]
        yield {
            "message_id": message_id.hex(),
            "trade_id": trade_id,
            "symbol": symbol.rstrip(b"\0").decode(),
            "exchange": exchange.rstrip(b"\0").decode(),
            "timestamp": time_ns // 1000,
            "price": (price + high * 2**64) / DECIMAL_ONE,
            "quantity": (quantity + most * 2**64) / DECIMAL_ONE,
            "side": SIDES[fields[-3]],
            "source_sequence": None if sequence == NO_SEQUENCE else sequence,
        }


_PARSERS: Final[dict[WireFormat, Callable[[bytes], Iterable[Row]]]] = {"json": parse_json, "sbe": parse_sbe}
_SCHEMA: Final = pa.schema(
    {
        "message_id": pa.string(), "trade_id": pa.int64(), "symbol": pa.string(), "exchange": pa.string(),
        "timestamp": pa.timestamp("us", "UTC"), "price": pa.float64(), "quantity": pa.float64(), "side": pa.string(),
        "source_sequence": pa.int64(),
    }
)  # fmt: skip


def naive_table(lake: Lake) -> Table:
    """A table with default properties, beside `market_data.trades` and never the same."""
    with suppress(NamespaceAlreadyExistsError):
        lake.catalog.create_namespace(NAIVE_TABLE.rpartition(".")[0])
    return lake.catalog.create_table_if_not_exists(NAIVE_TABLE, _SCHEMA)


def subscribed(endpoints: Endpoints, topic: str, group: str) -> Consumer:
    """A Kafka consumer as a tutorial has it: from the beginning, the client commits offsets every five seconds."""
    settings = {
        "bootstrap.servers": endpoints.bootstrap_servers, "client.id": group, "group.id": group, "logger": CLIENT_LOG,
        "enable.auto.commit": True, "auto.offset.reset": "earliest", "session.timeout.ms": round(SESSION_S * 1000),
    }  # fmt: skip
    consumer = Consumer({**endpoints.kafka, **settings})
    consumer.subscribe([topic])
    return consumer


class NaiveConsumer:
    """Reads one topic record by record into a table of its own, and says how far behind it is."""

    def __init__(self, endpoints: Endpoints, profile: Profile, budget: float | None = None) -> None:
        self._endpoints = endpoints
        self._budget = Budget(budget, SystemClock())
        self._topic = profile.trades_topic
        self._parse = _PARSERS[profile.topic.format]
        self._critical = range(profile.topic.critical_partitions)
        self._every_s = profile.consumer.commit_interval_s
        self._seen: set[str] = set()
        self._last: dict[str, int] = {}
        self._rows: list[Row] = []
        self._trades = self._stored = self._duplicates = self._gaps = 0
        # Partition → the offset after the last handled record, and the time of that record.
        self._handled: dict[int, tuple[int, int]] = {}
        self._recent = SlidingWindow[int](2.0)
        self._started_s = self._received_s = self._answered_s = time.monotonic()

    def run(self, stop: threading.Event, *, until_caught_up: bool) -> NaiveStatus:
        """Consume until `stop` is set or, if asked to, until nothing waits; returns the last status.

        Raises:
            K2Error: Kafka or the catalog does not answer.
        """
        with (
            Lake.at(self._endpoints) as lake,
            closing(subscribed(self._endpoints, self._topic, GROUP)) as consumer,
            closing(TelemetryWriter(self._endpoints)) as telemetry,
        ):
            table = naive_table(lake)
            # Two comparisons with one reading of the clock: anything more would be felt in each record.
            append_at_s = report_at_s = time.monotonic()
            while not stop.is_set():
                if self._budget.exhausted:
                    time.sleep(BUDGET_PAUSE_S)
                else:
                    self._take(consumer.poll(0.1))
                now_s = time.monotonic()
                if now_s >= append_at_s:
                    self._append(table)
                    append_at_s = time.monotonic() + self._every_s
                if now_s >= report_at_s:
                    status = self._status(consumer)
                    telemetry.publish(status)
                    report_at_s = now_s + PUBLISH_EVERY_S
                    if until_caught_up and status.lag_records == 0 and now_s - self._received_s > QUIET_S:
                        break
            self._append(table)
            last = self._status(consumer, stopped=True)
            telemetry.publish(last)
        return last

    def _take(self, message: Message | None) -> None:
        if message is None:
            return
        if message.error() is not None:
            if time.monotonic() - self._answered_s > LEAVE_AFTER_ERRORS_S:
                raise BrokerError(f"Kafka does not deliver {self._topic}.", "See: k2ctl stack status")
            return
        self._received_s = self._answered_s = time.monotonic()
        self._handled[message.partition() or 0] = (message.offset() or 0) + 1, message.timestamp()[1]
        for row in self._parse(message.value() or b""):
            self._handle(row)

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

    def _append(self, table: Table) -> None:
        if self._rows:
            table.append(pa.Table.from_pylist(self._rows, _SCHEMA))
            self._stored += len(self._rows)
            self._rows = []

    def _lags(self, consumer: Consumer) -> dict[int, tuple[int, float]]:
        """Partition → records that wait, and the age of the last handled one; only where the watermark has come."""
        lags, now_ms = {}, time.time_ns() // 1_000_000
        for partition in (assigned.partition for assigned in consumer.assignment()):
            _, high = consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
            if high >= 0:
                position, handled_ms = self._handled.get(partition, (0, now_ms))
                waiting = max(0, high - position)
                lags[partition] = waiting, max(0, now_ms - handled_ms) / 1000 if waiting else 0.0
        return lags

    def _status(self, consumer: Consumer, *, stopped: bool = False) -> NaiveStatus:
        lags = self._lags(consumer)
        critical = [lag for partition, lag in lags.items() if partition in self._critical]
        self._recent.add(self._trades)
        return NaiveStatus(
            id=f"naive-{os.getpid()}",
            at_us=time.time_ns() // 1000,
            trades=self._trades,
            stored=self._stored,
            duplicates=self._duplicates,
            gaps=self._gaps,
            lag_records=sum(waiting for waiting, _ in lags.values()) if lags else None,
            critical_lag_records=sum(waiting for waiting, _ in critical) if critical else None,
            critical_lag_seconds=max((age_s for _, age_s in critical), default=None),
            rate=rate(self._recent.oldest, self._trades, self._recent.span_s),
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
        endpoints = require_endpoints(Home.of_user())
        consumer = NaiveConsumer(endpoints, load_profile(arguments.profile or endpoints.profile), arguments.budget)
        status = consumer.run(stop, until_caught_up=arguments.until_caught_up)
    except K2Error as error:
        sys.stderr.write(f"naive: {error}\n  {error.hint}\n")
        return error.exit_code
    sys.stdout.write(orjson.dumps(status).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
