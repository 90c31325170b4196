"""The topic `k2.telemetry`: statuses as JSON, one record each; the overview that they make, and a recording of it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer

from k2ctl.clock import SystemClock
from k2ctl.domain.overview import Overview
from k2ctl.domain.status import ConsumerStatus, LoadStatus, loads
from k2ctl.domain.topics import TELEMETRY
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, UsageError, first_line
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.clients import LOG, producer_config
from k2ctl.kafka.reader import Reader
from k2ctl.timing import Every

PUBLISH_EVERY_S: Final = 0.5
IDLE_PUBLISH_EVERY_S: Final = 1.9
"""Of a consumer that has nothing to do, and does the rest once a second: twice before it counts as gone."""

STALE_AFTER_S: Final = 5.0
"""A worker that has reported nothing for so long is gone."""

LOOKS_AT_MOST: Final = 10
"""A machine that has no time may need so many times the usual time for the reports that lie in Kafka already."""

READ_PARTITION: Final = 0
"""All statuses are in one partition, also where somebody's client has made the topic, and with more of them."""


class TelemetryWriter:
    """Publishes statuses. Never blocks and never fails its owner: what cannot be sent is dropped and logged."""

    def __init__(self, endpoints: Endpoints) -> None:
        with BrokerAdmin(endpoints) as admin:
            admin.create_topic(TELEMETRY, 1, {"retention.ms": "3600000"})
        settings = {"linger.ms": 5, "queue.buffering.max.messages": 1000, "delivery.report.only.error": False}
        self._producer = Producer(producer_config(endpoints, **settings))
        self._trouble = ""

    def publish(self, status: object) -> None:
        """Send a dataclass; keyed by its id, so that a compacted topic keeps the last of each."""
        try:
            key = str(getattr(status, "id", ""))
            self._producer.produce(
                TELEMETRY, orjson.dumps(status), key=key, partition=READ_PARTITION, on_delivery=self._delivered
            )
            self._producer.poll(0)
        except BufferError:
            self._note("the client's queue is full")
        except KafkaException as error:
            self._note(error.args[0].str())

    def _delivered(self, error: KafkaError | None, _: object) -> None:
        self._note(error.str() if error is not None else "")

    def _note(self, trouble: str) -> None:
        """Log that statuses cannot be sent, and that they are sent again; one line for each change."""
        if trouble and not self._trouble:
            LOG.warning("status cannot be sent to %s: %s", TELEMETRY, trouble)
        elif self._trouble and not trouble:
            LOG.info("status is sent to %s again", TELEMETRY)
        self._trouble = trouble

    def close(self) -> None:
        """Send what is queued, for at most two seconds."""
        self._producer.flush(2.0)


@dataclass(frozen=True)
class Reported:
    """The newest statuses, by the id of who reports."""

    consumers: dict[str, ConsumerStatus]
    loaders: dict[str, LoadStatus]
    # Those of other programs, as they are.
    others: dict[str, dict[str, Any]]


_KINDS: Final[dict[str, type[ConsumerStatus] | type[LoadStatus]]] = {"consumer": ConsumerStatus, "load": LoadStatus}
_Any = ConsumerStatus | LoadStatus | dict[str, Any]


def _named(status: _Any, name: str) -> Any:
    return status.get(name, False) if isinstance(status, dict) else getattr(status, name)


class TelemetryReader:
    """Follows the newest statuses; starts a few seconds back, so that a first look is not empty."""

    def __init__(self, endpoints: Endpoints, history_records: int = 200) -> None:
        with BrokerAdmin(endpoints) as admin:
            admin.create_topic(TELEMETRY, 1, {"retention.ms": "3600000"})
            marks = admin.watermarks(TELEMETRY)[READ_PARTITION]
        self._reader = Reader(endpoints, TELEMETRY, "k2ctl-watch")
        self._reader.assign({READ_PARTITION: max(marks.low, marks.high - history_records)})
        self._clock = SystemClock()
        self._there = marks.high
        self._newest: dict[str, _Any] = {}
        self._refused: set[str] = set()

    def look(self, timeout_s: float) -> Reported:
        """As `poll`, for who looks once: some times as long while there is more of what lay in Kafka at the start."""
        for _ in range(LOOKS_AT_MOST):
            reported = self.poll(timeout_s)
            if self._reader.positions.get(READ_PARTITION, 0) >= self._there:
                break
        return reported

    def poll(self, timeout_s: float = 0.1) -> Reported:
        """The newest status of each worker that still reports."""
        for value in self._received(timeout_s):
            self._take(value)
        oldest_us = self._clock.now_us() - round(STALE_AFTER_S * 1e6)
        self._newest = {
            name: status
            for name, status in self._newest.items()
            if _named(status, "at_us") >= oldest_us and not _named(status, "stopped")
        }
        kept = self._newest.items()
        return Reported(
            {name: status for name, status in kept if isinstance(status, ConsumerStatus)},
            {name: status for name, status in kept if isinstance(status, LoadStatus)},
            {name: status for name, status in kept if isinstance(status, dict)},
        )

    def _take(self, value: bytes) -> None:
        """Keep a status under its id; one that cannot be read is logged once."""
        name = ""
        try:
            document = orjson.loads(value)
            name = str(document["id"])
            kind = _KINDS.get(document["kind"])
            if kind is None and not isinstance(document["at_us"], int):
                raise ValueError("at_us is not a number")
            self._newest[name] = document if kind is None else loads(kind, value)
        except (ValueError, TypeError, KeyError) as error:
            if name not in self._refused:
                LOG.warning("a status of %s on %s cannot be used: %s", name or "nobody", TELEMETRY, first_line(error))
            self._refused.add(name)

    def _received(self, timeout_s: float) -> Iterator[bytes]:
        deadline = time.monotonic() + timeout_s
        while True:
            fetched = self._reader.fetch(500, 0.05)
            yield from fetched.values
            if time.monotonic() >= deadline:
                return

    def close(self) -> None:
        """Leave the topic."""
        self._reader.close()


OFFSETS_EVERY_S: Final = 1.0


class OverviewReader:
    """Follows telemetry and watermarks of the running stack."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._admin = BrokerAdmin(endpoints)
        self._telemetry = TelemetryReader(endpoints)
        self._highs: dict[str, dict[int, int]] = {}
        self._clock = SystemClock()
        self._offsets_every = Every(OFFSETS_EVERY_S, self._clock)
        self._check_every = Every(OFFSETS_EVERY_S, self._clock)

    def poll(self, timeout_s: float = 0.1) -> Overview:
        """The platform as it stands."""
        reported = self._telemetry.poll(timeout_s)
        consumers, loaders = list(reported.consumers.values()), list(reported.loaders.values())
        self._refresh_watermarks({status.topic for status in consumers})
        return Overview.of(consumers, loaders, self._highs, self._clock.now_us())

    def _refresh_watermarks(self, topics: set[str]) -> None:
        if not self._offsets_every.due():
            return
        for topic in topics:
            try:
                self._highs[topic] = {p: mark.high for p, mark in self._admin.watermarks(topic).items()}
            except BrokerError as error:  # the lag is unknown, and shown as such
                if self._highs.pop(topic, None) is not None:
                    LOG.warning("the watermarks of %s cannot be read: %s", topic, first_line(error))

    def check(self) -> None:
        """Ask whether Kafka answers: where nobody reports, there may be no consumer, or no way to it.

        Raises:
            BrokerError: Kafka does not answer.
        """
        if self._check_every.due():
            self._admin.watermarks(TELEMETRY)

    def close(self) -> None:
        """Leave the broker."""
        self._telemetry.close()


def read_recording(path: Path) -> list[Overview]:
    """The ticks of a recorded run, oldest first.

    Raises:
        UsageError: no such file, or a line of it is no tick; names the line.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", "Record one with: k2ctl watch --record FILE"
        ) from error
    ticks = []
    for number, line in enumerate(lines, 1):
        try:
            ticks.append(loads(Overview, line))
        except ValueError as error:
            raise UsageError(f"{path}:{number} is no tick of a recorded run.", "Was it written by --record?") from error
    if not ticks:
        raise UsageError(f"{path} holds no ticks.", "Record a run with: k2ctl watch --record FILE")
    return ticks


def paced(ticks: list[Overview], sleep: Callable[[float], None] = time.sleep) -> Iterator[Overview]:
    """The ticks of a recording, as far apart as they were."""
    before_us = ticks[0].at_us
    for tick in ticks:
        sleep(max(0.0, (tick.at_us - before_us) / 1e6))
        before_us = tick.at_us
        yield tick
