"""Is the stack that is up in good health, and does anything of ours run that should not."""

from typing import Final

from k2ctl.endpoints import Endpoints
from k2ctl.home import Home
from k2ctl.kafka.probe import clock_ahead_s, newest_record_ahead_s
from k2ctl.redact import without_password
from k2ctl.stack import fleet, replicas
from k2ctl.stack.engine import ServiceStatus
from k2ctl.stack.leftovers import leftover_containers, leftover_processes
from k2ctl.stack.lifecycle import running_engine, status
from k2ctl.stack.preflight import Check, Verdict, ok

CLOCK_NOTED_S: Final = 1.0
CLOCK_WRONG_S: Final = 60.0
"""Trades more than five minutes ahead are dead letters, and ages are shown in seconds."""
CLOCK_PATIENCE_S: Final = 2.0
REGISTER: Final = "k2ctl lake register"
"""What helps a catalog that answers and does not know the table."""


def which_stack(running: str | None, endpoints: Endpoints | None, wanted: str) -> list[Check]:
    """Whether one is up, wholly, and is the one that was asked for."""
    if running is None:
        return [ok("stack", "none is up")]
    if endpoints is None:
        return [_wrong("stack", f"`up` of the {running} engine was not finished", f"k2ctl stack up --engine {running}")]
    if wanted and wanted != running:
        return [_note("stack", f"the {running} engine is up, and only one can be", "k2ctl stack down")]
    return [ok("stack", f"{running}, profile {endpoints.profile}")]


def service_checks(engine: str, services: list[ServiceStatus]) -> list[Check]:
    """One for each service; `consumer_checks` reports consumers in containers."""
    return [_service(engine, one) for one in services if one.service.partition("-")[0] != "consumer"]


def running_services() -> list[ServiceStatus]:
    """The services of what is up; none when nothing is."""
    return status(figures=False) if running_engine() else []


def _service(engine: str, one: ServiceStatus) -> Check:
    name = f"service {one.service}"
    if one.fine:
        return ok(name, one.health)
    if one.health == "starting":
        return _note(name, "starting", "k2ctl stack status")
    if one.state == "external":
        return _wrong(
            name, one.health.splitlines()[0], f"It is run by others, at {without_password(one.endpoint)}: ask them"
        )
    if REGISTER in one.health:
        return _wrong(name, one.health.splitlines()[0], REGISTER)
    logs = "" if one.service == "catalog" else f"k2ctl stack logs {one.service}; then: "
    found = one.health if one.state in ("running", "file") else f"{one.state}: {one.health}"
    return _wrong(name, found.splitlines()[0], f"{logs}k2ctl stack up --engine {engine}")


def leftovers(endpoints: Endpoints | None) -> list[Check]:
    """Servers and containers of this state directory that no stack knows."""
    found = [
        _wrong(f"leftover {service}", f"process {pid} is of this state directory, and no stack knows it", f"kill {pid}")
        for service, (pid, _) in leftover_processes(Home.of_user(), endpoints)
    ]
    containers = leftover_containers(Home.of_user())
    if containers:
        names = " ".join(containers)
        found.append(
            _wrong("leftover containers", f"the stack is down, and there are {names}", f"docker rm -f {names}")
        )
    return found or [ok("leftovers", "none")]


def consumer_checks(endpoints: Endpoints | None) -> list[Check]:
    """Consumers in the background: those that died, and those whose stack is gone."""
    if endpoints is None:
        return [
            _wrong(
                record.name, f"process {record.process.pid} runs, and its stack is gone", f"kill {record.process.pid}"
            )
            for record in replicas.records()
            if record.alive
        ]
    members = fleet.members(endpoints)
    running = sum(member.state == "running" for member in members)
    help_ = f"k2ctl stack logs NAME; then: k2ctl consume scale {len(members)}"
    found = []
    for member in members:
        if member.state != "running" and member.done is None:
            found.append(
                _wrong(member.name, "died, or was killed", help_.replace("NAME", member.container or member.name))
            )
        elif member.state != "running":
            found.append(_note(member.name, "has ended by itself", help_.replace("NAME", member.name)))
    return found or [ok("consumers", f"{running} in the background")]


def clock(endpoints: Endpoints) -> list[Check]:
    """Kafka's clock against ours, by a record; the embedded Kafka stamps none, so there the newest trade's tells."""
    ahead_s = None if endpoints.engine == "embedded" else clock_ahead_s(endpoints, CLOCK_PATIENCE_S)
    if ahead_s is None:
        newest_s = newest_record_ahead_s(endpoints, CLOCK_PATIENCE_S)
        if newest_s is None or newest_s < CLOCK_WRONG_S:
            return [ok("clock", "no record in Kafka is later than this machine's")]
        found = f"the newest record in Kafka is {newest_s:.0f} s later than this machine's"
        return [Check("clock", Verdict.WRONG, found, "Let NTP set it: timedatectl set-ntp true")]
    side = "ahead of" if ahead_s > 0 else "behind"
    found = f"Kafka's is {abs(ahead_s):.3f} s {side} this machine's"
    if abs(ahead_s) < CLOCK_NOTED_S:
        return [ok("clock", found)]
    verdict = Verdict.WRONG if abs(ahead_s) >= CLOCK_WRONG_S else Verdict.NOTE
    return [Check("clock", verdict, found, "Let NTP set both: timedatectl set-ntp true")]


def _wrong(name: str, found: str, help_: str) -> Check:
    return Check(name, Verdict.WRONG, found, help_)


def _note(name: str, found: str, help_: str) -> Check:
    return Check(name, Verdict.NOTE, found, help_)
