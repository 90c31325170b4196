"""A presenter's talking points: of the act that is being played, or of all."""

from collections.abc import Iterator

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from k2ctl.demo.current_act import STARTING
from k2ctl.demo.story import ACTS, FINALE, Act


def act_of(number: int) -> Act | None:
    """The act by its number; None before the first."""
    return next((act for act in (*ACTS, FINALE) if act.billing.number == number), None)


def notes_lines(act: Act) -> Iterator[str]:
    """An act's talking points, for a pipe."""
    yield f"{act.billing.title}: {act.billing.headline}"
    yield from (f"  • {point}" for point in act.billing.notes)


def notes_view(number: int) -> Group:
    """The talking points of the act that is being played, and what comes next."""
    act = act_of(number)
    if number == STARTING or act is None:
        return Group(Text("The demo starts; its first act follows."), _next(ACTS[0]))
    after = (*ACTS, FINALE)[ACTS.index(act) + 1] if act in ACTS else None
    return Group(
        Text(f"Now: {act.billing.title}", style="bold cyan"),
        Text(act.billing.headline, style="bold"),
        Text(),
        *(Padding(Text(f"• {point}"), (0, 0, 1, 2)) for point in act.billing.notes),
        *([] if after is None else [_next(after)]),
        Text("This follows the demo, and ends with it; Ctrl-C ends it now.", style="dim"),
    )


def _next(act: Act) -> Text:
    return Text(f"Next: {act.billing.title}", style="dim")
