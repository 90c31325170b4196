"""Single keys of a terminal, without Enter."""

import os
import select
import sys
import termios
import tty
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

NAMES: Final = {
    "\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left", "\x1bOA": "up", "\x1bOB": "down",
    "\x1b[5~": "pageup", "\x1b[6~": "pagedown", "\x1b[H": "home", "\x1b[F": "end", "\x1b[1~": "home", "\x1b[4~": "end",
    "\x1bOH": "home", "\x1bOF": "end", "\x1b[Z": "backtab", "\x1b": "escape", "\t": "tab",
}  # fmt: skip
"""What a terminal sends for keys that are no characters, and what they are called here."""


class Keyboard:
    """The keys of a terminal, one at a time, for `select` too."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._before = termios.tcgetattr(terminal)
        self._typed: deque[str] = deque()

    def fileno(self) -> int:
        """The terminal."""
        return self._terminal

    def __call__(self) -> str:
        """The next key: a character or a name of `NAMES`; empty while none was pressed.

        Raises:
            BrokenPipeError: the terminal is gone.
        """
        if not self._typed and select.select([self._terminal], [], [], 0)[0]:
            try:
                read = os.read(self._terminal, 1024)
            except OSError as error:
                raise BrokenPipeError from error
            if not read:
                raise BrokenPipeError
            self._typed.extend(split_keys(read.decode("utf-8", "ignore")))
        return self._typed.popleft() if self._typed else ""

    def take(self) -> None:
        """From now on each key comes by itself, and is not echoed. Ctrl-C is a signal as ever."""
        tty.setcbreak(self._terminal)

    def restore(self) -> None:
        """The terminal is as it was; nothing is left to do where it is gone."""
        with suppress(termios.error):
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)


@contextmanager
def keys() -> Iterator[Keyboard | None]:
    """Yields the keyboard; None where nobody can press a key, or a pager has the keys.

    The terminal is as it was when the block ends.
    """
    on_terminal = sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()
    if not (on_terminal and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()):
        yield None
        return
    keyboard = Keyboard(sys.stdin.fileno())
    keyboard.take()
    try:
        yield keyboard
    finally:
        keyboard.restore()


def split_keys(text: str) -> list[str]:
    """Keys as a terminal sends them, one after the other; sequences that are none of ours are left out."""
    found, at = [], 0
    while at < len(text):
        end = at + 1
        if text[at] == "\x1b" and text[end : end + 1] in ("[", "O"):
            end += 1
            while end < len(text) and not "@" <= text[end] <= "~":
                end += 1
            end += 1
        key = text[at:end]
        at = end
        if len(key) == 1 or key in NAMES:
            found.append(NAMES.get(key, key))
    return found
