"""Kafka's own performance tools, from the jars of the local engine: what a Java client reaches on the same broker."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from k2ctl.checks.bench.figures import Figure
from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed, StackError
from k2ctl.stack.local import kafka_libraries

TIMEOUT_S: Final = 300
_HINT: Final = "See: k2ctl stack logs kafka"
_SENT: Final = re.compile(r"^(\d+) records sent, ([\d.]+) records/sec", re.MULTILINE)
_PRODUCER: Final = ("acks=all", "linger.ms=20", "batch.size=1000000", "buffer.memory=268435456")
"""As k2ctl's own producer, but uncompressed: the payload of the tool is random, and lz4 would only cost it time."""


@dataclass(frozen=True)
class KafkaTools:
    """The tools against one broker. Rates are records a second."""

    bootstrap_servers: str
    libraries: Path

    @classmethod
    def at(cls, endpoints: Endpoints) -> "KafkaTools | None":
        """None on the embedded engine, which Java's clients cannot use, and where Java or the jars cannot be had."""
        if endpoints.engine == "embedded":
            return None
        try:
            return cls(endpoints.bootstrap_servers, kafka_libraries(lambda _: None))
        except StackError:
            return None

    def produce(self, topic: str, records: int, record_bytes: int) -> float:
        """What `kafka-producer-perf-test` reaches.

        Raises:
            CheckFailed: it failed.
        """
        said = self._run(
            "ProducerPerformance",
            *("--topic", topic, "--num-records", str(records), "--record-size", str(record_bytes)),
            *("--throughput", "-1", "--bootstrap-server", self.bootstrap_servers, "--command-property", *_PRODUCER),
        )
        totals = _SENT.findall(said)
        if not totals or int(totals[-1][0]) != records:
            raise CheckFailed(f"kafka-producer-perf-test said no total: {said[-200:]!r}", _HINT)
        return float(totals[-1][1])

    def consume(self, topic: str, records: int) -> float:
        """What `kafka-consumer-perf-test` reaches, the time until it has joined its group left out.

        Raises:
            CheckFailed: it failed.
        """
        said = self._run(
            "ConsumerPerformance",
            *("--topic", topic, "--num-records", str(records), "--bootstrap-server", self.bootstrap_servers),
            *("--timeout", "30000"),
        )
        lines = [line.split(", ") for line in said.splitlines() if ", " in line]
        try:
            names = next(line for line in lines if "fetch.nMsg.sec" in line)
            return float(lines[-1][names.index("fetch.nMsg.sec")])
        except (StopIteration, IndexError, ValueError) as error:
            raise CheckFailed(f"kafka-consumer-perf-test said no rate: {said[-200:]!r}", _HINT) from error

    def _run(self, tool: str, *arguments: str) -> str:
        command = ["java", "-Xmx1g", "-cp", f"{self.libraries}/*", f"org.apache.kafka.tools.{tool}", *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise CheckFailed(f"Kafka's {tool} took longer than {TIMEOUT_S} s.", _HINT) from error
        if done.returncode:
            raise CheckFailed(f"Kafka's {tool} failed: {(done.stderr or done.stdout).strip()[-200:]}", _HINT)
        return done.stdout


def beside(figure: Figure, tool: str, rates: list[float], goal: float | None) -> Figure:
    """The same figure held against what a tool of Kafka reached."""
    reached = sorted(rates)[len(rates) // 2]
    return Figure(
        figure.benchmark, figure.case, f"{figure.metric.partition(',')[0]}, against {tool}", figure.value, figure.unit,
        reached, figure.value / reached, goal, low=figure.low, high=figure.high,
    )  # fmt: skip
