"""Settings of the Kafka clients, measured rather than guessed, in one place."""

import logging
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from k2ctl.endpoints import Endpoints

# librdkafka would print every lost connection; what matters is raised where it is asked for.
QUIET: Final = logging.getLogger("librdkafka")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False

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
        "logger": QUIET,
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
        "queued.min.messages": 200_000,
        "queued.max.messages.kbytes": 131_072,
        "fetch.message.max.bytes": 2_097_152,
        "fetch.wait.max.ms": 10,
        "fetch.queue.backoff.ms": 5,
        "fetch.error.backoff.ms": 50,
        "session.timeout.ms": round(session_timeout_s(endpoints) * 1000),
        "heartbeat.interval.ms": 200 if endpoints.engine == "embedded" else 2000,
        **overrides,
    }


def admin_client(endpoints: Endpoints, on_error: Callable[[KafkaError], object] = lambda _: None) -> AdminClient:
    """A client for topics and offsets. on_error: hears, when the client is polled, of connections that failed.

    Raises:
        KafkaException: the clients do not take the endpoints' settings.
    """
    settings: dict[str, Any] = {**_common(endpoints), "error_cb": on_error}
    return AdminClient(settings)
