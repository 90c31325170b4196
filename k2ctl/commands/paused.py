"""What is shown as it comes, with a pause key: on a terminal the space bar pauses and goes on, and q ends."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Final, Generic, TypeVar

from k2ctl.commands.keys import keys
from k2ctl.ending import require_reader

HELD: Final = 100_000
"""While paused; of more the oldest are not shown."""

_Part = TypeVar("_Part", bound=Sized)


def as_they_come(parts: Iterable[_Part], noun: str) -> Iterator[_Part]:
    """The parts that have come, but while it is paused; ends with q, and when nobody reads the output any more.

    parts: without end, an empty one where nothing comes for a moment. noun: what is counted in them, such as `trade`.
    """
    from k2ctl.console import say

    paused = _Paused[_Part](noun)
    with keys() as pressed:
        if pressed is not None:
            say("The space bar pauses, q ends.")
        try:
            for part in parts:
                require_reader()
                if not paused.takes(part, pressed):
                    return
                yield from paused.released()
        finally:
            paused.clear()


class _Paused(Generic[_Part]):
    """What waits while the reader does."""

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._held: deque[_Part] = deque()
        self._dropped = 0
        self._is_paused = False

    def takes(self, part: _Part, pressed: Callable[[], str] | None) -> bool:
        """Take what has come, and the keys that were pressed; False when it is to end."""
        if len(part):
            self._held.append(part)
        while pressed is not None and (key := pressed()):
            if key in "qQ":
                return False
            if key in " pP":
                self._is_paused = not self._is_paused
                self.clear()
        if self._is_paused:
            self._say_waiting()
        return True

    def _say_waiting(self) -> None:
        from k2ctl.views.style import counted

        waiting = sum(map(len, self._held))
        while waiting > HELD and len(self._held) > 1:
            self._dropped += len(self._held[0])
            waiting -= len(self._held.popleft())
        waits = counted(waiting + self._dropped, self._noun)
        sys.stderr.write(f"\r\x1b[Kpaused, {waits} waiting; the space bar goes on")
        sys.stderr.flush()

    def released(self) -> list[_Part]:
        """What is to be shown now."""
        from k2ctl.console import say

        if self._is_paused:
            return []
        if self._dropped:
            say(f"{self._dropped:,} {self._noun}s came while it was paused that are not shown.")
        found, self._held, self._dropped = list(self._held), deque(), 0
        return found

    def clear(self) -> None:
        """Take the line away that says how many wait."""
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
