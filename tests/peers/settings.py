"""The settings of a run, from its environment; figures go to stdout as JSON lines, talk to stderr."""

import json
import os
import sys
import time
from dataclasses import dataclass, fields
from typing import Any, Final


@dataclass(frozen=True)
class Settings:
    """Each is taken from the environment variable of its name in capitals, with PEERS_ before it."""

    # How often the peers commit, k2ctl as well.
    commit_ms: int = 1_000
    connect_tasks: int = 2
    # Kafka's default is 500.
    connect_poll: int = 5_000
    # How often a task of Connect that has nothing to read is woken; 0: as often as it commits. With Kafka's default of
    # a minute the last rows of a backlog come a minute late.
    connect_flush_ms: int = 0
    # Of the virtual machines of Connect and Spark.
    heap: str = "2g"
    # Records of one batch of Spark.
    spark_batch: int = 500_000
    latency_rate: int = 5_000
    latency_s: int = 60
    crash_rate: int = 3_000
    kills: int = 3
    drain_limit_s: int = 900
    # A crash test without a new row for so long is over.
    settle_s: int = 75
    # 1: tables and Kafka's data stay.
    keep: int = 0

    @classmethod
    def of_environment(cls) -> "Settings":
        """What is not set has its default."""
        given = {each.name: os.environ.get(f"PEERS_{each.name.upper()}") for each in fields(cls)}
        kinds = {each.name: type(each.default) for each in fields(cls)}
        return cls(**{name: kinds[name](text) for name, text in given.items() if text is not None})


SETTINGS: Final = Settings.of_environment()
PARTITIONS: Final = 4
COLUMNS: Final = (
    "message_id", "trade_id", "symbol", "exchange", "asset_class", "timestamp", "ingestion_timestamp", "price",
    "quantity", "currency", "side", "trade_conditions", "source_sequence",
)  # fmt: skip


def say(text: str) -> None:
    """One line of talk."""
    sys.stderr.write(f"[{time.strftime('%H:%M:%S')}] {text}\n")
    sys.stderr.flush()


def emit(test: str, peer: str, figure: str, value: Any, unit: str = "", **more: Any) -> None:
    """One figure."""
    line = {"test": test, "peer": peer, "figure": figure, "value": value, "unit": unit, **more}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
