"""Single keys of a terminal, without Enter."""

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def keys() -> Iterator[Callable[[], str] | None]:
    """Yields `pressed()`, the next key or an empty text; None where nobody can press one, or a pager has the keys.

    Ctrl-C is a signal as ever. The terminal is as it was when the block ends.
    """
    on_terminal = sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()
    if not (on_terminal and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()):
        yield None
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)

    def pressed() -> str:
        ready, _, _ = select.select([terminal], [], [], 0)
        return os.read(terminal, 1).decode("latin-1") if ready else ""

    try:
        yield pressed
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
