"""The root command, and the list of commands in the order of the help."""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any, Final, NamedTuple

import typer
from typer._click.globals import get_current_context  # Typer carries Click
from typer.core import TyperCommand, TyperGroup

from k2ctl.commands.completion import QUESTION, answered
from k2ctl.ending import accept_any_text, begin_quickly, concluded, end_quickly, in_utf8
from k2ctl.log import FORMAT_VARIABLE, LEVEL_VARIABLE, LogFormat, LogLevel, LogSettings, configure
from k2ctl.options import group
from k2ctl.settings import defaults_of
from k2ctl.signals import ENDING, interrupt, on_signals


class CommandEntry(NamedTuple):
    """A command: where it is under `k2ctl.commands`, as `module:name`, and its line in the help."""

    place: str
    help: str

    def load(self) -> Any:
        """The command itself; a plain function is one without others below it."""
        module, _, name = self.place.partition(":")
        found = getattr(import_module(f"k2ctl.commands.{module}"), name)
        if not isinstance(found, typer.Typer):
            command, found = found, group()
            found.command()(command)
        return typer.main.get_command(found)


NAME: Final = "k2ctl"

COMMANDS: dict[str, CommandEntry] = {
    "stack": CommandEntry("stack:app", "Start, inspect and stop the stack."),
    "load": CommandEntry("load:load", "Load trades at an exact rate, synthetic or replayed."),
    "consume": CommandEntry("consume:app", "Read trades, clean them and commit them, exactly once."),
    "watch": CommandEntry("watch:watch", "Watch level, lag, rates and counts of trades."),
    "backfill": CommandEntry("backfill:backfill", "Backfill the trades that were deferred under pressure."),
    "query": CommandEntry("query:app", "Query trades, from years ago to this second, as one table."),
    "api": CommandEntry("api:api", "Queries over HTTP, and a live page."),
    "feed": CommandEntry("feed:app", "How foreign records and files become trades."),
    "topic": CommandEntry("topic:app", "What lies in Kafka, decoded."),
    "dead-letters": CommandEntry("dead_letters:app", "Records that could not become trades: inspect, send again."),
    "gaps": CommandEntry("sequence:gaps", "How complete the trades are, by symbol and day."),
    "state": CommandEntry("sequence:app", "State of the store that all consumers use."),
    "lake": CommandEntry("lake:app", "State of the table; compaction and expiry."),
    "cost": CommandEntry("cost:cost", "Monthly cost of a platform, line by line, with sources."),
    "verify": CommandEntry("checks:verify", "Check that the table stores exactly what Kafka acknowledged."),
    "validate": CommandEntry("checks:validate", "Every target of the platform, measured now."),
    "bench": CommandEntry("bench:app", "Benchmarks, as ratios to baselines measured in the same run."),
    "doctor": CommandEntry("checks:doctor", "Faults of machine, stack and lake, and the repair."),
    "demo": CommandEntry("demo:app", "The platform's promise, live, with checks on live figures."),
    "config": CommandEntry("config:app", "What is set once: engine, profile, format and service."),
    "completion": CommandEntry("completion:completion", "A script for your shell, so that Tab completes."),
    "help": CommandEntry("about:help_of", "The help of a command; all of it as a manual page."),
    "version": CommandEntry("about:version", "The version of k2ctl, and of the libraries that it uses."),
}
"""Commands in the order of the help. A module is imported when its command runs, not before."""


def _is_no_json() -> bool:
    """--json says the format of the command that is being parsed."""
    context = get_current_context(silent=True)
    return context is None or not context.params.get("as_json")


class LazyGroup(TyperGroup):
    """Shows every command without importing any, so that `k2ctl --help` stays quick."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {
            name: TyperCommand(name, help=entry.help, rich_markup_mode=None) for name, entry in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if command is None:
            return name, command, rest
        ctx.default_map = {name: defaults_of(str(name), _is_no_json)}
        return name, COMMANDS[str(name)].load(), rest

    def _click_resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """A name that only a command below another one has is said to be there: `up` is `stack up`."""
        if not ctx.resilient_parsing and args[0] not in self.commands and not get_close_matches(args[0], self.commands):
            above = [name for name, entry in COMMANDS.items() if args[0] in getattr(entry.load(), "commands", {})]
            if above:
                whole = ", ".join(f"'{name} {args[0]}'" for name in above)
                ctx.fail(f"No such command '{args[0]}'. Did you mean {whole}?")
        return super()._click_resolve_command(ctx, args)


app = typer.Typer(
    name=NAME,
    cls=LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from k2ctl import __version__

        sys.stdout.write(f"k2ctl {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
    ),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            envvar=LEVEL_VARIABLE,
            case_sensitive=False,
            help="What is logged to stderr.",
            show_default="warning; in the background info",
        ),
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option(envvar=FORMAT_VARIABLE, case_sensitive=False, help="How each line is written.")
    ] = LogFormat.TEXT,
) -> None:
    """K2: trades from Kafka to Iceberg, exactly once, queried as one table.

    First steps:  k2ctl demo --quick   or   k2ctl stack up

    With a log:  k2ctl --log-level INFO --log-format json consume
    """
    configure(LogSettings(log_level, log_format))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if argv is not None:
        return _main(list(argv))
    in_utf8()
    begin_quickly()
    try:
        return _main(sys.argv[1:])
    finally:
        end_quickly()


def _main(arguments: list[str]) -> int:
    if arguments[:1] == [QUESTION]:
        return answered(typer.main.get_command(app), NAME, arguments[1:])
    accept_any_text()
    # A command that a signal ends cleans up what it started. Some commands handle the signals themselves.
    with on_signals(interrupt, *ENDING):
        return concluded(lambda: _run(arguments), NAME, debug="--debug" in arguments)


def _run(arguments: list[str]) -> Any:
    """Typer's own `main` ends the process when a pipe is closed, without a message."""
    command: Any = typer.main.get_command(app)
    with command.make_context(NAME, arguments) as context:
        return command.invoke(context)
