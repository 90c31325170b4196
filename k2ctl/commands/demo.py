"""`k2ctl demo`: the platform's promise, live."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from k2ctl.errors import CheckFailed, UsageError
from k2ctl.options import JsonOption, ProfileOption

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def demo(
    context: typer.Context,
    act: Annotated[
        list[int] | None, typer.Option("--act", metavar="1-4", help="Play this act alone; repeatable.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="All four acts in under 90 seconds.")] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Wait for Enter after each act.")] = False,
    pace: Annotated[
        float, typer.Option(min=0.1, max=10, metavar="FACTOR", help="2: everything takes twice as long to watch.")
    ] = 1.0,
    screens: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save each act's best moment as an SVG picture.")
    ] = None,
    engine: Annotated[str, typer.Option("--engine", metavar="NAME", help="embedded, local or docker.")] = "embedded",
    profile: ProfileOption = "laptop",
    as_json: JsonOption = False,
) -> None:
    """Ten minutes, four acts: the problem, the architecture, the innovations, scale and cost; asserted on live figures.

    In a stack of its own that is gone afterwards. Talking points on a second terminal: k2ctl demo notes.
    K2 serves analytics, research and compliance (answers within half a second), not execution or in-memory risk.

    Example:  k2ctl demo --quick
    """
    if context.invoked_subcommand is not None:
        return
    from dataclasses import asdict

    import orjson

    from k2ctl.console import err, out, print_json
    from k2ctl.demo.story import chosen, tell
    from k2ctl.demo.tempo import Tempo
    from k2ctl.panels.demo import Screen, verdict
    from k2ctl.profiles import load_profile

    if pause and not sys.stdin.isatty():
        raise UsageError("--pause waits for Enter, and there is no terminal.", "Leave it out: k2ctl demo --pace 2")
    acts = chosen(act or [])
    wait = input if pause else None
    with leaving() as leave, Screen(err() if as_json else out(), leave, screens, wait) as screen:
        told = tell(load_profile(profile), engine, acts, Tempo(quick, pace), screen)
    if as_json:
        print_json(orjson.dumps({"held": told.held, "checks": told.checks, **asdict(told)}))
    else:
        out().print(verdict(told, recall=out().is_terminal))
    if not told.held:
        raise CheckFailed("The demo's figures do not add up.", "See which check failed above, and: k2ctl demo --quick")


@app.command()
def notes() -> None:
    """Talking points for a presenter, act by act.

    Example:  k2ctl demo notes
    """
    from k2ctl.console import out
    from k2ctl.demo.story import ACTS, FINALE

    for act in (*ACTS, FINALE):
        out().print(f"{act.billing.title}: {act.billing.headline}", style="bold", markup=False)
        for point in act.billing.notes:
            out().print(f"  • {point}", markup=False)


@contextmanager
def leaving() -> Iterator[threading.Event]:
    """SIGTERM ends the block as Ctrl-C does, with everything cleared away.

    The event says that one came: Python drops an exception that a signal raises within a destructor.
    """
    leave = threading.Event()

    def on_signal(*_: object) -> None:
        leave.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield leave
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
