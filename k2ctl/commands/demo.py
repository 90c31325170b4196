"""`k2ctl demo`: the platform's promise, live."""

from dataclasses import asdict
from typing import Annotated

import typer

from k2ctl.errors import CheckFailed
from k2ctl.options import JsonOption, ProfileOption

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def demo(
    quick: Annotated[bool, typer.Option("--quick", help="The same story in under a minute.")] = False,
    profile: ProfileOption = "laptop",
    as_json: JsonOption = False,
) -> None:
    """Load, consume, query, kill -9, restart, reconcile; in a stack of its own that is gone afterwards.

    K2 serves analytics, research and compliance (answers within half a second), not execution or in-memory risk.

    Example:  k2ctl demo --quick
    """
    import orjson

    from k2ctl.console import err, out, print_json
    from k2ctl.demo.story import FULL, QUICK, tell
    from k2ctl.panels.demo import Screen, verdict
    from k2ctl.profiles import load_profile

    with Screen(err() if as_json else out()) as screen:
        told = tell(load_profile(profile), QUICK if quick else FULL, screen)
    if as_json:
        print_json(orjson.dumps({"held": told.held, **asdict(told)}))
    else:
        out().print(verdict(told))
    if not told.held:
        raise CheckFailed("The demo's figures do not add up.", "See which check failed above, and: k2ctl demo --quick")
