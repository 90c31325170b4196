"""`k2ctl watch`: the platform live."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k2ctl.errors import UsageError
from k2ctl.options import JsonOption, check_writable

if TYPE_CHECKING:
    from k2ctl.domain.overview import Overview
    from k2ctl.kafka.telemetry import OverviewReader
    from k2ctl.views.watch import LagHistory

FIRST_WORD_S = 1.5
"""How long `--once` waits for reports of workers: they come every 500 ms."""

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

    On a terminal a live screen, elsewhere a line per second; Ctrl-C ends it.

    Example:  k2ctl watch --once --json
    """
    from k2ctl.console import print_json
    from k2ctl.views.watch import LagHistory

    if export is not None and export.suffix not in {".svg", ".html"}:
        raise UsageError(
            f"A picture is an .svg or an .html file, not {export.name}.", "k2ctl watch --export screen.svg"
        )
    check_writable(export)
    check_writable(record)
    history = LagHistory()
    last: list[Overview] = []
    with ExitStack() as stack:
        ticks = _noted(_ticks(stack, replay, once=once, every_s=1.0 if as_json else 0.1), history, last, record, stack)
        try:
            if as_json:
                for tick in ticks:
                    print_json(tick)
            elif once:
                _print_screen(ticks, history)
            else:
                _follow(ticks, history)
        except KeyboardInterrupt:
            pass
    if export is not None and last:
        _export(last[0], history, export)


def _ticks(stack: ExitStack, replay: Path | None, *, once: bool, every_s: float) -> "Iterator[Overview]":
    """Overviews of the running stack, or of a recording; with `once` a single one."""
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.kafka.telemetry import OverviewReader, paced, read_recording

    if replay is not None:
        recorded = read_recording(replay)
        return iter(recorded[-1:]) if once else paced(recorded)
    reader = OverviewReader(require_endpoints(Home.of_user()))
    stack.callback(reader.close)
    if once:
        reader.poll(FIRST_WORD_S)
        return iter([reader.poll()])
    return _polled(reader, every_s)


def _polled(reader: "OverviewReader", every_s: float) -> "Iterator[Overview]":
    while True:
        yield reader.poll(every_s)


def _noted(
    ticks: "Iterator[Overview]", history: "LagHistory", last: "list[Overview]", record: Path | None, stack: ExitStack
) -> "Iterator[Overview]":
    """The same ticks, on their way into the history, the record and `last`."""
    import orjson

    file = stack.enter_context(record.open("wb")) if record is not None else None
    for tick in ticks:
        if history.add(tick) and file is not None:
            file.write(orjson.dumps(tick) + b"\n")
            file.flush()
        last[:] = [tick]
        yield tick


def _print_screen(ticks: "Iterator[Overview]", history: "LagHistory") -> None:
    from k2ctl.console import out
    from k2ctl.views.watch import watch_screen

    console = out()
    for tick in ticks:
        console.print(
            watch_screen(tick, history, console.width, max(24, console.height if console.is_terminal else 24))
        )


def _follow(ticks: "Iterator[Overview]", history: "LagHistory") -> None:
    from k2ctl.console import out
    from k2ctl.views.live import live
    from k2ctl.views.watch import watch_line, watch_screen

    console = out()
    with live(
        console, lambda tick: watch_screen(tick, history, console.width, console.height), watch_line, screen=True
    ) as show:
        for tick in ticks:
            show(tick)


def _export(tick: "Overview", history: "LagHistory", path: Path) -> None:
    """The last screen as a picture, of the terminal's size."""
    from k2ctl.console import out, say
    from k2ctl.views.live import save_picture
    from k2ctl.views.watch import watch_screen

    size = (out().width, out().height) if out().is_terminal else PICTURE_SIZE
    save_picture(watch_screen(tick, history, *size), size, path, "k2ctl watch")
    say(f"Wrote {path}.")
