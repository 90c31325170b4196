"""`k2ctl doctor`: what is wrong; `verify`: what was acknowledged is stored; `validate`: the targets, measured now."""

from typing import Annotated, Literal

import typer

from k2ctl import known_names
from k2ctl.errors import ExitCode
from k2ctl.options import LOCAL_MASTER, ConfOption, EngineOption, JsonOption, MasterOption, at_most_one


def doctor(
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Judge this machine for one engine: embedded, local, docker or external.",
            show_default="what is up",
            autocompletion=known_names.engines,
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Look for what is wrong with this machine, the stack and its lake, and say what helps; exit code 3 if anything is.

    What an engine lacks that is not in use is a note, and no failure. Nothing of yours
    is changed: it writes records to topics of its own, and puts and deletes one object.

    Example:  k2ctl doctor --engine docker
    """

    from k2ctl.checks.doctor.examination import examine
    from k2ctl.console import out, print_json
    from k2ctl.stack.preflight import Verdict
    from k2ctl.views.checks import check_lines, checks_panel
    from k2ctl.views.stack import progress

    with progress("k2ctl doctor", quiet=as_json) as say:
        say("looking")
        checks = examine(engine)
    if as_json:
        rows = [{"check": c.name, "state": c.verdict, "found": c.found, "help": c.help} for c in checks]
        print_json(rows)
    elif out().is_terminal:
        out().print(checks_panel(checks))
    else:
        for line in check_lines(checks):
            out().print(line, soft_wrap=True)
    if any(check.verdict is Verdict.WRONG for check in checks):
        raise typer.Exit(ExitCode.UNHEALTHY)


def verify(
    all_epochs: Annotated[
        bool, typer.Option("--all-epochs", help="Also what was sent to earlier Kafkas of this state directory.")
    ] = False,
    against_kafka: Annotated[
        bool, typer.Option("--against-kafka", help="Account for every record that Kafka still holds, whoever sent it.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the consumers that run have backfilled what was deferred.")
    ] = False,
    engine: Annotated[
        Literal["duckdb", "spark"],
        typer.Option("--engine", help="spark: only the lake, every row of it, on a Spark cluster."),
    ] = "duckdb",
    master: MasterOption = LOCAL_MASTER,
    conf: ConfOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that the table and the tail hold exactly what Kafka acknowledged to k2ctl load; exit code 3 if not.

    Missing, duplicated, altered, out of order, deferred and dead-lettered trades are listed by symbol and sequence
    number. Trades of other producers are counted, and are no error: --against-kafka accounts for theirs. With
    --engine spark the lake alone: each row once, and as many as the checkpoints count.

    A consumer that runs backfills what is deferred by itself; --wait waits for it.

    Example:  k2ctl verify --against-kafka
    """
    at_most_one({"--all-epochs": all_epochs, "--against-kafka": against_kafka}, "Kafka holds only the epoch of now.")
    if engine == "spark":
        others = {"--all-epochs": all_epochs, "--against-kafka": against_kafka, "--wait": wait}
        at_most_one({"--engine spark": True, **others})
        _verify_on_spark(master, conf or [], as_json=as_json)
        return
    if against_kafka:
        _verify_against_kafka(wait=wait, as_json=as_json)
        return
    from dataclasses import asdict

    from k2ctl.checks.verify.verification import failed
    from k2ctl.checks.verify.verification import verify as hold_to_acknowledged_log
    from k2ctl.checks.verify.waiting import running, until_backfilled
    from k2ctl.console import out, print_json
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.load.acknowledged_log import recorded
    from k2ctl.views.stack import progress
    from k2ctl.views.verify import verify_panel

    endpoints = require_endpoints(Home.of_user())
    with progress("k2ctl verify", quiet=as_json) as say:
        if wait:
            until_backfilled(endpoints, {log.run.topic for log in recorded(endpoints.home)}, say)
        results = hold_to_acknowledged_log(endpoints, say, every_epoch=all_epochs)
    if as_json:
        for result in results:
            print_json({**asdict(result), "holds": result.holds})
    else:
        out().print(verify_panel(results))
    error = failed(results, lambda topics: running(endpoints, topics))
    if error is not None:
        raise error


def _verify_on_spark(master: str, conf: list[str], *, as_json: bool) -> None:
    from dataclasses import asdict

    from k2ctl.clock import SystemClock
    from k2ctl.commands.lake import opened
    from k2ctl.console import out, print_json
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.spark.check import lake_failed, verify_on_spark
    from k2ctl.spark.process import SparkProcess
    from k2ctl.spark.settings import place_of
    from k2ctl.views.stack import progress
    from k2ctl.views.verify import lake_verified_panel

    place, endpoints = place_of(master, conf), require_endpoints(Home.of_user())
    with (
        opened(endpoints) as lake,
        progress("k2ctl verify", quiet=as_json) as say,
        SparkProcess(endpoints, place, lake.table().location(), say) as spark,
    ):
        result = verify_on_spark(spark, lake, SystemClock())
    if as_json:
        print_json({**asdict(result), "holds": result.holds})
    else:
        out().print(lake_verified_panel(result))
    error = lake_failed(result)
    if error is not None:
        raise error


def _verify_against_kafka(*, wait: bool, as_json: bool) -> None:
    from dataclasses import asdict

    from k2ctl.checks.verify.accounted import failed
    from k2ctl.checks.verify.against_kafka import account
    from k2ctl.checks.verify.waiting import until_backfilled
    from k2ctl.console import out, print_json
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.profiles import load_profile
    from k2ctl.views.stack import progress
    from k2ctl.views.verify import accounted_panel

    endpoints = require_endpoints(Home.of_user())
    with progress("k2ctl verify", quiet=as_json) as say:
        if wait:
            until_backfilled(endpoints, None, say)
        results = account(endpoints, load_profile(endpoints.profile), say)
    if as_json:
        for result in results:
            print_json({**asdict(result), "holds": result.holds})
    else:
        out().print(accounted_panel(results))
    error = failed(results)
    if error is not None:
        raise error


def validate(
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, about three minutes; the default.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="The real sizes, and the whole demo: about half an hour.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="STEP",
            help="load, ladder, kill, sequence, dedup, query, cost, demo or tests; repeatable.",
            show_default="all of them",
            autocompletion=known_names.one_of(
                "load", "ladder", "kill", "sequence", "dedup", "query", "cost", "demo", "tests"
            ),
        ),
    ] = None,
    engine: EngineOption = "embedded",
    as_json: JsonOption = False,
) -> None:
    """Measure every target of the platform on this machine, each in a stack of its own; exit code 3 if one falls short.

    A part that is not here is "not measured", with the reason, and never a pass. Other work on the machine makes
    targets fall short.

    Example:  k2ctl validate --only load --only kill
    """
    at_most_one({"--quick": quick, "--full": full}, "Leave one out: k2ctl validate --full")
    from dataclasses import asdict

    from k2ctl.checks.validate.targets import Ground
    from k2ctl.checks.validate.validation import chosen, failed
    from k2ctl.checks.validate.validation import validate as measure
    from k2ctl.commands.demo import leaving
    from k2ctl.console import err, out, print_json
    from k2ctl.profiles import load_profile
    from k2ctl.views.checks import step_line, validate_panel
    from k2ctl.views.stack import progress

    steps = chosen(only or [])
    with leaving() as leave, progress("k2ctl validate", quiet=as_json or not err().is_terminal) as show:

        def say(what: str) -> None:
            if leave.is_set():
                raise KeyboardInterrupt
            show(what)

        ground = Ground(load_profile("laptop"), engine, full, say)
        found = measure(
            steps, ground, lambda *ended: None if as_json else err().print(step_line(*ended), soft_wrap=True)
        )
    if as_json:
        print_json({"held": found.held, **asdict(found)})
    else:
        out().print(validate_panel(found, out().width))
    if found.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    error = failed(found)
    if error is not None:
        raise error
