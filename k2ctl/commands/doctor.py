"""`k2ctl doctor`: what is wrong, and what helps."""

from typing import Annotated

import typer

from k2ctl.errors import ExitCode
from k2ctl.options import JsonOption

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def doctor(
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Judge this machine for one engine: embedded, local, docker or external [what is up]."
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Look for what is wrong with this machine, the stack and its lake, and say what helps; exit code 3 if anything is.

    What an engine lacks that is not in use is a note, and no failure. Nothing of yours
    is changed: it writes records to topics of its own, and puts and deletes one object.

    Example:  k2ctl doctor --engine docker
    """
    import orjson

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
        print_json(orjson.dumps(rows))
    elif out().is_terminal:
        out().print(checks_panel(checks))
    else:
        for line in check_lines(checks):
            out().print(line, soft_wrap=True)
    if any(check.verdict is Verdict.WRONG for check in checks):
        raise typer.Exit(ExitCode.UNHEALTHY)
