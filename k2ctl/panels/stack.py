"""What `k2ctl stack` shows."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from k2ctl.console import err
from k2ctl.home import Endpoints
from k2ctl.panels.style import seconds, size
from k2ctl.stack.lifecycle import ServiceStatus, Up


@contextmanager
def progress(title: str, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Yields `say(what)`: a line with the elapsed time, in place on a terminal, one after the other elsewhere."""
    started_s = time.monotonic()
    if quiet:
        yield lambda _: None
    elif err().is_terminal:
        with err().status(title) as spinner:
            yield lambda what: spinner.update(f"{title}: {what} …")
    else:
        yield lambda what: err().print(f"{seconds(time.monotonic() - started_s)}  {what}", markup=False)


def up_panel(result: Up) -> RenderableType:
    """The endpoints, and what to type next."""
    endpoints = result.endpoints.shown()
    if result.already_running:
        title = f"The {endpoints.engine} stack runs already."
    else:
        again = " again; the one before had died" if result.repaired else ""
        title = f"The {endpoints.engine} stack is up{again}, after {seconds(result.seconds)}."
    table = Table.grid(padding=(0, 2))
    table.add_row(Text(title, style="bold green"))
    for name, value in (
        ("Kafka", endpoints.bootstrap_servers),
        ("catalog", endpoints.catalog_uri),
        ("warehouse", endpoints.warehouse),
        ("state", endpoints.state_url),
    ):
        table.add_row(Text.assemble((f"  {name:<10}", "dim"), value, overflow="fold"))
    if endpoints.engine == "embedded":
        table.add_row(Text("  This Kafka is for trying and testing: 5 MiB per partition, in memory.", style="dim"))
    table.add_row(Text("Next:  k2ctl load --rate 10k --duration 30   and   k2ctl consume"))
    return table


def status_table(endpoints: Endpoints, services: list[ServiceStatus]) -> Table:
    """One row per service."""
    table = Table(title=f"{endpoints.engine} stack, profile {endpoints.profile}", title_justify="left", box=None)
    for column in ("service", "state", "health", "endpoint", "pid", "uptime", "memory"):
        table.add_column(column, overflow="fold")
    for service in services:
        table.add_row(
            service.service,
            service.state,
            Text(service.health, style="green" if service.health == "healthy" else "red"),
            service.endpoint,
            str(service.pid or ""),
            "" if service.uptime_s is None else seconds(service.uptime_s),
            "" if service.memory_bytes is None else size(service.memory_bytes),
        )
    return table
