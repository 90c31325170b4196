"""The demo's screen: the steps so far, what was checked, and the platform live below."""

from types import TracebackType
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from k2ctl.broker.overview import Overview
from k2ctl.demo.checks import Check
from k2ctl.demo.story import Audience, Told
from k2ctl.panels.live import MAX_HZ
from k2ctl.panels.style import seconds
from k2ctl.panels.watch import History, watch_screen

SCREEN_HEIGHT: Final = 24


class Screen(Audience):
    """Shows the story: in place on a terminal, line by line elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._history = History()
        self._overview: Overview | None = None
        self._step = ""
        self._live = Live(console=console, refresh_per_second=MAX_HZ, transient=True) if console.is_terminal else None

    def __enter__(self) -> "Screen":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def step(self, text: str) -> None:
        self._step = text
        self._console.print(Text(f"• {text}"))
        self._draw()

    def check(self, check: Check) -> None:
        self._console.print(check_text(check))
        self._draw()

    def tick(self, overview: Overview) -> None:
        self._overview = overview
        self._history.add(overview)
        self._draw()

    def _draw(self) -> None:
        if self._live is not None and self._overview is not None:
            self._live.update(watch_screen(self._overview, self._history, self._console.width, SCREEN_HEIGHT))


def check_text(check: Check) -> Text:
    """A green or a red line."""
    mark, style = ("✓", "green") if check.held else ("✗", "bold red")
    return Text.assemble((f"  {mark} {check.claim}", style), (f": {check.measured}", ""))


def verdict(told: Told) -> RenderableType:
    """How the story ended."""
    count = len(told.checks)
    if told.held:
        headline = Text(f"All {count} checks held, in {seconds(told.seconds)}.", style="bold green")
    else:
        failed = sum(not check.held for check in told.checks)
        headline = Text(f"{failed} of {count} checks did not hold.", style="bold red")
    lines: list[RenderableType] = [headline]
    if told.load is not None:
        load = told.load
        saturated = "; this machine could not follow the schedule (saturated)" if load.saturated else ""
        lines.append(
            Text(
                f"Load: {load.trades_acknowledged:,} trades at {load.reached_rate:,.0f}/s in the mean{saturated}; "
                f"99 % acknowledged within {load.ack_ms.get('p99', 0):.0f} ms of being due."
            )
        )
    lines.append(Text("Next:  k2ctl stack up   then   k2ctl load --rate 10k   and   k2ctl consume"))
    return Group(*lines)
