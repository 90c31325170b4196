"""The two consoles: data goes to stdout, messages go to stderr."""

import io
import logging
import re
import sys
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from k2ctl.log import speaks_json

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a terminal may execute; a line's end and a tab are layout."""


@cache
def out() -> "Console":
    """Data, for people on a terminal and for pipes. Colour only on a terminal, never with `NO_COLOR`.

    Text is shown as it is: a path or a trade with square brackets is no markup, and a control code in it is escaped.
    """
    return _console()


@cache
def err() -> "Console":
    """Progress and messages."""
    return _console(stderr=True)


def canvas(width: int, height: int, **options: Any) -> "Console":
    """One that draws into memory what `out` would show in so many columns and lines. options: those of Rich's."""
    return _console(width=width, height=height, file=io.StringIO(), **options)


def _console(**options: Any) -> "Console":
    from rich.console import Console
    from rich.segment import Segment

    class Ours(Console):
        def render(self, renderable: "RenderableType", options: "ConsoleOptions | None" = None) -> "Iterable[Segment]":
            """Whatever is shown comes through here; Rich's own cursor movements are marked as such."""
            for segment in super().render(renderable, options):
                if segment.control or not _CONTROLS.search(segment.text):
                    yield segment
                else:
                    yield Segment(visible(segment.text, layout=True), segment.style)

        def render_str(self, text: str, **options: Any) -> "Text":
            """Before a text is measured, so that a table has room for it."""
            return super().render_str(visible(text, layout=True), **options)

        def on_broken_pipe(self) -> None:
            """Rich would end the process; where errors end, it is known what a closed pipe means."""
            raise BrokenPipeError

    return Ours(highlight=False, markup=False, **options)


def visible(text: str, *, layout: bool = False) -> str:
    """Text whose control codes are shown escaped, such as `\\x1b`, and never executed by a terminal.

    layout: line ends and tabs stay.
    """
    if text.isprintable():
        return text
    if not layout:
        text = text.replace("\n", "\\n").replace("\t", "\\t")
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(message: str) -> None:
    """One line to a person. A terminal breaks lines by itself; a path broken by us could not be copied."""
    if speaks_json():
        logging.getLogger("k2ctl.console").info(message)
    else:
        err().print(message, soft_wrap=True)


def print_json(document: Any) -> None:
    """One JSON document on one line of stdout, in UTF-8 whatever the locale, never wrapped or coloured."""
    import orjson

    sys.stdout.flush()
    sys.stdout.buffer.write(orjson.dumps(document, default=tuple, option=orjson.OPT_NON_STR_KEYS) + b"\n")
    sys.stdout.buffer.flush()
