"""Signal handlers for the duration of a block."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a program: from Ctrl-C, a supervisor, a closed terminal."""

_PDEATHSIG: Final = 1

ONE_S: Final = 0.5
"""`timeout` sends its signal to the process and then to its group: two that come together are one."""


@contextmanager
def on_signals(handler: Callable[[int, object], object], *numbers: int) -> Iterator[None]:
    """Call `handler` on these signals, and restore the earlier handlers at the end. For the main thread.

    A signal that is repeated at once is not handled again. A SIGHUP that `nohup` has ignored stays ignored; a SIGINT
    that a shell ignores for what it starts in the background does not, for a person may press Ctrl-C there.
    """
    handled_s: dict[int, float] = {}

    def once(number: int, frame: object) -> None:
        now_s = time.monotonic()
        if now_s - handled_s.get(number, -ONE_S) >= ONE_S:
            handled_s[number] = now_s
            handler(number, frame)

    wanted = [n for n in numbers if n != signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, once) for number in wanted}
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


@contextmanager
def held_back(*numbers: int) -> Iterator[None]:
    """Block signals for this thread and for the processes that it starts; they are delivered when the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Ignore the ending signals: the parent handles a signal that goes to the whole process group.

    For a process that was started while these signals were blocked, so that none arrives in between.
    """
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


@contextmanager
def closing_pipes(signalled: Callable[[], object]) -> Iterator[None]:
    """Treat a closed pipe after a signal as the interruption: the signal ended the reader too (`… | tee`).

    Raises:
        KeyboardInterrupt: a pipe was closed after a signal, as `signalled` reports.
    """
    try:
        yield
    except BrokenPipeError as error:
        if signalled():
            raise KeyboardInterrupt from error
        raise


def interrupt(*_: object) -> NoReturn:
    """End as Ctrl-C does, with all cleanup.

    Raises:
        KeyboardInterrupt: always.
    """
    raise KeyboardInterrupt


def end_with(parent: int) -> None:
    """Have Linux end this process when its parent is killed; the parent may be gone already."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
