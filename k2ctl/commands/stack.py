"""`k2ctl stack`: up, status, logs, render, down."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from k2ctl import known_names
from k2ctl.errors import ExitCode, UsageError
from k2ctl.options import JsonOption, YesOption, check_writable, confirm, group, parse_duration
from k2ctl.settings import SETTINGS

SetEngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="embedded, local, docker or external.",
        envvar=SETTINGS["engine"].variable,
        autocompletion=known_names.engines,
    ),
]
SetProfileOption = Annotated[
    str,
    typer.Option(
        "--profile",
        metavar="NAME|PATH",
        help="A shipped profile by name, or a YAML file.",
        envvar=SETTINGS["profile"].variable,
        autocompletion=known_names.profiles,
    ),
]
ServiceOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Only this service and what it needs; may be repeated.", show_default="all services"
    ),
]
WithoutOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="All but this service; may be repeated.", show_default="none is left out"),
]
PortOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=PORT",
        help="kafka=19092, kafka=auto, or auto for free ports; may be repeated.",
        show_default="those of stack/compose.yaml",
    ),
]

app = group(no_args_is_help=True, help="Start, inspect and stop the stack.\n\nExample:  k2ctl stack up --engine local")


@app.command(short_help="Start the stack and wait until it really works.")
def up(
    engine: SetEngineOption = SETTINGS["engine"].default,
    profile: SetProfileOption = SETTINGS["profile"].default,
    service: ServiceOption = None,
    without: WithoutOption = None,
    port: PortOption = None,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="How long it may take.")] = "180s",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every service works.")] = True,
    build: Annotated[bool, typer.Option("--build", help="Build the images that are made from this project.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start the stack and wait until it really works; says so when it runs already.

    Options from --service to --build are for the docker engine. The external engine starts nothing: it tries the
    services that the profile's section `external` names, and leaves their addresses to every other command; with
    --no-wait it only leaves the addresses.

    Example:  k2ctl stack up --engine docker --port kafka=19092
    """

    from k2ctl.console import out, print_json, say
    from k2ctl.home import Home
    from k2ctl.profiles import lasting_name, load_profile
    from k2ctl.stack.engine import Wanted
    from k2ctl.stack.lifecycle import up as start
    from k2ctl.stack.readiness import lost_catalog
    from k2ctl.views.stack import service_progress, up_panel

    load_profile(profile)
    ports = dict(map(_parse_port, port or []))
    wanted = Wanted(tuple(service or []), tuple(without or []), ports, parse_duration(timeout), wait, build)
    with service_progress(f"k2ctl stack up --engine {engine}", quiet=as_json) as report:
        result = start(engine, lasting_name(profile), report, wanted, home=Home.of_user())
    if as_json:
        print_json(result.endpoints.shown().document())
    else:
        out().print(up_panel(result))
    lost = lost_catalog(result.endpoints) if wait else ""
    if lost:
        say(lost)


def _parse_port(text: str) -> tuple[str, int | None]:
    """`kafka=19092`, `kafka=auto` or `auto` as a name and a port, None for any free one."""
    name, _, port = text.partition("=")
    if port in ("auto", "") and (port or name == "auto"):
        return name, None
    if not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise typer.BadParameter(f"'{text[:40]}' is no port; write kafka=19092, kafka=auto or auto")
    return name, int(port)


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Each service with its state and its real health.

    Example:  k2ctl stack status --json
    """

    from k2ctl.console import out, print_json
    from k2ctl.endpoints import load_endpoints, without_password
    from k2ctl.home import Home
    from k2ctl.stack.lifecycle import status as ask
    from k2ctl.views.stack import status_table

    services = ask(home=Home.of_user())
    if as_json:
        shown = [replace(service, endpoint=without_password(service.endpoint)) for service in services]
        print_json(list(shown))
    else:
        out().print(status_table(load_endpoints(Home.of_user()), services))
    if not services or not all(service.fine for service in services):
        raise typer.Exit(ExitCode.UNHEALTHY)


@app.command()
def logs(
    service: Annotated[str, typer.Argument(help="kafka, redis, consumer-1, …; see: k2ctl stack status")] = "kafka",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as new lines come.")] = False,
) -> None:
    """The log of a service, or of a consumer in the background. How much is logged: k2ctl --log-level LEVEL.

    Example:  k2ctl stack logs consumer-1 -f
    """
    from k2ctl.console import out
    from k2ctl.home import Home
    from k2ctl.stack.lifecycle import log_lines

    for line in log_lines(service, follow=follow, home=Home.of_user()):
        out().print(line, soft_wrap=True)


@app.command()
def render(
    kubernetes: Annotated[bool, typer.Option("--kubernetes", help="Values for the Helm chart of a profile.")] = False,
    profile: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="Whose values: by name, or a YAML file.",
            show_default="laptop",
            autocompletion=known_names.profiles,
        ),
    ] = "",
    chart: Annotated[
        Path | None,
        typer.Option(
            "--chart",
            metavar="FOLDER",
            help="Write the chart itself there, with the values.",
            show_default="only the values are written",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write to this file.", show_default="stdout")
    ] = None,
) -> None:
    """The Compose file of the docker engine with every variable, path and port resolved; holds no secret.

    With --kubernetes the values of the Helm chart for a profile: secrets stay references to keys of a Secret.

    Example:  k2ctl stack render > resolved.yaml

    k2ctl stack render --kubernetes --profile ./prod.yaml --chart ./k2-chart
    """
    if not kubernetes and (profile or chart):
        raise UsageError("--profile and --chart are for Kubernetes.", "k2ctl stack render --kubernetes --profile 1M")
    check_writable(output, "Name one in a folder that is there: --output FILE")
    if kubernetes:
        _render_values(profile or "laptop", chart, output)
        return

    from k2ctl.stack.compose.render import render as to_yaml
    from k2ctl.stack.docker.engine import resolved

    _write(to_yaml(resolved()), output)


def _render_values(profile: str, chart: Path | None, output: Path | None) -> None:
    from k2ctl.console import say
    from k2ctl.cost.fit import require_fit
    from k2ctl.profiles import load_profile
    from k2ctl.stack.kubernetes import VALUES, render_values, write_chart

    require_fit(load_profile(profile), profile)
    rendered = render_values(profile)
    if chart is not None:
        write_chart(chart, rendered.text)
        say(f"The chart is at {chart}. Install it: helm install k2 {chart} -f {chart / VALUES}")
    if chart is None or output is not None:
        _write(rendered.text, output)
    if rendered.missing:
        say(
            f"{rendered.missing} Add `external` to `profile` in the values, or write a profile with it: stack/README.md"
        )


def _write(text: str, output: Path | None) -> None:
    from k2ctl.console import out

    if output is None:
        out().file.write(text)
    else:
        output.write_text(text, encoding="utf-8")


@app.command()
def down(
    volumes: Annotated[bool, typer.Option("--volumes", help="Delete the lake and all other data too.")] = False,
    yes: YesOption = False,
) -> None:
    """Stop the stack; the data stays unless --volumes is given. What is not its own is left alone, with --volumes too.

    Example:  k2ctl stack down
    """
    from k2ctl.commands.backfill import rescue_shed
    from k2ctl.console import say
    from k2ctl.endpoints import load_endpoints_or_nothing
    from k2ctl.home import Home
    from k2ctl.stack.engine import note
    from k2ctl.stack.lifecycle import down as stop
    from k2ctl.views.stack import service_progress

    if volumes and not yes:
        found = load_endpoints_or_nothing(Home.of_user())
        external = found is not None and found.engine == "external"
        what = "what this machine knows of its loads" if external else "the lake"
        more = ", and nothing that others run" if external else f" and all data of the stack of {Home.of_user().path}"
        unasked = UsageError(f"--volumes deletes {what}.", "Say that it is meant: k2ctl stack down --volumes --yes")
        confirm(f"Delete {what}{more}?", unasked, "Nothing was stopped or deleted.", yes=False)
    with service_progress("k2ctl stack down") as report:
        endpoints = load_endpoints_or_nothing(Home.of_user())
        if endpoints is not None and endpoints.engine == "embedded" and not volumes:
            rescue_shed(endpoints, lambda what: report(note(what)))
        stopped = stop(volumes=volumes, report=report, home=Home.of_user())
    if stopped is None:
        say("Nothing was running." + (" All data is deleted." if volumes else ""))
    elif stopped == "external":
        deleted = "The records of this machine's loads are deleted. " if volumes else ""
        say(f"The endpoints are forgotten. {deleted}What others run was not touched.")
    else:
        where = "in its volumes" if stopped == "docker" else f"in {Home.of_user().path}"
        kept = "all data is deleted" if volumes else f"the lake stays {where}"
        say(f"The {stopped} stack is down; {kept}.")
