"""The shell: takes what is typed or comes through a pipe, and runs it piece by piece."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from k2ctl.commands.answers import Lines, limit_of
from k2ctl.commands.shell.commands import COMMANDS, ShellCommand, known
from k2ctl.commands.shell.pieces import Command, Piece, WholeQuery, pieces
from k2ctl.commands.shell.process import Answering
from k2ctl.commands.shell.worker import AskedQuery
from k2ctl.console import err, out, say
from k2ctl.ending import concluded
from k2ctl.errors import ExitCode, UsageError
from k2ctl.options import parameters_said, parse_duration
from k2ctl.views.shell import VIEWS_SAID, help_panel, views_panel

_FORMS: Final[tuple[Lines, ...]] = ("table", "json", "csv")
_WATCH_S: Final = 2.0


class Ended(Exception):
    """The shell is to end."""


@dataclass
class ShellSettings:
    """What the shell's commands change."""

    form: Lines = "table"
    # As it is written: a count or `all`; None: as many as the format shows by itself.
    limit: str | None = None
    timing: bool = False
    parameters: dict[str, str] = field(default_factory=dict)
    seconds: float = 60.0
    memory_mb: int = 1024


class Shell:
    """Runs queries and commands. Its errors are lines on stderr; `run` says with which exit code each ended."""

    def __init__(self, answering: Answering, settings: ShellSettings) -> None:
        self._answering = answering
        self.settings = settings
        self._last = ""
        self._commands: dict[str, Callable[[Command], int]] = {
            "d": self._describe,
            "mode": self._mode,
            "limit": self._limit,
            "timing": self._timing,
            "watch": self._watch,
            "param": self._param,
            "i": self._read,
            "?": self._help,
            "q": self._quit,
        }

    def run_all(self, found: Iterable[Piece]) -> int:
        """Run one after the other until one fails; the exit code of that."""
        for piece in found:
            code = self.run(piece)
            if code:
                return code
        return ExitCode.OK

    def run(self, piece: Piece) -> int:
        """Run one, and say why it cannot be.

        Raises:
            Ended: it was the command that ends the shell.
        """
        return concluded(lambda: self._run(piece), "k2ctl query shell")

    def _run(self, piece: Piece) -> int:
        return self._ask(piece.text) if isinstance(piece, WholeQuery) else self._command(piece)

    def _ask(self, text: str, *, footer: bool = True) -> int:
        if footer:
            self._last = text
        asked = self.settings
        question = AskedQuery(
            *(text, asked.form, limit_of(asked.limit, asked.form), asked.parameters, asked.seconds, asked.memory_mb),
            footer,
        )
        answered = self._answering.ask(question)
        if asked.timing and not answered.code:
            say(f"Time: {answered.seconds * 1000:,.0f} ms")
        return answered.code

    def _command(self, command: Command) -> int:
        name = known(command.name)
        if name is None:
            raise UsageError(f"There is no command \\{command.name}.", "See what there is: \\?")
        if command.query:
            if name != "watch":
                raise UsageError(f"\\{command.name} stands on a line of its own.", "End the query with ; first.")
            self._last = command.query
        return self._commands[name](command)

    def _describe(self, command: Command) -> int:
        if not command.argument:
            out().print(views_panel())
            return ExitCode.OK
        view = command.argument.strip(";").lower()
        if view not in VIEWS_SAID:
            raise UsageError(f"There is no view {view}.", f"The views are {', '.join(VIEWS_SAID)}.")
        # `view` is one of ours.
        described = f'SELECT column_name AS "column", column_type AS "type" FROM (DESCRIBE {view})'  # noqa: S608
        limit, self.settings.limit = self.settings.limit, "all"
        try:
            return self._ask(described, footer=False)
        finally:
            self.settings.limit = limit

    def _mode(self, command: Command) -> int:
        if command.argument:
            self.settings.form = _form_of(command.argument)
        say(f"Rows are shown as {self.settings.form}.")
        return ExitCode.OK

    def _limit(self, command: Command) -> int:
        if command.argument:
            limit_of(command.argument, self.settings.form)
            self.settings.limit = command.argument
        rows = limit_of(self.settings.limit, self.settings.form)
        say("All rows are shown." if rows is None else f"At most {rows:,} rows are shown.")
        return ExitCode.OK

    def _timing(self, command: Command) -> int:
        switched = {"": not self.settings.timing, "on": True, "off": False}.get(command.argument.lower())
        if switched is None:
            raise UsageError(f"Timing is on or off, not {command.argument}.", "\\timing on")
        self.settings.timing = switched
        say(f"Timing is {'on' if switched else 'off'}.")
        return ExitCode.OK

    def _watch(self, command: Command) -> int:
        if not self._last:
            raise UsageError("There is no query to watch.", "Ask one first: SELECT count(*) FROM trades;")
        every_s = parse_duration(command.argument) if command.argument else _WATCH_S
        code: int = ExitCode.OK
        while not code:
            say(f"{time.strftime('%H:%M:%S', time.gmtime())} UTC, every {every_s:g} s until Ctrl-C")
            code = self._ask(self._last)
            if not code:
                try:
                    time.sleep(every_s)
                except KeyboardInterrupt:
                    code = ExitCode.INTERRUPTED
        # Ctrl-C is how it ends.
        return ExitCode.OK if code == ExitCode.INTERRUPTED and err().is_terminal else code

    def _param(self, command: Command) -> int:
        given = self.settings.parameters
        if command.argument:
            for name, value in parameters_said([command.argument]).items():
                given.update({name: value})
                if not value:
                    del given[name]
        for name, value in given.items():
            say(f"${name} = {value}")
        if not given:
            say("No parameter has a value.")
        return ExitCode.OK

    def _read(self, command: Command) -> int:
        try:
            text = Path(command.argument).expanduser().read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise UsageError(f"{command.argument or 'No file'} cannot be read: {reason}.", "\\i FILE") from error
        found, rest = pieces(text + "\n")
        return self.run_all([*found, *([WholeQuery(rest)] if rest else [])])

    def _help(self, _: Command) -> int:
        shown = ((f"\\{one.names[0]} {one.argument}".rstrip(), _others(one), one.help) for one in COMMANDS)
        out().print(help_panel(shown))
        return ExitCode.OK

    def _quit(self, _: Command) -> int:
        raise Ended


def _form_of(text: str) -> Lines:
    """Raises:
    UsageError: there is no such mode.
    """
    wanted = next((form for form in _FORMS if form == text.lower()), None)
    if wanted is None:
        raise UsageError(f"There is no mode {text[:40]}.", f"The modes are {', '.join(_FORMS)}.")
    return wanted


def _others(command: ShellCommand) -> str:
    """A command's other names, as people know them."""
    return "  ".join(f".{name}" for name in command.names[1:])
