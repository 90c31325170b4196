"""What a signal does for as long as a block runs."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def on_signals(handler: Callable[[int, object], object], *numbers: int) -> Iterator[None]:
    """Call `handler` on these signals, and put back what was there before. For the main thread."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def interrupt(*_: object) -> NoReturn:
    """End as Ctrl-C does, with everything cleared away.

    Raises:
        KeyboardInterrupt: always.
    """
    raise KeyboardInterrupt
