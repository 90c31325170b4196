"""A service over a small platform: some trades in the lake, some on their way, a server on a free port."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np

from k2ctl.api.engine import WarmEngine
from k2ctl.api.server import listen, server
from k2ctl.api.settings import Settings
from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.topics import trades_topic
from k2ctl.endpoints import Endpoints
from k2ctl.flight.server import serving_flight
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.writer import TableWriter
from tests.made_trades import PARTITIONS, make_rows, make_trades, produce_trades

STORED, WHOLE = 600, 1000
SPAN = {"since": "2023-11-14T22:00:00Z", "until": "2023-11-15T00:00:00Z"}


@dataclass
class Service:
    """A running service and what is behind it."""

    url: str
    engine: WarmEngine
    endpoints: Endpoints
    topic: str | None
    client: httpx.Client
    flight_port: int | None = None

    def produce(self, trades: np.ndarray) -> None:
        produce_trades(self.endpoints, self.topic, trades)


@contextmanager
def serving(endpoints: Endpoints, topic: str | None, settings: Settings) -> Iterator[Service]:
    """A server on a thread of its own."""
    engine = WarmEngine(endpoints, settings.limits, topic)
    with listen(settings) as socket, serving_flight(engine, settings) as served:
        running = server(engine, served)
        thread = threading.Thread(target=running.run, args=([socket],))
        thread.start()
        url = f"http://127.0.0.1:{socket.getsockname()[1]}"
        try:
            with httpx.Client(base_url=url, timeout=20) as client:
                for _ in range(200):
                    try:
                        if client.get("/readyz").status_code == 200:
                            break
                    except httpx.TransportError:
                        pass
                    time.sleep(0.05)
                yield Service(url, engine, endpoints, topic, client, served.flight_port)
        finally:
            running.should_exit = True
            thread.join(10)
            engine.close()


def platform(stack: Endpoints, folder: Path, exchange: str) -> tuple[Endpoints, str]:
    """600 trades in the lake; 450 to 1000 in Kafka, so that 150 are there twice."""
    lake = folder / "lake"
    lake.mkdir()
    endpoints = replace(stack, catalog_uri=f"sqlite:///{lake}/catalog.db", warehouse=f"file://{lake}/warehouse")
    topic = trades_topic("equities", exchange)
    made = make_trades(WHOLE)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, PARTITIONS)
    produce_trades(endpoints, topic, made[450:])
    with Lake.at(endpoints) as opened:
        TableWriter(opened, SystemClock()).commit(
            [make_rows(made[:STORED], topic="another")],
            {TopicPartition("another", "e", 0): OffsetDelta(0, STORED, Counts(600, 600))},
        )
    return endpoints, topic
