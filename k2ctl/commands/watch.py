"""`k2ctl watch`: the platform live."""

import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k2ctl.errors import UsageError
from k2ctl.options import JsonOption, check_writable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO, NoReturn

    from rich.console import RenderableType

    from k2ctl.domain.overview import Overview
    from k2ctl.kafka.dead_letters import StoredDeadLetters
    from k2ctl.kafka.followed import StackFollower
    from k2ctl.views.watch.history import LagHistory

FIRST_WORD_S = 1.5
"""How long `--once` waits for reports of workers: they come every 500 ms."""

LOG_LINES = 300
"""The newest of each consumer's log that the screen shows."""

PICTURE_SIZE = (100, 40)
"""Columns and lines of an exported picture, where no terminal gives them."""


def watch(
    once: Annotated[bool, typer.Option("--once", help="Print the state once and end.")] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write every tick to a file as well, to be replayed.", show_default="not recorded"
        ),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Watch a recorded run again; needs no stack.", show_default="the running stack"
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE.svg|html", help="Write the last screen as a picture.", show_default="none"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Watch level, lag, rates and what becomes of the trades.

    On a terminal a screen, elsewhere a line per second; q or Ctrl-C ends it. On the screen ? shows the keys: the space
    bar pauses, p shows partitions, c consumers, t transitions of the level, d dead letters, l the log, o all again; Tab
    goes from consumer to consumer.

    Example:  k2ctl watch --once --json
    """
    from k2ctl.views.watch.history import LagHistory

    if export is not None and export.suffix not in {".svg", ".html"}:
        raise UsageError(
            f"A picture is an .svg or an .html file, not {export.name}.", "k2ctl watch --export screen.svg"
        )
    check_writable(export)
    check_writable(record)
    with ExitStack() as stack:
        seen = _Seen(LagHistory(), stack.enter_context(record.open("wb")) if record is not None else None)
        with suppress(KeyboardInterrupt):
            _show(stack, seen, replay, once=once, as_json=as_json)
    if export is not None and seen.last is not None:
        _export(seen.last, seen.history, export)


class _Seen:
    """What has been shown: in the history, the recording and as the last tick."""

    def __init__(self, history: "LagHistory", recording: "BinaryIO | None") -> None:
        self.history = history
        self.last: Overview | None = None
        self._recording = recording

    def note(self, tick: "Overview") -> None:
        import orjson

        if self.history.add(tick) and self._recording is not None:
            self._recording.write(orjson.dumps(tick) + b"\n")
            self._recording.flush()
        self.last = tick


def _show(stack: ExitStack, seen: _Seen, replay: Path | None, *, once: bool, as_json: bool) -> None:
    from k2ctl.console import out

    if once or as_json or not out().is_terminal or out().is_dumb_terminal:
        ticks = _ticks(stack, replay, once=once, every_s=1.0 if as_json else 0.1)
        _print(ticks, seen, once=once, as_json=as_json)
    else:
        _on_screen(stack, seen, replay)


def _ticks(
    stack: ExitStack,
    replay: Path | None,
    *,
    once: bool,
    every_s: float,
    sleep: "Callable[[float], None]" = time.sleep,
) -> "Iterator[Overview]":
    """Overviews of the running stack, or of a recording; with `once` a single one."""
    from k2ctl.home import Home
    from k2ctl.kafka.followed import StackFollower
    from k2ctl.kafka.telemetry import paced, read_recording

    if replay is not None:
        recorded = read_recording(replay)
        return iter(recorded[-1:]) if once else paced(recorded, sleep)
    follower = StackFollower(Home.of_user())
    stack.callback(follower.close)
    if once:
        follower.poll(FIRST_WORD_S)
        return iter([follower.poll()])
    return _polled(follower, every_s)


def _polled(follower: "StackFollower", every_s: float) -> "Iterator[Overview]":
    while True:
        yield follower.poll(every_s)


def _print(ticks: "Iterator[Overview]", seen: _Seen, *, once: bool, as_json: bool) -> None:
    """The screen once, or line after line."""
    from k2ctl.console import out, print_json
    from k2ctl.views.live import live
    from k2ctl.views.watch.line import watch_line
    from k2ctl.views.watch.overview import watch_screen

    console = out()
    height = max(24, console.height if console.is_terminal else 24)

    def screen(tick: "Overview") -> "RenderableType":
        return watch_screen(tick, seen.history, console.width, height)

    with live(console, screen, watch_line, quiet=as_json or once) as show:
        for tick in ticks:
            seen.note(tick)
            show(tick)
            if as_json:
                print_json(tick)
            elif once:
                console.print(screen(tick))


def _on_screen(stack: ExitStack, seen: _Seen, replay: Path | None) -> None:
    from k2ctl.commands.watch_feed import Pace
    from k2ctl.commands.watch_screen import WatchSource, show
    from k2ctl.console import out

    pace = Pace() if replay is not None else None
    ticks = _ticks(stack, replay, once=False, every_s=0.5, sleep=pace.sleep if pace else time.sleep)
    show(WatchSource(ticks, seen.note, seen.history, _dead_letters(replay), _log(replay), pace), out())


def _dead_letters(replay: Path | None) -> "Callable[[], StoredDeadLetters]":
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.kafka.dead_letters import read_dead_letters

    if replay is not None:
        return _not_recorded
    return lambda: read_dead_letters(require_endpoints(Home.of_user()))


def _log(replay: Path | None) -> "Callable[[], list[str]]":
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.stack.consumer_logs import newest_log_lines

    if replay is not None:
        return _not_recorded
    return lambda: newest_log_lines(require_endpoints(Home.of_user()), LOG_LINES)


def _not_recorded() -> "NoReturn":
    raise UsageError("A recording holds only figures.", "")


def _export(tick: "Overview", history: "LagHistory", path: Path) -> None:
    """The last screen as a picture, of the terminal's size."""
    from k2ctl.console import out, say
    from k2ctl.views.live import save_picture
    from k2ctl.views.watch.overview import watch_screen

    size = (out().width, out().height) if out().is_terminal else PICTURE_SIZE
    save_picture(watch_screen(tick, history, *size), size, path, "k2ctl watch")
    say(f"Wrote {path}.")
