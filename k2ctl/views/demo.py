"""The demo's screen: what is to be seen and why, the platform live, and below what begins and what was asserted."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from k2ctl.demo.checks import DemoCheck
from k2ctl.demo.result import ActResult, Audience, DemoResult, Finding_, Tick
from k2ctl.demo.story import ACTS
from k2ctl.log import held_while_on_screen
from k2ctl.views.acts import duel_view, finding_lines, finding_panel
from k2ctl.views.live import MAX_HZ, save_picture
from k2ctl.views.style import seconds
from k2ctl.views.watch import LagHistory, pressure_view

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
        self._act: ActResult | None = None
        self._history = LagHistory()
        self._tick: Tick | None = None
        self._finding: Finding_ | None = None
        self._said: deque[Text] = deque(maxlen=SAID_LINES)
        self._has_reported = False
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
        self._act, self._tick, self._finding, self._history = act, None, None, LagHistory()
        self._said.clear()
        self._has_reported = False
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
        if self._tick is None or self._act is None:
            return _blank(height)
        if self._act.billing.number == 1:
            return duel_view(self._tick, self._act.samples, width, height)
        if not self._has_reported:
            # Before an act's first consumer there is no level; later its silence is part of the story.
            return _blank(height)
        return pressure_view(self._tick.overview, self._history, width, height)

    def _said_text(self, width: int) -> list[Text]:
        """The last lines said, as many as fit; the newest whole."""
        lines = [line for text in self._said for line in text.wrap(self._console, width - 2)]
        return [*lines[-SAID_LINES:], *[Text("")] * max(0, SAID_LINES - len(lines))]


def _blank(height: int) -> Group:
    return Group(*[Text("")] * height)


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
    mark, style = ("✓", "green") if check.held else ("✗", "bold red")
    return Text.assemble((f"  {mark} {check.claim}", style), (f": {check.measured}", ""))


def verdict(result: DemoResult, *, recall: bool) -> RenderableType:
    """How the story ended; with `recall` each act's assertions once more, for their screen is gone."""
    lines: list[RenderableType] = []
    for act in result.acts if recall else ():
        lines.append(Text(f"{act.billing.title}, {seconds(act.seconds)}", style="bold"))
        lines += map(check_text, act.checks)
    count = len(result.checks)
    if result.held:
        lines.append(Text(f"All {count} checks held, in {seconds(result.seconds)}.", style="bold green"))
    else:
        failed = sum(not check.held for check in result.checks)
        lines.append(Text(f"{failed} of {count} checks did not hold.", style="bold red"))
    lines.append(Text("K2 is L3: analytics, research, compliance; not execution (L1), not in-memory risk (L2)."))
    lines.append(Text("Next:  k2ctl stack up   then   k2ctl load --rate 10k   and   k2ctl consume"))
    return Group(*lines)
