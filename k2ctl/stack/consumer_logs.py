"""What all consumers in the background logged last, as one log."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from k2ctl.endpoints import Endpoints
from k2ctl.stack import replicas
from k2ctl.stack.docker import consumers as containers
from k2ctl.stack.processes import newest_lines
from k2ctl.stack.replicas import PREFIX

_TIME: Final = len("2026-11-30T22:13:20.000Z")


def newest_log_lines(endpoints: Endpoints, count: int) -> list[str]:
    """The newest lines of each, oldest first, with its name behind their time. Empty where there is none."""
    entries = [entry for name, lines in _logs(endpoints, count).items() for entry in _named(name, lines)]
    return [line for _, line in sorted(entries, key=lambda entry: entry[0])]


def _logs(endpoints: Endpoints, count: int) -> dict[str, list[str]]:
    if endpoints.engine == "docker":
        return {f"{PREFIX}{number}": lines for number, lines in containers.consumer_logs(endpoints.home, count).items()}
    found = {}
    for record in replicas.records(endpoints.home):
        with suppress(OSError):
            found[record.name] = newest_lines(record.name, endpoints.home, count)
    return found


def _named(name: str, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each line with its time, by which logs are merged: of one without a time, as in a traceback, that before it."""
    at = ""
    for line in lines:
        time, rest = line[:_TIME], line[_TIME:]
        if time[4:5] == "-" and time.endswith("Z"):
            at = time
            yield at, f"{time[11:]} {name}{rest}"
        else:
            yield at, line
