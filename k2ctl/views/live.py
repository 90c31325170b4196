"""The refresh loop of every live display, and screens as pictures.

A display refreshes in place on a terminal, and prints a line per second elsewhere.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from k2ctl.console import canvas, err, say
from k2ctl.log import held_while_on_screen, is_detailed, speaks_json
from k2ctl.timing import Every

MAX_HZ: Final = 8
LINE_EVERY_S: Final = 1.0
LOGGED_LINE_EVERY_S: Final = 30.0
"""Beside a log that says what happens."""

State = TypeVar("State")


@contextmanager
def live(
    console: Console,
    render: Callable[[State], RenderableType],
    line: Callable[[State], str],
    *,
    quiet: bool = False,
    screen: bool = False,
) -> Iterator[Callable[[State], None]]:
    """Yields `show(state)`: cheap to call often. Draws at most eight times a second; nothing when `quiet`."""
    if quiet:
        yield lambda _: None
        return
    if not console.is_terminal or console.is_dumb_terminal:
        lines = Every(LOGGED_LINE_EVERY_S if is_detailed() else LINE_EVERY_S)

        def print_line(state: State) -> None:
            if not lines.due():
                return
            if speaks_json():
                say(line(state))
            else:
                console.print(line(state), soft_wrap=True)

        yield print_line
        return
    whole_screen = held_while_on_screen() if screen else nullcontext()
    with whole_screen, Live(console=console, auto_refresh=False, screen=screen, transient=True) as view:
        frames = Every(1 / MAX_HZ)

        def draw(state: State) -> None:
            if frames.due():
                view.update(render(state), refresh=True)

        yield draw


def live_line(text: Callable[[State], Text], *, quiet: bool) -> AbstractContextManager[Callable[[State], None]]:
    """The display of a command that runs for long: one line on stderr."""
    return live(err(), text, lambda state: text(state).plain, quiet=quiet)


_FONT_FACES: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def save_picture(screen: RenderableType, size: tuple[int, int], path: Path, title: str) -> None:
    """Write a screen of (columns, lines) as an SVG, or as HTML by its path; its folder is made when missing."""
    width, height = size
    drawn = canvas(width, height, record=True, force_terminal=True, color_system="truecolor")
    drawn.print(screen)
    if path.suffix == ".html":
        text = drawn.export_html()
    else:
        text = _FONT_FACES.sub("", drawn.export_svg(title=title)).replace("Fira Code", "ui-monospace, Menlo, Consolas")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
