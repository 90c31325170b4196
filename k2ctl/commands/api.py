"""`k2ctl api`: the query engine over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

_OPEN = "There is no key: every user of this machine can read the trades. To change that: --key-file FILE"


def api(
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where to listen.")] = 8700,
    flight_port: Annotated[
        int | None,
        typer.Option("--flight-port", min=0, max=65535, help="Of Arrow Flight SQL [default: the next after --port]."),
    ] = None,
    flight: Annotated[bool, typer.Option("--flight/--no-flight", help="SQL for JDBC, ADBC and BI tools.")] = True,
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
    """Serve queries over HTTP, with the tail of the stream kept in memory, and a live page at /; and SQL over Arrow
    Flight SQL, for JDBC, ADBC and BI tools.

    Listens on loopback; on another address only with a key, from --key-file or K2CTL_API_KEY, which clients send as
    "Authorization: Bearer KEY", over Flight SQL also as the password of any name. What HTTP offers is at /openapi.json.
    Ctrl-C ends it.

    Example:  k2ctl api --port 8700

    and then  curl "http://127.0.0.1:8700/v1/trades/recent?symbol=BHP&limit=3"
    """
    from k2ctl.api.settings import Keys, Limits, Settings
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home

    limits = Limits(per_address=per_address)
    wanted = (port + 1 if port else 0) if flight_port is None else flight_port
    settings = Settings(host, port, Keys.load(key_file), tuple(name or ()), limits, wanted if flight else None)
    settings.check()
    endpoints = require_endpoints(Home.of_user())

    from k2ctl.api.engine import WarmEngine
    from k2ctl.api.server import listen, serve
    from k2ctl.console import say
    from k2ctl.flight.server import serving_flight

    with listen(settings) as socket:
        shown = f"[{host}]" if ":" in host else host
        engine = WarmEngine(endpoints, settings.limits)
        try:
            with serving_flight(engine, settings) as served:
                say(f"k2ctl api on http://{shown}:{socket.getsockname()[1]}/  (Ctrl-C ends it)")
                if served.flight_port is not None:
                    say(f"SQL on grpc://{shown}:{served.flight_port}  (Arrow Flight SQL)")
                if not settings.keys:
                    say(_OPEN)
                serve(engine, served, socket)
        finally:
            engine.close()
