"""The demo's screen: what is to be seen and why, the platform live, and below what begins and what was asserted."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from k2ctl.demo.checks import DemoCheck
from k2ctl.demo.result import ActResult, Audience, DemoResult, Finding_, Tick
from k2ctl.demo.story import ACTS
from k2ctl.log import held_while_on_screen
from k2ctl.views.acts import duel_view, finding_lines, finding_panel
from k2ctl.views.live import MAX_HZ, save_picture
from k2ctl.views.program import program_view
from k2ctl.views.style import seconds
from k2ctl.views.watch.history import LagHistory
from k2ctl.views.watch.ladder import pressure_view

HEADER_HEIGHT: Final = 4
SAID_LINES: Final = 4
PICTURE_SIZE: Final = (96, 30)


class Screen(Audience):
    """Shows the story: on a terminal the whole of it, elsewhere line by line.

    leave: set when the audience leaves; the next word to it raises KeyboardInterrupt. pictures: a folder for the
    moments that are worth one. wait: called when an act has ended; a presenter's Enter.
    """

    def __init__(
        self,
        console: Console,
        leave: threading.Event,
        pictures: Path | None = None,
        wait: Callable[[], object] | None = None,
    ) -> None:
        self._console = console
        self._leave = leave
        self._pictures = pictures
        self._wait = wait
        self._acts: list[ActResult] = []
        self._history = LagHistory()
        self._tick: Tick | None = None
        self._finding: Finding_ | None = None
        self._said: deque[Text] = deque(maxlen=SAID_LINES)
        self._has_reported = self._has_ended = False
        self._display = ExitStack()
        self._live = (
            Live(console=console, get_renderable=self._fitted, refresh_per_second=MAX_HZ, screen=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> "Screen":
        if self._live is not None:
            self._display.enter_context(held_while_on_screen())
            self._display.enter_context(self._live)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._display.close()

    def begins(self, act: ActResult) -> None:
        self._acts.append(act)
        self._tick, self._finding, self._history = None, None, LagHistory()
        self._said.clear()
        self._has_reported = self._has_ended = False
        if self._live is None:
            self._print(Text(f"\n{title_of(act)}"), Text(act.billing.headline))

    def step(self, text: str) -> None:
        self._finding = None
        self._say(Text(f"• {text}"))

    def show(self, finding: Finding_) -> None:
        self._finding = finding
        if self._live is None:
            self._print(*map(Text, finding_lines(finding)))

    def check(self, check: DemoCheck) -> None:
        self._say(check_text(check))

    def tick(self, tick: Tick) -> None:
        self._stay()
        self._tick = tick
        self._has_reported = self._has_reported or bool(tick.overview.ladder)
        self._history.add(tick.overview)

    def moment(self, name: str) -> None:
        if self._pictures is not None:
            save_picture(self.view(*PICTURE_SIZE), PICTURE_SIZE, self._pictures / f"{name}.svg", "k2ctl demo")

    def ends(self, act: ActResult) -> None:
        self._has_ended = True
        if self._wait is not None and act.billing.number:
            self._say(Text("Press Enter to go on.", style="bold"))
            self._wait()

    def _stay(self) -> None:
        if self._leave.is_set():
            raise KeyboardInterrupt

    def _say(self, text: Text) -> None:
        self._stay()
        self._said.append(text)
        if self._live is None:
            self._print(text)

    def _print(self, *lines: Text) -> None:
        for line in lines:
            self._console.print(line, soft_wrap=True)

    def _fitted(self) -> RenderableType:
        return self.view(self._console.width, self._console.height - 1)

    def view(self, width: int, height: int) -> RenderableType:
        """The screen as it stands, in `height` lines; 80 × 23 is the least."""
        said = self._said_text(width)
        body = height - HEADER_HEIGHT - len(said)
        return Group(self._header(), self._body(width, body), *said)

    @property
    def _act(self) -> ActResult | None:
        """The act that is being played, or was played last."""
        return self._acts[-1] if self._acts else None

    def _header(self) -> Panel:
        act = self._act
        title = title_of(act) if act else "k2ctl demo"
        headline = act.billing.headline if act else "Starting a stack of its own, which is gone afterwards."
        return Panel(
            Text(headline),
            title=Text(title, style="bold"),
            title_align="left",
            box=box.HEAVY,
            height=HEADER_HEIGHT,
            border_style="cyan",
            padding=(0, 1),
        )

    def _body(self, width: int, height: int) -> RenderableType:
        if self._finding is not None:
            return _padded(finding_panel(self._finding), height, self._console, width)
        act, tick = self._act, self._tick
        if act is not None and tick is not None and act.billing.number == 1:
            return duel_view(tick, act.samples, width, height)
        if tick is not None and self._has_reported:
            return pressure_view(tick.overview, self._history, width, height)
        # Before an act's first consumer there is no level; later its silence is part of the story.
        return _padded(program_view(self._acts, tick, ended=self._has_ended), height, self._console, width)

    def _said_text(self, width: int) -> list[Text]:
        """What was said last, as much as fits, each whole."""
        lines: list[Text] = []
        for text in reversed(self._said):
            more = hanging(text, self._console, width - 1)
            if lines and len(more) + len(lines) > SAID_LINES:
                break
            lines = [*more, *lines]
        return [*lines[:SAID_LINES], *[Text("")] * (SAID_LINES - len(lines))]


def hanging(text: Text, console: Console, width: int) -> list[Text]:
    """A text in lines of a width; all but the first are indented."""
    return [Text("    " if at else "") + line for at, line in enumerate(text.wrap(console, width - 4))]


def _padded(content: RenderableType, height: int, console: Console, width: int) -> RenderableType:
    """Content in exactly `height` lines, so that nothing jumps."""
    options = console.options.update_dimensions(width, height)
    lines = len(console.render_lines(content, options.update(height=None), pad=False))
    return Group(content, *[Text("")] * max(0, height - lines))


def title_of(act: ActResult) -> str:
    """Which act this is."""
    number = act.billing.number
    return (
        f"K2 demo · act {number} of {len(ACTS)} · {act.billing.title}" if number else f"K2 demo · {act.billing.title}"
    )


def check_text(check: DemoCheck) -> Text:
    """A green or a red line."""
    return Text.assemble("  ", _mark(check), " ", _said(check))


def _mark(check: DemoCheck) -> Text:
    return Text("✓", "green") if check.held else Text("✗", "bold red")


def _said(check: DemoCheck) -> Text:
    return Text.assemble((check.claim, "green" if check.held else "bold red"), f": {check.measured}")


def _checks(checks: Sequence[DemoCheck]) -> Table:
    """The same below each other, where a terminal breaks them."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=2, justify="right")
    table.add_column(overflow="fold")
    for check in checks:
        table.add_row(_mark(check), _said(check))
    return table


def verdict(result: DemoResult, *, recall: bool) -> RenderableType:
    """How the story ended; with `recall` each act's assertions once more, for their screen is gone."""
    lines: list[RenderableType] = []
    for act in result.acts if recall else ():
        lines.append(Text(f"{act.billing.title}, {seconds(act.seconds)}", style="bold"))
        lines.append(_checks(act.checks))
    count = len(result.checks)
    if result.held:
        lines.append(Text(f"All {count} checks held, in {seconds(result.seconds)}.", style="bold green"))
    else:
        failed = sum(not check.held for check in result.checks)
        lines.append(Text(f"{failed} of {count} checks did not hold.", style="bold red"))
    lines.append(Text("K2 is L3: analytics, research, compliance; not execution (L1), not in-memory risk (L2)."))
    lines.append(Text("Next:  k2ctl stack up   then   k2ctl load --rate 10k   and   k2ctl consume"))
    return Group(*lines)
