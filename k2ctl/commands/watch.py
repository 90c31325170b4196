"""`k2ctl watch`: the platform live."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from k2ctl.options import JsonOption

if TYPE_CHECKING:
    from k2ctl.broker.overview import Overview

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
FIRST_WORD_S = 1.5
"""How long `--once` waits for workers to speak: they do every 500 ms."""


@app.command()
def watch(
    once: Annotated[bool, typer.Option("--once", help="Print the state once and end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Watch level, lag, rates and what becomes of the trades.

    On a terminal a live screen, elsewhere a line per second; Ctrl-C ends it.

    Example:  k2ctl watch --once --json
    """
    from k2ctl.broker.overview import OverviewReader
    from k2ctl.home import require_endpoints

    reader = OverviewReader(require_endpoints())
    try:
        if once:
            reader.poll(FIRST_WORD_S)
            _show_once(reader.poll(), as_json=as_json)
        elif as_json:
            while True:
                _show_once(reader.poll(1.0), as_json=True)
        else:
            _follow(reader.poll)
    except KeyboardInterrupt:
        return
    finally:
        reader.close()


def _show_once(overview: "Overview", *, as_json: bool) -> None:
    import orjson

    from k2ctl.console import out, print_json
    from k2ctl.panels.watch import History, watch_panel

    if as_json:
        print_json(orjson.dumps(overview))
        return
    history = History()
    history.add(overview)
    out().print(watch_panel(overview, history, out().width))


def _follow(poll: Callable[[float], "Overview"]) -> None:
    from k2ctl.console import out
    from k2ctl.panels.live import live
    from k2ctl.panels.watch import History, watch_line, watch_panel

    history, console = History(), out()
    noted_s = 0.0
    with live(console, lambda state: watch_panel(state, history, console.width), watch_line, screen=True) as show:
        while True:
            overview = poll(0.1)
            if time.monotonic() >= noted_s + 0.5:
                noted_s = time.monotonic()
                history.add(overview)
            show(overview)
