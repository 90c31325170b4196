"""The consumers of a stack that run in the background: processes or, on the docker engine, containers.

Started, listed, stopped and scaled in one way; `consumer-N` is a consumer's name in its group, its status and its log.
"""

import fcntl
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import orjson

from k2ctl.domain.status import ConsumerStatus
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerUnanswered, StackError, UsageError, first_line
from k2ctl.files import write_atomically
from k2ctl.home import Home
from k2ctl.kafka.telemetry import TelemetryReader
from k2ctl.stack import replicas
from k2ctl.stack.docker import consumers as containers
from k2ctl.stack.processes import last_lines
from k2ctl.stack.replicas import PREFIX, known_as

LOGGER: Final = logging.getLogger("k2ctl.stack")

STARTS_WITHIN_S: Final = 60.0
"""How long a consumer may take until its first status."""

FIRST_WORD_S: Final = 1.5
"""How long `look` waits for statuses; each consumer sends one every 500 ms."""


@dataclass(frozen=True)
class Member:
    """One consumer, with what it reported last."""

    name: str
    # running, starting (it has not reported yet), silent (it should have by now) or exited
    state: str
    # What it runs as: a process or a container.
    pid: int | None = None
    container: str | None = None
    started_at_us: int | None = None
    # Of its last report; None while there is none.
    level: str | None = None
    partitions: tuple[int, ...] = ()
    lag_trades: int | None = None
    # Trades read per second.
    rate_in: float | None = None
    # Figure → count, of a process that has ended by itself.
    done: dict[str, int] | None = None
    # What it waits for; the last line of its log while it is silent.
    why: str = ""
    # That the partitions are of; several where it reads those that a regular expression matches.
    topics: tuple[str, ...] = ()


def members(endpoints: Endpoints, *, started: bool = False) -> list[Member]:
    """Every consumer in the background, with nothing of what it says.

    started: wait until those that are starting have registered.
    """
    if endpoints.engine == "docker":
        return [
            Member(f"{PREFIX}{one.number}", one.state, container=one.name, started_at_us=one.started_at_us)
            for one in containers.list_consumers(endpoints.home)
        ]
    return [
        Member(r.name, "running" if r.alive else "exited", r.process.pid, None, r.started_at_us, done=r.done)
        for r in (replicas.started_records(endpoints.home) if started else replicas.records(endpoints.home))
    ]


def look(endpoints: Endpoints, wait_s: float = FIRST_WORD_S) -> list[Member]:
    """Every consumer in the background, with what it says of itself: in its log, where Kafka does not answer.

    Raises:
        BrokerError: Kafka answers, and does not let this user read `k2.telemetry`.
    """
    found = members(endpoints)
    if not any(member.state == "running" for member in found):
        return found
    try:
        reported = _reported(endpoints, wait_s)
    except BrokerUnanswered as error:
        LOGGER.warning("what consumers report is not known: %s", first_line(error))
        reported = {}
    engine, home = endpoints.engine, endpoints.home
    return [_reporting(one, reports_of(known_as(one.name, engine), reported), home) for one in found]


def _reported(endpoints: Endpoints, wait_s: float) -> Mapping[str, ConsumerStatus]:
    telemetry = TelemetryReader(endpoints)
    try:
        return telemetry.look(wait_s).consumers
    finally:
        telemetry.close()


def reports_of(name: str, reported: Mapping[str, ConsumerStatus]) -> list[ConsumerStatus]:
    """The statuses of a consumer, by what it is called there: one, or one for each topic, with the topic's name."""
    return [status for key, status in reported.items() if key in (name, f"{name}.{status.topic}")]


def _reporting(member: Member, statuses: Sequence[ConsumerStatus], home: Home) -> Member:
    if member.state != "running":
        return member
    if not statuses:
        return _silent(member, home)
    lags = [status.lag_trades for status in statuses if status.lag_trades is not None]
    return replace(
        member,
        level=max(statuses, key=lambda status: status.level_number).level,
        partitions=tuple(part.partition for status in statuses for part in status.partitions),
        topics=tuple(status.topic for status in statuses),
        lag_trades=sum(lags) if len(lags) == len(statuses) else None,
        rate_in=sum(status.rate_in for status in statuses),
        why=next((status.waiting for status in statuses if status.waiting), ""),
    )


def _silent(member: Member, home: Home) -> Member:
    """One that says nothing: at first it starts, later something keeps it from speaking."""
    up_s = time.time() - (member.started_at_us or 0) / 1e6
    why = f"k2ctl stack logs {member.container}" if member.container else last_lines(member.name, home, count=1)
    return replace(member, state="starting" if up_s < STARTS_WITHIN_S else "silent", why=why)


def start(endpoints: Endpoints, count: int, arguments: Sequence[str] | None = None) -> list[str]:
    """Start `count` more, under the lowest free numbers; returns their names.

    arguments: those of `k2ctl consume`; None for those of the last start.

    Raises:
        StackError: one does not start; those that run go on.
    """
    home = endpoints.home
    with _one_at_a_time(home):
        if arguments is None:
            arguments = _last_arguments(home)
        write_atomically(_arguments_file(home), orjson.dumps(list(arguments)).decode())
        taken = {member.name for member in members(endpoints, started=True) if member.state == "running"}
        names = [name for n in range(1, len(taken) + count + 1) if (name := f"{PREFIX}{n}") not in taken][:count]
        if endpoints.engine != "docker":
            replicas.start_processes(home, names, arguments)
            return names
        _refuse_file(arguments)
        for name in names:
            _clear_container(home, name)
            containers.start_consumers(home, 1, ["--group", "--name", name, *arguments])
        return names


def _refuse_file(arguments: Sequence[str]) -> None:
    feed = next((after for option, after in pairwise(arguments) if option == "--feed"), "")
    if Path(feed).is_absolute():
        raise UsageError(
            f"A consumer in a container does not see {feed}, a file of this machine.",
            f"In the foreground it does: k2ctl consume --feed {feed}",
        )


def _clear_container(home: Home, name: str) -> None:
    """Remove one that has ended, so that its number is free."""
    ended = [one.name for one in containers.list_consumers(home) if f"{PREFIX}{one.number}" == name]
    if ended:
        containers.stop_consumers(home, ended)


def stop(endpoints: Endpoints, names: Collection[str]) -> list[Member]:
    """Let them commit and end; returns them as they ended.

    Raises:
        UsageError: there is none of that name.
    """
    known = {member.name: member for member in members(endpoints)}
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise UsageError(f"There is no consumer '{unknown[0]}'.", f"There are: {', '.join(known) or 'none'}")
    if endpoints.engine == "docker":
        containers.stop_consumers(endpoints.home, [known[name].container or name for name in names])
        return [replace(known[name], state="exited") for name in names]
    return [replace(known[r.name], state="exited", done=r.done) for r in replicas.stop_processes(endpoints.home, names)]


def scale(endpoints: Endpoints, count: int) -> tuple[list[str], list[Member]]:
    """Have `count` of them run: start more, or end those with the highest numbers; returns who runs, and who ended."""
    found = members(endpoints, started=True)
    running = [member.name for member in found if member.state == "running"]
    dead = [member.name for member in found if member.state != "running"]
    if count < len(running):
        return running[:count], stop(endpoints, [*running[count:], *dead])
    return [*running, *(start(endpoints, count - len(running)) if count > len(running) else [])], []


def until_assigned(endpoints: Endpoints, names: Collection[str], within_s: float, say: Callable[[str], None]) -> bool:
    """Wait until each of these consumers has partitions, and none has two consumers; False when that takes too long.

    Raises:
        StackError: one of them has ended.
    """
    telemetry = TelemetryReader(endpoints)
    try:
        for _ in range(round(within_s / 0.25)):
            reported = telemetry.poll(0.25).consumers
            ended = [member.name for member in members(endpoints) if member.name in names and member.state == "exited"]
            if ended:
                raise StackError(f"{ended[0]} has ended.", f"See: k2ctl stack logs {ended[0]}")
            every = [one for name, one in reported.items() if name.startswith(PREFIX)]
            held = [(one.topic, part.partition) for one in every for part in one.partitions]
            reporting = [name for name in names if reports_of(known_as(name, endpoints.engine), reported)]
            say(f"{len(reporting)} of {len(names)} report, {len(set(held))} partitions are assigned")
            if len(reporting) == len(names) and held and len(held) == len(set(held)):
                return True
        return False
    finally:
        telemetry.close()


def _arguments_file(home: Home) -> Path:
    return home.path / "consumers.arguments"


def _last_arguments(home: Home) -> list[str]:
    try:
        return [str(argument) for argument in orjson.loads(_arguments_file(home).read_bytes())]
    except FileNotFoundError:
        return []  # none was started yet
    except (OSError, ValueError) as error:
        extra = {"path": str(_arguments_file(home)), "error": str(error)}
        LOGGER.warning("the arguments of the last start cannot be read; none are given", extra=extra)
        return []


@contextmanager
def _one_at_a_time(home: Home) -> Iterator[None]:
    """Two that start consumers do not take the same numbers."""
    with (home.path / "consumers.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError("Another k2ctl is starting consumers right now.", "Wait: k2ctl consume status") from error
        yield
