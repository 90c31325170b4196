"""Engines whose services are processes of this machine: embedded and local."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import psutil

from k2ctl.endpoints import Endpoints, ProcessId, forget_endpoints, load_endpoints, save_endpoints
from k2ctl.errors import K2Error
from k2ctl.home import Home
from k2ctl.stack import embedded, local
from k2ctl.stack.engine import Report, ServiceStatus, Up, Wanted
from k2ctl.stack.leftovers import end_leftovers
from k2ctl.stack.logs import log_lines
from k2ctl.stack.processes import is_alive
from k2ctl.stack.progress import note
from k2ctl.stack.readiness import health, wait_for_kafka
from k2ctl.stack.replicas import started_records, stop_processes

DATA_FOLDERS: Final = ("lake", "kafka", "redis")


@dataclass(frozen=True)
class ProcessEngine:
    """An engine of background processes; what differs is how they start and end.

    start: takes the lake's places and starts the processes. check: raises when a service beside Kafka does not answer.
    note_end: writes down what goes with Kafka's process.
    """

    home: Home
    name: str
    start: Callable[[Endpoints, Callable[[str], None]], Endpoints]
    note_end: Callable[[Endpoints], None]
    shut_down: Callable[[Endpoints], None]
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
    except psutil.NoSuchProcess:
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


def embedded_engine(home: Home) -> ProcessEngine:
    """Kafka in one background process."""
    return ProcessEngine(
        home=home,
        name="embedded",
        start=lambda base, _: embedded.start(base),
        note_end=embedded.note_end,
        shut_down=embedded.shut_down,
        check=lambda _: None,
        kafka_patience_s=10.0,
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
