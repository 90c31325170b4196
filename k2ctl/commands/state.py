"""`k2ctl state`: what the state store holds."""

from typing import Annotated

import typer

from k2ctl.options import JsonOption, ProfileOption

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def state() -> None:
    """The state store: sequence state per partition, which a consumer that takes over goes on from.

    Example:  k2ctl state stats
    """


@app.command(short_help="Symbols, bytes, fences and memory of the store.")
def stats(
    store: Annotated[
        str, typer.Option("--state", metavar="URL", help="The store, if it is not the stack's: redis://HOST:PORT/0")
    ] = "",
    profile: ProfileOption = "",
    as_json: JsonOption = False,
) -> None:
    """How many symbols the store holds in each partition, up to which commit, how much memory they take, how long for.

    Example:  k2ctl state stats --json
    """
    from dataclasses import asdict

    import orjson

    from k2ctl.console import out, print_json
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.profiles import load_profile, state_address
    from k2ctl.sequence.store_view import view_store
    from k2ctl.views.lake import store_panel

    endpoints = require_endpoints(Home.of_user())
    view = view_store(endpoints, load_profile(profile or endpoints.profile), state_address(store))
    if as_json:
        print_json(orjson.dumps(asdict(view)))
    else:
        out().print(store_panel(view))
