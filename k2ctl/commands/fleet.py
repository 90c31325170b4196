"""`k2ctl consume --detach`, `status`, `stop`, `scale`: consumers in the background."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from k2ctl import known_names
from k2ctl.errors import ExitCode, UsageError
from k2ctl.options import JsonOption

if TYPE_CHECKING:
    from k2ctl.stack.fleet import Member

ASSIGNED_WITHIN_S = 60.0


def detach(count: int, arguments: Sequence[str], *, as_json: bool) -> None:
    """Start consumers in the background, and wait until each has its partitions."""
    from k2ctl.console import say
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.stack import fleet
    from k2ctl.views.stack import progress

    endpoints = require_endpoints(Home.of_user())
    with progress("k2ctl consume --detach", quiet=as_json) as report:
        report(f"starting {count}")
        names = fleet.start(endpoints, count, arguments)
        if not fleet.until_assigned(endpoints, names, ASSIGNED_WITHIN_S, report):
            say("They run, and not every partition is assigned yet. See: k2ctl consume status")
    _show(fleet.look(endpoints), as_json=as_json)
    if not as_json:
        say("Look at them with: k2ctl consume status; stop them with: k2ctl consume stop --all")


def status(as_json: JsonOption = False) -> None:
    """The consumers in the background: state, partitions, level, lag, rate.

    Example:  k2ctl consume status --json
    """
    from k2ctl.console import say
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.stack import fleet

    found = fleet.look(require_endpoints(Home.of_user()))
    _show(found, as_json=as_json)
    if not found and not as_json:
        say("No consumer runs in the background. Start some with: k2ctl consume --detach --replicas 2")
    if any(member.state in ("exited", "silent") for member in found):
        raise typer.Exit(ExitCode.UNHEALTHY)


def stop(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="consumer-1, consumer-2, …", autocompletion=known_names.consumers),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let consumers commit what they have read, and end; their partitions go to those that stay.

    Example:  k2ctl consume stop consumer-2
    """
    from k2ctl.console import say
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.stack import fleet

    endpoints = require_endpoints(Home.of_user())
    if bool(names) == every:
        raise UsageError("Say which: names, or --all.", "See who runs: k2ctl consume status")
    chosen = list(names) if names else [member.name for member in fleet.members(endpoints, started=True)]
    if not chosen and not as_json:
        say("No consumer runs in the background.")
    _report_ended(fleet.stop(endpoints, chosen), as_json=as_json)


def scale(
    count: Annotated[int, typer.Argument(min=0, metavar="N", help="How many shall run.")],
    as_json: JsonOption = False,
) -> None:
    """Have N consumers in the background, started as the last ones were; the highest numbers end first.

    Example:  k2ctl consume scale 3
    """
    from k2ctl.console import say
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.stack import fleet
    from k2ctl.views.stack import progress

    endpoints = require_endpoints(Home.of_user())
    with progress("k2ctl consume scale", quiet=as_json) as report:
        report(f"to {count}")
        running, ended = fleet.scale(endpoints, count)
        if running and not fleet.until_assigned(endpoints, running, ASSIGNED_WITHIN_S, report):
            say("They run, and not every partition is assigned yet. See: k2ctl consume status")
    if ended and not as_json:
        _report_ended(ended, as_json=False)
    _show(fleet.look(endpoints), as_json=as_json)


def _report_ended(ended: "Sequence[Member]", *, as_json: bool) -> None:

    from k2ctl.console import print_json, say
    from k2ctl.views.consume import ended_line

    if as_json:
        print_json(list(ended))
        return
    for member in ended:
        say(ended_line(member))


def _show(found: "Sequence[Member]", *, as_json: bool) -> None:

    import time

    from k2ctl.console import out, print_json, say
    from k2ctl.views.consume import fleet_table

    if as_json:
        print_json(list(found))
    elif found:
        out().print(fleet_table(found, time.time()))
        for member in found:
            if member.why:
                say(f"{member.name} is {member.state}: {member.why}")
