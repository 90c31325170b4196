"""The refresh loop of every live display: in place on a terminal, a line per second elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live

MAX_HZ: Final = 8
LINE_EVERY_S: Final = 1.0

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
    due_s = 0.0
    if quiet:
        yield lambda _: None
        return
    if not console.is_terminal:

        def print_line(state: State) -> None:
            nonlocal due_s
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + LINE_EVERY_S
                console.print(line(state), soft_wrap=True)

        yield print_line
        return
    with Live(console=console, auto_refresh=False, screen=screen, transient=True) as view:

        def draw(state: State) -> None:
            nonlocal due_s
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + 1 / MAX_HZ
                view.update(render(state), refresh=True)

        yield draw
