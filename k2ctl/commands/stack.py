"""`k2ctl stack`: up, status, logs, down."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from k2ctl.errors import ExitCode, UsageError
from k2ctl.options import EngineOption, JsonOption, ProfileOption

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Start, inspect and stop the stack.\n\nExample:  k2ctl stack up --engine local",
)


@app.command(short_help="Start the stack and wait until it really works.")
def up(engine: EngineOption = "embedded", profile: ProfileOption = "laptop", as_json: JsonOption = False) -> None:
    """Start the stack and wait until it really works; says so when it runs already.

    Example:  k2ctl stack up
    """
    import orjson

    from k2ctl.console import out, print_json
    from k2ctl.panels.stack import progress, up_panel
    from k2ctl.profiles import load_profile
    from k2ctl.stack.lifecycle import up as start

    load_profile(profile)
    with progress("k2ctl stack up", quiet=as_json) as say:
        result = start(engine, profile, say)
    if as_json:
        print_json(orjson.dumps(result.endpoints.shown()))
    else:
        out().print(up_panel(result))


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Each service with its state and its real health.

    Example:  k2ctl stack status --json
    """
    import orjson

    from k2ctl.console import out, print_json
    from k2ctl.home import require_endpoints
    from k2ctl.panels.stack import status_table
    from k2ctl.stack.lifecycle import status as ask

    endpoints = require_endpoints()
    services = ask(endpoints)
    if as_json:
        print_json(orjson.dumps([asdict(service) for service in services]))
    else:
        out().print(status_table(endpoints, services))
    if any(service.health != "healthy" for service in services):
        raise typer.Exit(ExitCode.UNHEALTHY)


@app.command()
def logs(
    service: Annotated[str, typer.Argument(help="kafka or redis.")] = "kafka",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as new lines come.")] = False,
) -> None:
    """The log of a service.

    Example:  k2ctl stack logs -f kafka
    """
    from k2ctl.console import out
    from k2ctl.stack.lifecycle import log_lines

    for line in log_lines(service, follow=follow):
        out().print(line, markup=False, soft_wrap=True)


@app.command()
def down(
    volumes: Annotated[bool, typer.Option("--volumes", help="Delete the lake and Kafka's data too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop the stack; the lake stays unless --volumes is given.

    Example:  k2ctl stack down
    """
    from k2ctl.console import say
    from k2ctl.home import state_dir
    from k2ctl.panels.stack import progress
    from k2ctl.stack.lifecycle import down as stop

    if volumes and not yes:
        if not sys.stdin.isatty():
            raise UsageError("--volumes deletes the lake.", "Say that it is meant: k2ctl stack down --volumes --yes")
        typer.confirm(f"Delete the lake and all data in {state_dir()}?", abort=True)
    with progress("k2ctl stack down") as note:
        note("stopping")
        stopped = stop(volumes=volumes)
    if stopped is None:
        say("Nothing was running." + (" All data is deleted." if volumes else ""))
    else:
        kept = "all data is deleted" if volumes else f"the lake stays in {state_dir()}"
        say(f"The {stopped.engine} stack is down; {kept}.")
