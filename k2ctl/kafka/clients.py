"""Settings of the Kafka clients, measured rather than guessed, in one place."""

import logging
import re
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from k2ctl.clock import Clock, SystemClock
from k2ctl.endpoints import Endpoints
from k2ctl.timing import Every

LOG: Final = logging.getLogger("k2ctl.kafka")
REPEATED_AFTER_S: Final = 60.0
TEXTS_KEPT: Final = 100
CONNECTIONS: Final = frozenset({"FAIL", "ERROR", "GETPID", "REQTMOUT"})
"""Facilities of librdkafka that report each lost connection and each retry. They are INFO: the failure itself is raised
where it was asked for, or logged by `WatermarkFollower`."""


class ClientLog:
    """Writes what librdkafka reports to the log, each text at most once a minute: it reports every try to reconnect."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._due: dict[str, Every] = {}

    def log(self, level: int, message: str, *values: object) -> None:
        """Called by confluent-kafka with librdkafka's level as Python's, and `facility`, `client` and text."""
        facility = str(values[0]) if values else ""
        self.note(min(level, logging.INFO) if facility in CONNECTIONS else level, message % values)

    def note(self, level: int, text: str) -> None:
        """Log a text, unless it was logged within the last minute; times and counts in it do not matter."""
        known = re.sub(r"\d+", "#", text)
        if known not in self._due and len(self._due) >= TEXTS_KEPT:
            self._due.clear()
        if self._due.setdefault(known, Every(REPEATED_AFTER_S, self._clock)).due():
            LOG.log(level, "librdkafka: %s", text)


CLIENT_LOG: Final = ClientLog()

SESSION_S: Final = 6.0
"""With the default of 45 s a killed member's partitions waited 44 to 70 s."""


def session_timeout_s(endpoints: Endpoints) -> float:
    """How long a member of a group may be silent before its partitions go to others."""
    return 1.0 if endpoints.engine == "embedded" else SESSION_S


def _common(endpoints: Endpoints) -> dict[str, Any]:
    return {
        **endpoints.kafka,
        "bootstrap.servers": endpoints.bootstrap_servers,
        "client.id": "k2ctl",
        "logger": CLIENT_LOG,
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 1000,
    }


def producer_config(endpoints: Endpoints, **overrides: Any) -> dict[str, Any]:
    """A producer that batches well and waits for every acknowledgement.

    The embedded broker accepts idempotence but does not deduplicate retries, so there it is left off. One record
    set per fetch and partition is all it returns, so batches are made large by lingering.
    """
    return {
        **_common(endpoints),
        "acks": "all",
        "enable.idempotence": endpoints.engine != "embedded",
        "compression.type": "lz4",
        "linger.ms": 20,
        "batch.size": 1_000_000,
        "batch.num.messages": 10_000,
        "queue.buffering.max.messages": 1_000_000,
        "queue.buffering.max.kbytes": 262_144,
        "delivery.timeout.ms": 30_000,
        "delivery.report.only.error": True,
        **overrides,
    }


def consumer_config(endpoints: Endpoints, **overrides: Any) -> dict[str, Any]:
    """A consumer that prefetches deeply and never decides by itself where to read.

    `fetch.queue.backoff.ms` 5 took a drain of the embedded broker from 341,000 to 728,000 records/s; its long poll
    is not woken by new data, hence `fetch.wait.max.ms` 10.
    """
    return {
        **_common(endpoints),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": False,
        "queued.min.messages": 50_000,
        "queued.max.messages.kbytes": 16_384,
        "fetch.message.max.bytes": 2_097_152,
        "fetch.wait.max.ms": 10,
        "fetch.queue.backoff.ms": 5,
        "fetch.error.backoff.ms": 50,
        "session.timeout.ms": round(session_timeout_s(endpoints) * 1000),
        "heartbeat.interval.ms": 200 if endpoints.engine == "embedded" else 500,
        **overrides,
    }


def prompt_config(endpoints: Endpoints) -> dict[str, Any]:
    """For a consumer whose records are waited for: the embedded broker holds a fetch for its whole time.

    That costs 0.4 % of a core more than 10 ms; a real broker answers as soon as there is something.
    """
    return {"fetch.wait.max.ms": 5} if endpoints.engine == "embedded" else {}


def admin_client(endpoints: Endpoints, on_error: Callable[[KafkaError], object] = lambda _: None) -> AdminClient:
    """A client for topics and offsets. on_error: called, when the client is polled, for connections that failed.

    Raises:
        KafkaException: the clients do not take the endpoints' settings.
    """
    settings: dict[str, Any] = {**_common(endpoints), "error_cb": on_error}
    return AdminClient(settings)
