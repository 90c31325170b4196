"""`k2ctl validate`: the platform's targets, measured now."""

from typing import Annotated

import typer

from k2ctl.errors import ExitCode, UsageError
from k2ctl.options import EngineOption, JsonOption

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
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
    if quick and full:
        raise UsageError("--quick and --full exclude each other.", "Leave one out: k2ctl validate --full")
    from dataclasses import asdict

    import orjson

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
        print_json(orjson.dumps({"held": found.held, **asdict(found)}))
    else:
        out().print(validate_panel(found, out().width))
    if found.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    error = failed(found)
    if error is not None:
        raise error
