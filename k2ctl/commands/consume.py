"""`k2ctl consume`: read trades, clean them, commit them."""

from contextlib import nullcontext
from typing import Final

import typer

from k2ctl.commands import fleet
from k2ctl.commands.consume_options import (
    LOOPBACK,
    BudgetOption,
    DetachOption,
    ForeignFeedOption,
    ForeignTopicOption,
    GraceOption,
    GroupOption,
    MetricsAddressOption,
    MetricsPortOption,
    NameOption,
    PatienceOption,
    RebaseOption,
    ReplicasOption,
    StateOption,
    UntilCaughtUpOption,
)
from k2ctl.errors import UsageError
from k2ctl.memory import keep_one_heap
from k2ctl.options import JsonOption, StackProfileOption, group, parse_duration

EXAMPLE_METRICS: Final = "k2ctl consume --metrics-port 9464"

app = group(invoke_without_command=True)
app.command()(fleet.status)
app.command()(fleet.stop)
app.command()(fleet.scale)


@app.callback()
def consume(
    context: typer.Context,
    profile: StackProfileOption = "",
    feed: ForeignFeedOption = "",
    topic: ForeignTopicOption = "",
    until_caught_up: UntilCaughtUpOption = False,
    rebase: RebaseOption = False,
    budget: BudgetOption = None,
    state: StateOption = "",
    metrics_port: MetricsPortOption = None,
    metrics_address: MetricsAddressOption = LOOPBACK,
    group: GroupOption = False,
    name: NameOption = "",
    patience: PatienceOption = "0s",
    grace: GraceOption = "1s",
    detach: DetachOption = False,
    replicas: ReplicasOption = 1,
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
    _refuse_nothing_to_do(budget, metrics_port, metrics_address)
    patience_s, grace_s = parse_duration(patience), parse_duration(grace)
    if detach:
        _refuse_alone({"--rebase": rebase, "--until-caught-up": until_caught_up, "--name": bool(name)})
        passed_on = {**_lasting(profile, feed, state), "--topic": topic, "--budget": budget,
                     "--metrics-port": metrics_port,
                     "--metrics-address": metrics_address if metrics_address != LOOPBACK else "",
                     "--patience": patience if patience_s else "",
                     "--grace": grace if grace_s != 1.0 else ""}  # fmt: skip
        fleet.detach(replicas, [str(part) for o, v in passed_on.items() if v for part in (o, v)], as_json=as_json)
        return
    _refuse_several(name, replicas, in_group=group)
    keep_one_heap()

    from k2ctl.commands.consuming import At, run_plan
    from k2ctl.consume.platform import ConsumerPlan, unique_id
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
    if metrics_port:
        _refuse_several_topics(plan.profile.trades_topic)
    metrics_at = At(metrics_port, metrics_address) if metrics_port else None
    with registered(name, endpoints.home) if name else nullcontext() as done:
        run_plan(endpoints, plan, metrics_at, patience_s, done, as_json=as_json)


def _lasting(profile: str, feed: str, state: str) -> dict[str, object]:
    """Options as a process in the background can read them, from whatever folder and without a password."""
    from k2ctl.profiles import lasting_name, without_written_password
    from k2ctl.profiles.foreign import lasting_feed

    return {
        "--profile": lasting_name(profile) if profile else "",
        "--feed": lasting_feed(feed) if feed else "",
        "--state": without_written_password(state),
    }


def _refuse_nothing_to_do(budget: int | None, metrics_port: int | None, metrics_address: str) -> None:
    if budget == 0:
        raise UsageError("Nothing would be processed.", "A budget is at least 1 trade a second: --budget 50k")
    if metrics_address != LOOPBACK and metrics_port is None:
        raise UsageError("--metrics-address needs --metrics-port.", f"{EXAMPLE_METRICS} --metrics-address ADDRESS")


def _refuse_several_topics(topic: str) -> None:
    from k2ctl.domain.topics import is_pattern

    if is_pattern(topic):
        raise UsageError("Metrics are of one topic.", "Name it: --topic NAME")


def _refuse_several(name: str, replicas: int, *, in_group: bool) -> None:
    """Refuse what a consumer alone in the foreground does not take."""
    if name and not in_group:
        raise UsageError("--name is for a consumer in a group.", f"k2ctl consume --group --name {name}")
    if replicas > 1:
        raise UsageError("Several consumers run in the background.", f"k2ctl consume --detach --replicas {replicas}")


def _refuse_alone(given: dict[str, bool]) -> None:
    """Refuse options that only a single consumer in the foreground takes."""
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{option} is not for consumers in the background.", f"First: k2ctl consume {option}")
