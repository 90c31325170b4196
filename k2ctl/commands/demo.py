"""`k2ctl demo`: the platform's promise, live."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from k2ctl.errors import CheckFailed, UsageError
from k2ctl.options import EngineOption, JsonOption, ProfileOption, check_writable, group
from k2ctl.signals import ENDING, closing_pipes, interrupt, on_signals

NOTES_EVERY_S: Final = 0.3

ActOption = Annotated[
    list[int] | None,
    typer.Option("--act", metavar="1-4", help="Play this act alone; repeatable.", show_default="all four"),
]
QuickOption = Annotated[bool, typer.Option("--quick", help="All four acts in about a minute.")]
PauseOption = Annotated[bool, typer.Option("--pause", help="Wait for Enter after each act.")]
PaceOption = Annotated[
    float, typer.Option(min=0.1, max=10, metavar="FACTOR", help="2: everything takes twice as long to watch.")
]
ScreensOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Save each act's best moment as an SVG picture.", show_default="none are saved"),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.html",
        help="Write curves, figures and assertions as one page.",
        show_default="none is written",
    ),
]

app = group()


@app.callback(invoke_without_command=True)
def demo(
    context: typer.Context,
    act: ActOption = None,
    quick: QuickOption = False,
    pause: PauseOption = False,
    pace: PaceOption = 1.0,
    screens: ScreensOption = None,
    report: ReportOption = None,
    engine: EngineOption = "embedded",
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

    from k2ctl.checks.verify.verification import prove
    from k2ctl.console import err, out, print_json
    from k2ctl.demo.pacing import Pacing
    from k2ctl.demo.story import chosen, perform
    from k2ctl.profiles import load_profile
    from k2ctl.views.demo import Screen, verdict
    from k2ctl.views.report import report_page

    if pause and not sys.stdin.isatty():
        raise UsageError("--pause waits for Enter, and there is no terminal.", "Leave it out: k2ctl demo --pace 2")
    check_writable(report, "Name one in a folder that is there: k2ctl demo --report demo.html")
    if screens is not None and screens.exists() and not screens.is_dir():
        raise UsageError(f"{screens} is not a folder.", "Name one, or one that is to be made: k2ctl demo --screens DIR")
    acts = chosen(act or [])
    wait = input if pause else None
    with leaving() as leave, Screen(err() if as_json else out(), leave, screens, wait) as screen:
        result = perform(load_profile(profile), engine, acts, Pacing(quick, pace), screen, prove)
    if report is not None:
        report.write_text(report_page(result), encoding="utf-8")
        err().print(f"The report: {report}", soft_wrap=True)
    if as_json:
        print_json({"held": result.held, "checks": result.checks, **asdict(result)})
    else:
        out().print(verdict(result, recall=out().is_terminal))
    if not result.held:
        raise CheckFailed("The demo's figures do not add up.", "See which check failed above, and: k2ctl demo --quick")


@app.command()
def notes() -> None:
    """Talking points for a presenter: while a demo runs those of its act, live; else of all acts.

    Example:  k2ctl demo notes
    """
    import time

    from k2ctl.console import out, say
    from k2ctl.demo.cleanup import current_act
    from k2ctl.demo.story import ACTS, FINALE
    from k2ctl.views.acts import act_of, notes_lines, notes_view
    from k2ctl.views.live import live

    def print_act(number: int) -> None:
        for line in () if (act := act_of(number)) is None else notes_lines(act):
            out().print(line, soft_wrap=not out().is_terminal)

    number, said = current_act(), None
    if number is None:
        say("No demo runs here, so these are the notes of all acts. Beside one they follow it: k2ctl demo")
        for act in (*ACTS, FINALE):
            print_act(act.billing.number)
        return
    with live(out(), notes_view, lambda _: "", quiet=not out().is_terminal, screen=True) as show:
        while number is not None:
            show(number)
            if number != said and not out().is_terminal:
                print_act(number)
            said = number
            time.sleep(NOTES_EVERY_S)
            number = current_act()


@contextmanager
def leaving() -> Iterator[threading.Event]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, with everything cleared away.

    The event says that one came: Python drops an exception that a signal raises within a destructor.
    """
    leave = threading.Event()

    def on_signal(*_: object) -> None:
        leave.set()
        interrupt()

    with on_signals(on_signal, *ENDING), closing_pipes(leave.is_set):
        yield leave
