"""`k2ctl consume`: read trades, clean them, commit them."""

from contextlib import nullcontext
from typing import Annotated, Final

import typer

from k2ctl import known_names
from k2ctl.commands import fleet
from k2ctl.errors import UsageError
from k2ctl.options import JsonOption, StackProfileOption, group, parse_count, parse_duration

LOOPBACK: Final = "127.0.0.1"
EXAMPLE_METRICS: Final = "k2ctl consume --metrics-port 9464"

app = group(invoke_without_command=True)
app.command()(fleet.status)
app.command()(fleet.stop)
app.command()(fleet.scale)


@app.callback()
def consume(
    context: typer.Context,
    profile: StackProfileOption = "",
    feed: Annotated[
        str,
        typer.Option(
            "--feed",
            metavar="NAME|PATH",
            help="What the records of others are: see k2ctl feed.",
            show_default="the table's or the profile's, else SBE",
            autocompletion=known_names.feeds,
        ),
    ] = "",
    topic: Annotated[
        str,
        typer.Option(
            "--topic",
            metavar="NAME|^REGEX",
            help="A topic of others, or several by a regular expression.",
            show_default="the feed's, else the profile's",
            autocompletion=known_names.topics,
        ),
    ] = "",
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End when everything that is there now is committed.")
    ] = False,
    rebase: Annotated[
        bool,
        typer.Option("--rebase", help="Kafka was wiped on purpose: count what was unread as lost, and start over."),
    ] = False,
    budget: Annotated[
        int | None,
        typer.Option(
            parser=parse_count,
            metavar="COUNT",
            help="Process at most so many trades per second: pressure on purpose.",
            show_default="no limit",
        ),
    ] = None,
    state: Annotated[
        str,
        typer.Option(
            "--state",
            metavar="memory|URL",
            help="Keep sequence state in memory, or in a Redis at redis://HOST:PORT/0; a password as "
            "${file:PATH} or ${env:NAME}.",
            show_default="the stack's",
        ),
    ] = "",
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="PORT",
            help="Serve Prometheus metrics on this port.",
            show_default="none are served",
        ),
    ] = None,
    metrics_address: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="Where to serve them; on another address than loopback anyone there can read them."
        ),
    ] = LOOPBACK,
    group: Annotated[
        bool, typer.Option("--group", help="Divide the partitions with other consumers of the group, on any machine.")
    ] = False,
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="In a group: come back under this name, and to the same partitions.",
            show_default="a new one",
        ),
    ] = "",
    patience: Annotated[
        str,
        typer.Option(metavar="DURATION", help="At the start wait so long for a Kafka or a table that does not answer."),
    ] = "0s",
    grace: Annotated[
        str,
        typer.Option(metavar="DURATION", help="At a stop, so long to commit what was read; the rest is read again."),
    ] = "1s",
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background, in a group.")] = False,
    replicas: Annotated[
        int, typer.Option(min=1, metavar="N", help="With --detach: start so many more, at most one for each partition.")
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Read trades from Kafka, clean them and commit them to the table, exactly once.

    Runs until Ctrl-C; what was read by then is committed first. In the background: --detach, status, stop, scale.

    Examples:

    k2ctl consume --detach --replicas 2

    k2ctl consume --feed ./my.yaml --topic trades.raw
    """
    if context.invoked_subcommand is not None:
        return
    if budget == 0:
        raise UsageError("Nothing would be processed.", "A budget is at least 1 trade a second: --budget 50k")
    if metrics_address != LOOPBACK and metrics_port is None:
        raise UsageError("--metrics-address needs --metrics-port.", f"{EXAMPLE_METRICS} --metrics-address ADDRESS")
    patience_s, grace_s = parse_duration(patience), parse_duration(grace)
    if detach:
        from k2ctl.profiles import lasting_name, without_written_password
        from k2ctl.profiles.foreign import lasting_feed

        _refuse_alone({"--rebase": rebase, "--until-caught-up": until_caught_up, "--name": bool(name)})
        options: dict[str, object] = {
            "--profile": lasting_name(profile) if profile else "",
            "--feed": lasting_feed(feed) if feed else "",
            "--topic": topic,
            "--budget": budget,
            "--state": without_written_password(state),
            "--metrics-port": metrics_port,
            "--patience": patience if patience_s else "",
            "--grace": grace if grace_s != 1.0 else "",
        }
        if metrics_port and metrics_address != LOOPBACK:
            options["--metrics-address"] = metrics_address
        fleet.detach(replicas, [str(part) for o, v in options.items() if v for part in (o, v)], as_json=as_json)
        return
    if name and not group:
        raise UsageError("--name is for a consumer in a group.", f"k2ctl consume --group --name {name}")
    if replicas > 1:
        raise UsageError("Several consumers run in the background.", f"k2ctl consume --detach --replicas {replicas}")
    from k2ctl.commands.consuming import At, run_plan
    from k2ctl.consume.platform import ConsumerPlan, unique_id
    from k2ctl.domain.topics import is_pattern
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.profiles import chosen, state_address
    from k2ctl.profiles.foreign import of_others
    from k2ctl.stack.replicas import known_as, registered

    endpoints, wanted = chosen(require_endpoints(Home.of_user()), profile)
    plan = ConsumerPlan(
        of_others(wanted, feed, topic) if feed or topic else wanted,
        until_caught_up=until_caught_up,
        rebase=rebase,
        budget=budget,
        state=state_address(state),
        group=group,
        named=bool(name),
        stop_within_s=grace_s,
        consumer_id=known_as(name, endpoints.engine) or unique_id(),
    )
    if is_pattern(plan.profile.trades_topic) and metrics_port:
        raise UsageError("Metrics are of one topic.", "Name it: --topic NAME")
    with registered(name, endpoints.home) if name else nullcontext() as done:
        metrics_at = At(metrics_port, metrics_address) if metrics_port else None
        run_plan(endpoints, plan, metrics_at, patience_s, done, as_json=as_json)


def _refuse_alone(given: dict[str, bool]) -> None:
    """Refuse options that only a single consumer in the foreground takes."""
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{option} is not for consumers in the background.", f"First: k2ctl consume {option}")
