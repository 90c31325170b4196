"""`k2ctl query shell`: SQL over lake and stream, query after query."""

import signal
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from k2ctl.commands.answers import LimitOption, Lines, limit_of
from k2ctl.commands.query_sql import MemoryOption, TimeoutOption, limits_of
from k2ctl.errors import ExitCode
from k2ctl.options import ParamOption, parameters_said
from k2ctl.settings import SETTINGS

if TYPE_CHECKING:
    from k2ctl.commands.shell.loop import Shell
    from k2ctl.commands.shell.process import Answering
    from k2ctl.home import Home

HISTORY = "shell-history"


def shell(
    mode: Annotated[
        Lines,
        typer.Option(
            "--mode",
            "--format",
            help="How rows are shown; \\mode changes it.",
            envvar=SETTINGS["format"].variable,
        ),
    ] = "table",
    limit: LimitOption = None,
    param: ParamOption = None,
    memory: MemoryOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """A SQL shell over the views of `query sql`; under each answer stands where it comes from, and whether it is whole.

    A query ends with ; and may have many lines. Tab completes views, columns and symbols (behind symbol = '), arrows
    and Ctrl-R find earlier queries, of earlier shells too. Ctrl-C ends a query and not the shell, Ctrl-D the shell.
    \\? lists the shell's own commands: \\d, \\mode, \\limit, \\timing, \\watch 2, \\param, \\i FILE; .tables, .mode
    and other names that other shells have for them work as well.

    Without a terminal it runs what comes through the pipe, and ends at the first error with its exit code.

    Examples:

    k2ctl query shell

    echo "SELECT count(*) FROM trades" | k2ctl query shell --mode csv
    """
    parameters, (memory_mb, seconds) = parameters_said(param), limits_of(memory, timeout)
    limit_of(limit, "table")

    from k2ctl.commands.shell.loop import Shell, ShellSettings
    from k2ctl.commands.shell.process import Answering
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.log import configured
    from k2ctl.signals import on_signals

    settings = ShellSettings(mode, limit, False, parameters, seconds, memory_mb)
    home = Home.of_user()
    require_endpoints(home)
    with on_signals(_end, signal.SIGTERM, signal.SIGHUP), Answering(configured()) as answering:
        running = Shell(answering, settings)
        code = _typed(running, answering, home) if sys.stdin.isatty() else _piped(running)
    if code:
        raise typer.Exit(code)


def _end(*_: object) -> NoReturn:
    """A signal other than Ctrl-C ends the shell."""
    raise SystemExit(ExitCode.INTERRUPTED)


def _typed(shell: "Shell", answering: "Answering", home: "Home") -> int:
    """Until Ctrl-D. The exit code says nothing of the queries: whoever typed them has seen their errors."""
    from k2ctl.commands.shell.loop import Ended
    from k2ctl.commands.shell.pieces import pieces
    from k2ctl.commands.shell.prompt import Prompt
    from k2ctl.console import say
    from k2ctl.views.shell import BANNER

    answering.ask_names(symbols=False)
    prompt = Prompt(home.path / HISTORY, lambda symbols: answering.named(symbols=symbols))
    say(BANNER)
    while True:
        try:
            for piece in pieces(prompt.lines() + "\n")[0]:
                shell.run(piece)
        except KeyboardInterrupt:
            continue
        except (EOFError, Ended):
            return ExitCode.OK


def _piped(shell: "Shell") -> int:
    """Each query as soon as it is whole; the last one needs no semicolon."""
    from k2ctl.commands.shell.loop import Ended
    from k2ctl.commands.shell.pieces import WholeQuery, pieces

    rest = ""
    try:
        for line in sys.stdin:
            found, rest = pieces(rest + line)
            if code := shell.run_all(found):
                return code
        found, rest = pieces(rest + "\n")
        return shell.run_all([*found, *([WholeQuery(rest.strip())] if rest else [])])
    except Ended:
        return ExitCode.OK
