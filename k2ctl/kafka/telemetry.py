"""The topic `k2.telemetry`: statuses as JSON, one record each; written by workers, read by `watch`."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final

import orjson
from confluent_kafka import KafkaException, Producer

from k2ctl.domain.topics import TELEMETRY
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.clients import producer_config
from k2ctl.kafka.reader import Reader

PUBLISH_EVERY_S: Final = 0.5
STALE_AFTER_S: Final = 5.0
"""A worker that has said nothing for so long is gone."""

READ_PARTITION: Final = 0
"""All statuses are in one partition, also where somebody's client has made the topic, and with more of them."""


class TelemetryWriter:
    """Publishes statuses. Never blocks and never fails its owner: a status that cannot be sent is dropped."""

    def __init__(self, endpoints: Endpoints) -> None:
        with BrokerAdmin(endpoints) as admin:
            admin.create_topic(TELEMETRY, 1, {"retention.ms": "3600000"})
        self._producer = Producer(producer_config(endpoints, **{"linger.ms": 5, "queue.buffering.max.messages": 1000}))

    def publish(self, status: object) -> None:
        """Send a dataclass; keyed by its id, so that a compacted topic keeps the last of each."""
        with contextlib.suppress(BufferError, KafkaException):
            key = str(getattr(status, "id", ""))
            self._producer.produce(TELEMETRY, orjson.dumps(status), key=key, partition=READ_PARTITION)
            self._producer.poll(0)

    def close(self) -> None:
        """Send what is queued, for at most two seconds."""
        self._producer.flush(2.0)


class TelemetryReader:
    """Follows the newest statuses; starts a few seconds back, so that a first look is not empty."""

    def __init__(self, endpoints: Endpoints, history_records: int = 200) -> None:
        with BrokerAdmin(endpoints) as admin:
            admin.create_topic(TELEMETRY, 1, {"retention.ms": "3600000"})
            marks = admin.watermarks(TELEMETRY)[READ_PARTITION]
        self._reader = Reader(endpoints, TELEMETRY, "k2ctl-watch")
        self._reader.assign({READ_PARTITION: max(marks.low, marks.high - history_records)})
        self._newest: dict[str, dict[str, Any]] = {}

    def poll(self, timeout_s: float = 0.1) -> dict[str, dict[str, Any]]:
        """The newest status of each worker that still speaks, by its id."""
        for status in self._received(timeout_s):
            self._newest[str(status.get("id", ""))] = status
        oldest_us = time.time_ns() // 1000 - round(STALE_AFTER_S * 1e6)
        alive = {
            key: status
            for key, status in self._newest.items()
            if isinstance(status.get("at_us"), int) and status["at_us"] >= oldest_us and not status.get("stopped")
        }
        self._newest = alive
        return dict(alive)

    def _received(self, timeout_s: float) -> Iterator[dict[str, Any]]:
        deadline = time.monotonic() + timeout_s
        while True:
            fetched = self._reader.fetch(500, 0.05)
            for value in fetched.values:
                with contextlib.suppress(orjson.JSONDecodeError):
                    status = orjson.loads(value)
                    if isinstance(status, dict):
                        yield status
            if time.monotonic() >= deadline:
                return

    def close(self) -> None:
        """Leave the topic."""
        self._reader.close()
