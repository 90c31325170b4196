"""What `k2ctl stack` shows."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from k2ctl.clock import Clock
from k2ctl.console import err
from k2ctl.endpoints import Endpoints, without_password
from k2ctl.stack.engine import FINISHED, Board, Event, Phase, Row, ServiceStatus, Up, note
from k2ctl.timing import Every
from k2ctl.views.forms import Widest
from k2ctl.views.live import LINE_EVERY_S, MAX_HZ
from k2ctl.views.style import Cell, bar, facts, listing, seconds, size

BAR_WIDTH: Final = 10
CLOCK_HZ: Final = 1
_SIGNS: Final = {
    Phase.WAITING: ("·", "dim"),
    Phase.HEALTHY: ("✓", "green"),
    Phase.RUNNING: ("✓", "green"),
    Phase.DONE: ("✓", "green"),
    Phase.REMOVED: ("✓", "green"),
    Phase.FAILED: ("✗", "bold red"),
}
_NUMBERS: Final = re.compile(r"[0-9][0-9.,]*%?")
_ON_ITS_WAY: Final = ("●", "yellow")


@contextmanager
def progress(title: str, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Yields `say(what)`: a line with the elapsed time, in place on a terminal, one after the other elsewhere."""
    with service_progress(title, quiet=quiet) as report:
        yield lambda what: report(note(what))


@contextmanager
def service_progress(title: str, *, quiet: bool = False) -> Iterator[Callable[[Event], None]]:
    """Yields `report(event)`: one live row per service on a terminal, a line per change of phase elsewhere."""
    started_s, frames, steps = time.monotonic(), Every(1 / MAX_HZ), StepLines()
    board = Board(title)
    if quiet:
        yield lambda _: None
        return
    if not err().is_terminal:

        def print_line(event: Event) -> None:
            nonlocal board
            before = board
            board = board.after(event, time.monotonic() - started_s)
            line = changed_line(before, event, board.elapsed_s)
            if line and (event.phase is not Phase.NOTE or steps.wants(event.detail)):
                err().print(line, soft_wrap=True)

        yield print_line
        return
    try:
        # By itself as well, for the clock: between two events a minute can pass.
        with Live(
            console=err(), get_renderable=lambda: board_panel(board.at(time.monotonic() - started_s)),
            refresh_per_second=CLOCK_HZ, transient=True,
        ) as view:  # fmt: skip

            def draw(event: Event) -> None:
                nonlocal board
                board = board.after(event, time.monotonic() - started_s)
                if frames.due():
                    view.refresh()

            yield draw
    except BaseException:
        # The live view is gone by now; how far each service came stays above the error.
        if board.rows:
            err().print(board_panel(board))
        raise


def board_panel(board: Board) -> RenderableType:
    """One row per service: sign, name, phase, what it is at, seconds; no wider than the terminal."""
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, min_width=7)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True, min_width=6)
    for service, row in board.rows.items():
        sign, style = _SIGNS.get(row.event.phase, _ON_ITS_WAY)
        table.add_row(
            Text(sign, style=style), service, Text(row.event.phase, style=style), _detail(row), _clock(row, board)
        )
    title = Text.assemble((board.title, "bold"), ("  " + seconds(board.elapsed_s), "dim"), ("  " + board.note, "dim"))
    return Group(title, table)


def _detail(row: Row) -> Text:
    if row.event.share is None:
        return Text(row.event.detail, style="dim")
    return Text.assemble(bar(row.event.share, BAR_WIDTH), f" {row.event.share:4.0%}  ", (row.event.detail, "dim"))


def _clock(row: Row, board: Board) -> Text:
    if row.event.phase is Phase.WAITING:
        return Text("")
    until_s = row.last_s if row.event.phase in FINISHED else board.elapsed_s
    return Text(seconds(until_s - row.first_s), style="dim")


class StepLines:
    """Which notes a pipe gets: each step at once; where only its numbers have changed, a line a second."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._step = ""
        self._every = Every(LINE_EVERY_S, clock)

    def wants(self, text: str) -> bool:
        """Whether to print it."""
        step = _NUMBERS.sub("", text)
        if step == self._step:
            return self._every.due()
        self._step = step
        self._every.restart()
        return True


def changed_line(before: Board, event: Event, elapsed_s: float) -> str:
    """The line that a pipe gets for an event; empty when it brings nothing new."""
    if event.phase is Phase.NOTE:
        return "" if before.note == event.detail else f"{seconds(elapsed_s)}  {event.detail}"
    known = before.rows.get(event.service)
    if event.phase is Phase.WAITING or (known is not None and known.event.phase is event.phase):
        return ""
    detail = f"  {event.detail}" if event.detail else ""
    return f"{seconds(elapsed_s)}  {event.service}  {event.phase}{detail}"


def up_panel(result: Up) -> RenderableType:
    """The endpoints, and what to type next."""
    endpoints = result.endpoints.shown()
    if endpoints.engine == "external":
        same = ", as before" if result.already_running else ""
        did = f"works{same}, after {seconds(result.seconds)}" if result.tried else f"is written down{same}, and untried"
        title = f"Every service of the external platform {did}; nothing was started."
    elif result.already_running:
        title = f"The {endpoints.engine} stack runs already; nothing changed, {seconds(result.seconds)}."
    elif result.repaired and endpoints.engine == "docker":
        title = f"The docker stack is up after {seconds(result.seconds)}; changed: {', '.join(result.changed)}."
    else:
        again = " again; the one before had died" if result.repaired else ""
        title = f"The {endpoints.engine} stack is up{again}, after {seconds(result.seconds)}."
    addresses = (
        ("Kafka", endpoints.bootstrap_servers),
        ("as", endpoints.kafka.get("security.protocol", "")),
        ("catalog", endpoints.catalog_uri),
        ("warehouse", endpoints.warehouse),
        ("objects", endpoints.storage.get("s3.endpoint", "")),
        ("state", endpoints.state_url),
    )
    rows: list[tuple[str, Cell]] = [(name, value) for name, value in addresses if value]
    for service, url in result.web.items():
        name, page, how = _WEB.get(service, (service, "", ""))
        rows += [(name, f"{url}{page}"), *([("", Text(how.format(result.secrets), style="dim"))] if how else [])]
    if result.left_out:
        again = f"k2ctl stack up --engine docker --service {result.left_out[0]}"
        rows.append(("left out", Text(f"{', '.join(result.left_out)}; it comes back with", style="dim")))
        rows.append(("", Text(again, style="dim")))
    notes = [
        *(["This Kafka is for trying and testing: 5 MiB per partition, in memory."] * (endpoints.engine == "embedded")),
        *([_OPEN[endpoints.engine]] if endpoints.engine in _OPEN else []),
    ]
    return Group(
        Text(title, style="bold green"),
        Padding(facts(rows), (0, 0, 0, 2)),
        *(Padding(Text(note, style="dim"), (0, 0, 0, 2)) for note in notes),
        Text("Next:  k2ctl load --rate 10k --duration 30   and   k2ctl consume"),
    )


_OPEN: Final = {
    "embedded": "Every user of this machine can read and write this Kafka, at its port; nothing else is open to them.",
    "local": "Every user of this machine can read and write this Kafka, at its ports; nothing else is open to them.",
    "docker": "Every user of this machine can read and write this Kafka and read Prometheus; the rest has passwords.",
}
"""engine → what others on this machine can reach; from elsewhere nothing can be reached."""


_WEB: Final = {
    "prometheus": ("Prometheus", "", ""),
    "grafana": ("Grafana", "/d/k2-degradation", "user admin, password in {}/grafana_password"),
    "api": ("API", "", "key in {}/api_key"),
}
"""service → name, page, how to get in; the folder of the secrets is filled in."""


def status_table(endpoints: Endpoints | None, services: list[ServiceStatus]) -> RenderableType:
    """One row per service; where it is narrow, the endpoints below."""
    title = f"{endpoints.engine} stack, profile {endpoints.profile}" if endpoints else "a stack that is not ready"
    columns: list[tuple[str, Callable[[ServiceStatus], Cell]]] = [
        ("=service", lambda service: service.service),
        ("=state", lambda service: service.state),
        ("health", lambda service: Text(service.health, style="green" if service.fine else "red")),
        (">pid", lambda service: str(service.pid or "")),
        (">uptime", lambda service: "" if service.uptime_s is None else seconds(service.uptime_s)),
        (">CPU", lambda service: "" if service.cpu_share is None else f"{service.cpu_share:.0%}"),
        (">memory", lambda service: "" if service.memory_bytes is None else size(service.memory_bytes)),
    ]
    addresses = [(service.service, without_password(service.endpoint)) for service in services]
    return Group(
        Text(title, style="italic"),
        Widest(
            listing(services, *columns, ("endpoint", lambda service: without_password(service.endpoint))),
            Group(listing(services, *columns), Text(), Text("endpoint", style="bold"), facts(addresses)),
        ),
    )
