"""The line that is typed on: history, completion and several lines, by prompt_toolkit."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory
from prompt_toolkit.lexers import Lexer, PygmentsLexer
from prompt_toolkit.output import create_output
from prompt_toolkit.output.color_depth import ColorDepth

from k2ctl.commands.shell.completion import KnownNames, offered, wants_symbols
from k2ctl.commands.shell.pieces import is_whole

FIRST: Final = "k2> "
NEXT: Final = "..> "


class Prompt:
    """Asks for lines until they are whole."""

    def __init__(self, history: Path, names: Callable[[bool], KnownNames]) -> None:
        """names: those that there are by now; called with whether symbols are wanted."""
        history.touch(0o600)
        self._session = PromptSession[str](
            history=FileHistory(str(history)),
            completer=_Completer(names),
            complete_while_typing=False,
            multiline=Condition(lambda: not is_whole(get_app().current_buffer.text + "\n")),
            prompt_continuation=NEXT,
            lexer=_lexer(),
            color_depth=ColorDepth.DEPTH_1_BIT if _plain() else None,
            # The prompt is talk: rows alone go to stdout, where that is a file.
            output=create_output(sys.stderr if sys.stderr.isatty() else sys.stdout),
            enable_history_search=True,
        )

    def lines(self) -> str:
        """What was typed until it was whole.

        Raises:
            EOFError: Ctrl-D on an empty line. KeyboardInterrupt: Ctrl-C, what was typed is dropped.
        """
        return self._session.prompt(FIRST)


def _plain() -> bool:
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def _lexer() -> Lexer | None:
    if _plain():
        return None
    from pygments.lexers.sql import SqlLexer

    return PygmentsLexer(SqlLexer)


class _Completer(Completer):
    def __init__(self, names: Callable[[bool], KnownNames]) -> None:
        self._names = names

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:  # noqa: ARG002
        before = document.text_before_cursor
        begun, words = offered(before, self._names(wants_symbols(before)))
        for word in words:
            yield Completion(word, start_position=-len(begun))
