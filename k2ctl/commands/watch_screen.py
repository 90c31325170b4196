"""The screen of `k2ctl watch`: draws what has come, and does what keys say, until it is left."""

import errno
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from rich.console import Console
from rich.segment import Segment

from k2ctl.clock import clock_text
from k2ctl.commands.keys import Keyboard, keys
from k2ctl.commands.watch_feed import Pace, Refreshed, TickFeed, Wake
from k2ctl.commands.watch_keys import after_key
from k2ctl.domain.overview import Overview
from k2ctl.domain.status import NOBODY_REPORTS
from k2ctl.kafka.dead_letters import StoredDeadLetters
from k2ctl.log import held_while_on_screen
from k2ctl.signals import on_signals
from k2ctl.views.watch.history import LagHistory
from k2ctl.views.watch.screen import WatchPage, WatchScreen, screen_view

FRAME_S: Final = 0.5
"""The screen is drawn so often as figures come, and at once for a key."""

REDRAW: Final = "\x0c"
"""Ctrl-L, where something else has written on the terminal."""

SILENT_S: Final = 3.0
"""Nothing has come for so long: that is said."""


@dataclass(frozen=True)
class WatchSource:
    """Where everything comes from."""

    ticks: Iterator[Overview]
    # Writes a tick into history and recording; in the thread that draws.
    note: Callable[[Overview], object]
    history: LagHistory
    dead_letters: Callable[[], StoredDeadLetters]
    log: Callable[[], list[str]]
    # The time of a replay; None for a running stack.
    pace: Pace | None = None


def show(source: WatchSource, console: Console) -> None:
    """Until q, Ctrl-C or another signal, whatever becomes of the stack meanwhile.

    Raises:
        BrokenPipeError: the terminal is gone.
    """
    try:
        with held_while_on_screen() as held, keys() as keyboard:
            _Live(source, console, keyboard, held).run()
    except OSError as error:
        if error.errno not in (errno.EIO, errno.ENXIO, errno.EBADF):
            raise
        raise BrokenPipeError from error


class _Live:
    def __init__(self, source: WatchSource, console: Console, keyboard: Keyboard | None, held: Collection[str]) -> None:
        self._source = source
        self._console = console
        self._keyboard = keyboard
        self._held = held
        self._wake = Wake()
        self._feed = TickFeed(source.ticks, self._wake)
        self._dead_letters = Refreshed(source.dead_letters, 5.0, self._wake)
        self._log = Refreshed(source.log, 1.0, self._wake)
        self._screen = WatchScreen(Overview.of([]), source.history, with_keys=keyboard is not None)
        self._newest: Overview | None = None
        self._latest_s = time.monotonic()
        self._paused_at_us: int | None = None
        self._suspended = self._resized = False
        # As they were drawn last: what is the same is not sent again.
        self._lines: list[list[Segment]] = []

    def run(self) -> None:
        """Draw, wait for something new, and again."""
        with on_signals(self._on_resize, signal.SIGWINCH), on_signals(self._on_stop, signal.SIGTSTP), self._shown():
            awaited: list[Wake | Keyboard] = [self._wake, *([self._keyboard] if self._keyboard else [])]
            drawn_s = 0.0
            while True:
                news, pressed = self._take_news(), self._take_keys()
                if pressed is None:
                    return
                if self._suspended:
                    self._stop()
                now_s = time.monotonic()
                if pressed or self._resized or (now_s - drawn_s >= FRAME_S and (news or now_s - drawn_s >= 1.0)):
                    self._draw()
                    drawn_s = now_s
                select.select(awaited, [], [], FRAME_S / 2)
                self._wake.clear()

    @contextmanager
    def _shown(self) -> Iterator[None]:
        self._enter()
        try:
            yield
        finally:
            if self._source.pace is not None:
                self._source.pace.over.set()
            self._feed.close()
            self._leave()

    def _enter(self) -> None:
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)

    def _leave(self) -> None:
        self._console.show_cursor(True)
        self._console.set_alt_screen(False)

    def _on_resize(self, *_: object) -> None:
        self._resized = True
        self._wake()

    def _on_stop(self, *_: object) -> None:
        self._suspended = True
        self._wake()

    def _stop(self) -> None:
        """Ctrl-Z: the shell has the terminal as it was, until `fg`."""
        self._suspended = False
        self._leave()
        if self._keyboard is not None:
            self._keyboard.restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        if self._keyboard is not None:
            self._keyboard.take()
        self._enter()
        self._resized = True

    def _take_news(self) -> bool:
        ticks = self._feed.taken()
        for tick in ticks:
            self._source.note(tick)
        if ticks:
            self._newest, self._latest_s = ticks[-1], time.monotonic()
        return bool(ticks)

    def _take_keys(self) -> bool | None:
        """Whether any was pressed; None for the one that ends."""
        pressed = False
        while self._keyboard is not None and (key := self._keyboard()):
            pressed = True
            if key in ("q", "Q"):
                return None
            if key == " ":
                self._pause()
            elif key == REDRAW:
                self._resized = True
            else:
                self._screen = after_key(self._screen, key)
        return pressed

    def _pause(self) -> None:
        """The screen stands still, or goes on; a replay does too."""
        is_paused = self._paused_at_us is not None
        self._paused_at_us = None if is_paused else self._screen.overview.at_us
        history = self._source.history
        self._screen = replace(self._screen, history=history if is_paused else history.copy())
        if self._source.pace is not None:
            (self._source.pace.paused.clear if is_paused else self._source.pace.paused.set)()

    def _draw(self) -> None:
        if self._resized:
            self._resized = False
            self._lines = []
            self._console.clear()
        if self._newest is not None and self._paused_at_us is None:
            self._screen = replace(self._screen, overview=self._newest)
        self._screen = replace(self._beside(), said=self._said())
        width, height = self._console.size
        options = self._console.options.update_dimensions(width, height)
        lines = self._console.render_lines(screen_view(self._screen, width, height), options)
        for number, line in enumerate(lines[:height]):
            if number >= len(self._lines) or line != self._lines[number]:
                self._console.update_screen_lines([line], 0, number)
        self._lines = lines

    def _said(self) -> str:
        """What a person has to know of what is shown."""
        reason, silent_s = self._screen.overview.level_reason, time.monotonic() - self._latest_s
        if self._paused_at_us is not None:
            return f"paused at {clock_text(self._paused_at_us)} UTC; the space bar goes on"
        if self._source.pace is not None:
            return "the recording has ended" if self._feed.ended else ""
        if silent_s >= SILENT_S:
            return f"nothing has come from Kafka for {silent_s:.0f} s"
        return "" if self._screen.overview.ladder or reason == NOBODY_REPORTS else reason

    def _beside(self) -> WatchScreen:
        """With what a page shows beside the figures: got only while it is looked at."""
        if self._screen.page is WatchPage.DEAD_LETTERS:
            self._dead_letters.want()
            found, missing = self._dead_letters.value, self._dead_letters.trouble
            return replace(self._screen, dead_letters=found, missing=missing)
        if self._screen.page is WatchPage.LOG:
            self._log.want()
            log = [*(self._log.value or []), *self._held]
            return replace(self._screen, log=log, missing=self._log.trouble)
        return self._screen
