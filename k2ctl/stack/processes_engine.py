"""Engines whose services are processes of this machine: embedded and local; and what a stack that died has left."""

import json
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil

from k2ctl.clock import SystemClock
from k2ctl.domain.topics import may_hold_trades
from k2ctl.endpoints import Endpoints, ProcessId, forget_endpoints, load_endpoints, save_endpoints
from k2ctl.errors import BrokerError, K2Error
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.embedded import control
from k2ctl.profiles import load_profile
from k2ctl.stack import local
from k2ctl.stack.engine import Report, ServiceStatus, Up, Wanted, note
from k2ctl.stack.processes import end, is_alive, log_lines, start_detached
from k2ctl.stack.readiness import health, wait_for_kafka
from k2ctl.stack.replicas import started_records, stop_processes

LOGGER: Final = logging.getLogger("k2ctl.stack")
DATA_FOLDERS: Final = ("lake", "kafka", "redis")


@dataclass(frozen=True)
class ProcessEngine:
    """An engine of background processes; what differs is how they start and end."""

    home: Home
    name: str
    # Takes the lake's places and starts the processes.
    start: Callable[[Endpoints, Callable[[str], None]], Endpoints]
    # Writes down what goes with Kafka's process.
    note_end: Callable[[Endpoints], None]
    shut_down: Callable[[Endpoints], None]
    # Raises when a service beside Kafka does not answer.
    check: Callable[[Endpoints], None]
    kafka_patience_s: float

    def up(self, profile: str, wanted: Wanted, report: Report) -> Up:
        """See `Engine`. Dead processes are cleared away and started again; data stays."""
        wanted.refuse_containers(self.name)
        self.home.require_unmoved()
        started_s = time.monotonic()
        existing, repaired = self._endpoints(), False
        if existing is not None:
            if all(map(is_alive, existing.processes.values())):
                return Up(existing, True, False, time.monotonic() - started_s)
            report(note("clearing away a stack that died"))
            stop_processes(self.home, [record.name for record in started_records(self.home)])
            self.shut_down(existing)
            forget_endpoints(self.home)
            repaired = True
        repaired |= end_leftovers(self.home, report)
        endpoints = self._start(profile, report)
        return Up(endpoints, False, repaired, time.monotonic() - started_s, tuple(endpoints.processes))

    def _start(self, profile: str, report: Report) -> Endpoints:
        lake = self.home.folder("lake")
        self.home.remember_place()
        base = Endpoints(
            engine=self.name,
            bootstrap_servers="",
            catalog_uri=f"sqlite:///{lake}/catalog.db",
            warehouse=f"file://{lake}/warehouse",
            profile=profile,
            table=load_profile(profile).lake.table,
            started_at_us=time.time_ns() // 1000,
            home=self.home,
        )
        report(note(f"starting the {self.name} engine"))
        endpoints = self.start(base, lambda what: report(note(what)))
        try:
            # Written before it is ready, so that a crash from here on leaves something that `down` can find.
            save_endpoints(endpoints)
            report(note("waiting until a record makes the round trip through Kafka"))
            wait_for_kafka(endpoints, self.kafka_patience_s, lambda: is_alive(endpoints.processes["kafka"]))
            self.check(endpoints)
        except BaseException:
            self.shut_down(endpoints)
            forget_endpoints(self.home)
            raise
        return endpoints

    def down(self, *, volumes: bool, report: Report) -> bool:
        """See `Engine`. The lake and Kafka's data are the volumes."""
        endpoints = self._endpoints()
        if endpoints is not None:
            report(note("stopping"))
            # While Kafka and the catalog are there, so that what consumers have read is committed first.
            stop_processes(self.home, [record.name for record in started_records(self.home)])
            if not volumes:
                self._note_end(endpoints, report)
            self.shut_down(endpoints)
            forget_endpoints(self.home)
        ended = end_leftovers(self.home, report)
        if volumes:
            for name in DATA_FOLDERS:
                shutil.rmtree(self.home.path / name, ignore_errors=True)
            self.home.forget_place()
        return endpoints is not None or ended

    def _note_end(self, endpoints: Endpoints, report: Report) -> None:
        try:
            self.note_end(endpoints)
        except K2Error as error:
            LOGGER.warning("the end of an epoch is not in the table", extra={"error": str(error)})
            report(note(f"how far Kafka has come is not written into the table: {error}"))

    def is_up(self) -> bool:
        """See `Engine`."""
        return self._endpoints() is not None

    def _endpoints(self) -> Endpoints | None:
        endpoints = load_endpoints(self.home)
        return endpoints if endpoints is not None and endpoints.engine == self.name else None

    def status(self, *, figures: bool = True) -> list[ServiceStatus]:  # noqa: ARG002 - they cost nothing here
        """Kafka gets a record there and back, Redis answers, the catalog opens."""
        endpoints = self._endpoints()
        if endpoints is None:
            return []
        services = [_of_process(endpoints, service, process) for service, process in endpoints.processes.items()]
        return [*services, ServiceStatus("catalog", "file", health(endpoints, "catalog"), endpoints.catalog_uri)]

    def log_lines(self, service: str, *, follow: bool) -> Iterator[str]:
        """See `Engine`."""
        return log_lines(service, follow=follow, home=self.home)


def _of_process(endpoints: Endpoints, service: str, process: ProcessId) -> ServiceStatus:
    endpoint = endpoints.bootstrap_servers if service == "kafka" else endpoints.state_url
    gone = ServiceStatus(service, "exited", f"process {process.pid} is gone", endpoint)
    if not is_alive(process):
        return gone
    try:
        found = psutil.Process(process.pid)
        used_s, memory_bytes = sum(found.cpu_times()[:2]), int(found.memory_info().rss)
    except psutil.NoSuchProcess:  # it ended just now
        return gone
    uptime_s = time.time() - process.created_s
    return ServiceStatus(
        service,
        "running",
        health(endpoints, service),
        endpoint,
        process.pid,
        round(uptime_s, 1),
        memory_bytes,
        round(used_s / max(uptime_s, 0.1), 3),
    )


def local_engine(home: Home) -> ProcessEngine:
    """Apache Kafka and Redis as processes."""
    return ProcessEngine(
        home=home,
        name="local",
        start=local.start,
        note_end=lambda _: None,
        shut_down=local.shut_down,
        check=local.check_redis,
        kafka_patience_s=60.0,
    )


def embedded_engine(home: Home) -> ProcessEngine:
    """Kafka in one background process."""
    return ProcessEngine(
        home=home,
        name="embedded",
        start=lambda base, _: _start_embedded(base),
        note_end=_note_embedded_end,
        shut_down=_shut_down_embedded,
        check=lambda _: None,
        kafka_patience_s=10.0,
    )


def control_socket_path(home: Home) -> Path:
    """Where the broker's process is asked for what its wire protocol lacks."""
    return home.socket("kafka.sock")


def _start_embedded(base: Endpoints) -> Endpoints:
    """Start the broker's process; `base` has the lake's places."""
    control_socket = str(control_socket_path(base.home))
    arguments = [sys.executable, "-m", "k2ctl.kafka.embedded", control_socket]
    process, line = start_detached("kafka", arguments, read_line=True, home=base.home)
    ready = json.loads(line)
    return replace(
        base,
        bootstrap_servers=ready["bootstrap_servers"],
        control_socket=control_socket,
        epoch=ready["epoch"],
        processes={"kafka": process},
    )


def _shut_down_embedded(endpoints: Endpoints) -> None:
    """End the broker's process."""
    process = endpoints.processes.get("kafka")
    if process is None or not is_alive(process):
        return
    if endpoints.control_socket:
        with suppress(BrokerError):  # it hangs or is gone; it is ended by a signal then
            control(endpoints.control_socket, "shutdown")
    end([process])


def _note_embedded_end(endpoints: Endpoints) -> None:
    """Write into the table how far the broker has come, which is about to end with its log.

    Raises:
        BrokerError, LakeError: Kafka or the table cannot be used; the next consumer says that what is lost is unknown.
    """
    process = endpoints.processes.get("kafka")
    if endpoints.epoch is None or process is None or not is_alive(process):
        return
    with BrokerAdmin(endpoints) as admin:
        marks = {
            topic: {partition: mark.high for partition, mark in admin.watermarks(topic).items()}
            for topic in filter(may_hold_trades, admin.topics())
        }
    if any(any(highs.values()) for highs in marks.values()):
        # pyiceberg takes a second to import
        from k2ctl.lake.catalog import Lake
        from k2ctl.lake.checkpoints import note_end as write

        with Lake.at(endpoints) as lake:
            write(lake, SystemClock(), endpoints.epoch, marks)


def leftover_processes(home: Home, endpoints: Endpoints | None) -> list[tuple[str, ProcessId]]:
    """Each server of this state directory that the endpoints do not name, with its service."""
    known = {process.pid for process in endpoints.processes.values()} if endpoints else set()
    running = psutil.process_iter(["cmdline", "cwd", "create_time"])
    servers = ((_service(home, one.info), ProcessId(one.pid, one.info["create_time"])) for one in running)
    return [(service, process) for service, process in servers if service and process.pid not in known]


def end_leftovers(home: Home, report: Report) -> bool:
    """End servers and consumers of a stack that is down and did not take them along; False when there were none.

    An `up` that was killed leaves them, and endpoints that were damaged.
    """
    consumers = [record.name for record in started_records(home) if record.alive]
    servers = leftover_processes(home, None)
    if not consumers and not servers:
        return False
    report(note("ending what a stack has left behind"))
    stop_processes(home, consumers)
    end([process for _, process in servers])
    return True


def _service(home: Home, process: dict[str, Any]) -> str:
    """Which service of this state directory a process is; empty for any other."""
    words, folder = process["cmdline"] or [], process["cwd"]
    if not words or not folder:
        return ""
    if "k2ctl.kafka.embedded" in words and _names(words, folder, control_socket_path(home)):
        return "kafka"
    if "kafka.Kafka" in words and _names(words, folder, home.path / "kafka" / "server.properties"):
        return "kafka"
    # Redis rewrites its own command line, and works in the folder of its data.
    if "redis-server" in words[0] and Path(folder) == (home.path / "redis").resolve():
        return "redis"
    return ""


def _names(words: list[str], folder: str, path: Path) -> bool:
    """Whether an argument of a process that works in `folder` is this path."""
    wanted = path.resolve()
    return any((Path(folder) / word).resolve() == wanted for word in words if word.endswith(path.name))
