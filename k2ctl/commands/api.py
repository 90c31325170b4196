"""`k2ctl api`: the query engine over HTTP."""

from pathlib import Path
from typing import Annotated

import typer


def api(
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where to listen.")] = 8700,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file", metavar="FILE", help="Keys, one a line; mode 0600.", show_default="K2CTL_API_KEY, else no key"
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="A further Host name of this service.", show_default="none"),
    ] = None,
    per_address: Annotated[
        int,
        typer.Option(
            "--per-address", min=1, max=200, help="Requests at once of one client's address; behind a proxy: 200."
        ),
    ] = 50,
) -> None:
    """Serve queries over HTTP, with the tail of the stream kept in memory, and a live page at /.

    Listens on loopback; on another address only with a key, from --key-file or K2CTL_API_KEY, which clients send as
    "Authorization: Bearer KEY". What it offers is at /openapi.json. Ctrl-C ends it.

    Example:  k2ctl api --port 8700

    and then  curl "http://127.0.0.1:8700/v1/trades/recent?symbol=BHP&limit=3"
    """
    from k2ctl.api.settings import Keys, Limits, Settings
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home

    limits = Limits(per_address=per_address)
    settings = Settings(host, port, Keys.load(key_file), tuple(name or ()), limits)
    settings.check()
    endpoints = require_endpoints(Home.of_user())

    from k2ctl.api.engine import WarmEngine
    from k2ctl.api.server import listen, serve
    from k2ctl.console import say

    with listen(settings) as socket:
        shown = f"[{host}]" if ":" in host else host
        engine = WarmEngine(endpoints, settings.limits)
        say(f"k2ctl api on http://{shown}:{socket.getsockname()[1]}/  (Ctrl-C ends it)")
        if not settings.keys:
            say("There is no key: every user of this machine can read the trades. To change that: --key-file FILE")
        try:
            serve(engine, settings, socket)
        finally:
            engine.close()
