"""A platform on six hosts: three brokers, one with catalog, state and store, and two of consumers; loaded from here."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from k2ctl.endpoints import Endpoints, load_endpoints
from k2ctl.errors import ExitCode
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from tests.support.cli import run
from tests.support.hosts import Host, Network
from tests.support.independent_reader import Sources, assert_read_to_the_end, assert_stored_once
from tests.support.kafka_cluster import KafkaCluster
from tests.support.object_store import ACCESS_KEY, SECRET_KEY, ObjectStore
from tests.support.polling import until
from tests.support.postgres_server import PASSWORD, PostgresServer
from tests.support.redis_server import RedisServer

BROKERS: Final = ("broker-1", "broker-2", "broker-3")
SERVICES: Final = "services"
CONSUMERS: Final = ("consumers-a", "consumers-b")
PARTITIONS: Final = 6
_PROFILE: Final = """\
base: laptop
name: hosts
market: {{exchange: {exchange}, symbols: 60, tiers: {{critical: 6, high: 12, low: 24}}}}
topic: {{partitions: {partitions}, critical_partitions: 2}}
consumer: {{memory_limit_mb: 1024, dedup: {{ids_per_s: 300, budget_mb: 64}}}}
external:
  kafka: {{bootstrap_servers: "{kafka}"}}
  state: {redis}
  catalog: {catalog}
  warehouse: {warehouse}
  storage: {storage}
"""


class Services:
    """The hosts, and what runs on four of them."""

    def __init__(self, folder: Path) -> None:
        self.network = Network(*BROKERS, SERVICES, *CONSUMERS)
        try:
            at = self.network[SERVICES]
            self.kafka = KafkaCluster({number: self.network[name] for number, name in enumerate(BROKERS, 1)})
            self.postgres = PostgresServer(at)
            for name in ("objects", "redis"):
                (folder / name).mkdir()
            self.store = ObjectStore(folder / "objects", at)
            self.redis = RedisServer(folder / "redis", at)
        except BaseException:
            self.network.close()
            raise

    def close(self) -> None:
        self.kafka.close()
        self.postgres.close()
        self.store.stop()
        self.redis.kill()
        self.network.close()


@dataclass
class Member:
    """A consumer's process on one of the hosts."""

    name: str
    host: Host
    log: Path
    process: subprocess.Popen[bytes]

    def said(self) -> str:
        return self.log.read_text()


@dataclass
class Platform:
    """A topic, a table and consumers of a test's own."""

    services: Services
    topic: str
    folder: Path
    endpoints: Endpoints
    members: dict[str, Member] = field(default_factory=dict)
    loads: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def k2ctl(self, host: str, *arguments: str) -> list[str]:
        """The command line of k2ctl on a host of consumers, each of which has a state directory of its own."""
        environment = ["env", f"K2CTL_HOME={self.folder / host}", "K2CTL_LOG_LEVEL=INFO"]
        return [*self.services.network[host].command, *environment, sys.executable, "-m", "k2ctl", *arguments]

    def start(self, name: str) -> Member:
        """A consumer, by a name such as `a-1`, on the host of that letter."""
        host = f"consumers-{name.partition('-')[0]}"
        log = self.folder / f"{name}.log"
        with log.open("ab") as file:
            command = self.k2ctl(host, "consume", "--group", "--name", name)
            process = subprocess.Popen(command, stdout=file, stderr=file, cwd=self.folder)
        self.members[name] = Member(name, self.services.network[host], log, process)
        return self.members[name]

    def of(self, host: str) -> list[Member]:
        return [member for member in self.members.values() if member.host == self.services.network[host]]

    def status(self, host: str) -> list[dict[str, Any]]:
        """What `consume status` says on a host, whatever it reaches."""
        done = subprocess.run(
            self.k2ctl(host, "consume", "status", "--json"), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode in (0, ExitCode.UNHEALTHY), done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def offsets(self) -> dict[int, int]:
        """How far the table is, read from its catalog by another client."""
        return {at: following for (*_, at), following in Sources.of(self.endpoints).next_offsets().items()}

    def ends(self) -> dict[int, int]:
        with BrokerAdmin(self.endpoints) as admin:
            return {at: marks.high for at, marks in admin.watermarks(self.topic).items()}

    def until_read(self, ends: Mapping[int, int], within_s: float = 90.0) -> float:
        """Wait until the table is past the given ends; the seconds that it took."""
        since_s, found = time.monotonic(), dict[int, int]()

        def reached() -> bool:
            found.update(self.offsets())
            return all(found.get(at, 0) >= end for at, end in ends.items())

        until(reached, within_s, lambda: (found, ends, self.last_words()), every_s=0.2)
        return time.monotonic() - since_s

    def until_assigned(self, name: str) -> None:
        """Wait until a consumer that was just started has its partitions."""
        member = self.members[name]
        until(
            lambda: member.process.poll() is not None or "reads on" in member.said().rpartition("joining group")[2],
            60,
            self.last_words,
        )
        assert member.process.poll() is None, member.said()

    def last_words(self) -> str:
        return "\n".join(f"{m.name} ({m.process.poll()}): {m.said()[-1500:]}" for m in self.members.values())

    def close(self) -> None:
        self.services.network.heal()
        for process in (*(member.process for member in self.members.values()), *self.loads):
            process.kill()
            process.communicate()


def opened(services: Services, folder: Path, exchange: str) -> Platform:
    """An empty topic and table, with the services named on every host."""
    profile, secrets = folder / "hosts.yaml", {"password": PASSWORD, "key": SECRET_KEY, "key-id": ACCESS_KEY}
    for name, secret in secrets.items():
        (folder / name).write_text(secret)
    storage = services.store.storage | {"s3.access-key-id": "${file:key-id}", "s3.secret-access-key": "${file:key}"}
    written = _PROFILE.format(
        exchange=exchange,
        partitions=PARTITIONS,
        kafka=services.kafka.servers,
        redis=services.redis.url,
        catalog=services.postgres.database().replace(PASSWORD, "${file:password}"),
        warehouse=services.store.folder(),
        storage=json.dumps(storage),
    )
    profile.write_text(written)
    up = ("stack", "up", "--engine", "external", "--profile", str(profile))
    done = run(*up)
    assert done.returncode == 0, done.stderr
    endpoints = load_endpoints(Home.of_user())
    assert endpoints is not None
    platform = Platform(services, f"market.equities.trades.{exchange.lower()}", folder, endpoints)
    for host in CONSUMERS:
        (folder / host).mkdir()
        subprocess.run(platform.k2ctl(host, *up), check=True, capture_output=True, timeout=120)
    return platform


class Load:
    """`k2ctl load` from here, at a steady rate."""

    def __init__(self, platform: Platform, rate: int, duration_s: int) -> None:
        self._platform = platform
        self._log = platform.folder / "load.log"
        command = ["load", "--rate", str(rate), "--duration", str(duration_s), "--json"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "k2ctl", *command], stdout=subprocess.PIPE, stderr=log
            )
        platform.loads.append(self._process)

    def stop(self) -> dict[str, Any]:
        """End it with Ctrl-C; what it says that Kafka acknowledged."""
        self._process.send_signal(signal.SIGINT)
        said, _ = self._process.communicate(timeout=120)
        assert b"Traceback" not in self._log.read_bytes(), self._log.read_text()
        summary: dict[str, Any] = json.loads(said.splitlines()[-1])
        return summary


def assert_exactly_once(platform: Platform, load: Load) -> dict[str, Any]:
    """All that Kafka acknowledged is stored once, by the table, by `verify` and by a reader that is not k2ctl's."""
    summary = load.stop()
    platform.until_read(platform.ends())
    sources = Sources.of(platform.endpoints)
    with BrokerAdmin(platform.endpoints) as admin:
        assert_read_to_the_end(sources, platform.topic, admin.epoch(platform.topic))
    assert summary["exact"], summary
    assert assert_stored_once(sources, platform.topic) == 0, "Kafka has what was sent once more than once"
    stored = len(sources.rows())
    assert stored - summary["trades_failed"] <= summary["trades_acknowledged"] <= stored, summary
    for options in ((), ("--against-kafka",)):
        verified = run("verify", "--json", *options)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert json.loads(verified.stdout.splitlines()[-1])["holds"]
    for member in platform.members.values():
        assert "Traceback" not in member.said(), member.said()
    return summary
