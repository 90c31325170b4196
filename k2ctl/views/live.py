"""The refresh loop of every live display: in place on a terminal, a line per second elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Final, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live

from k2ctl.log import held_while_on_screen, is_detailed
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
    if not console.is_terminal:
        lines = Every(LOGGED_LINE_EVERY_S if is_detailed() else LINE_EVERY_S)

        def print_line(state: State) -> None:
            if lines.due():
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
