"""`k2ctl verify`: what was acknowledged is what is stored."""

from typing import Annotated

import typer

from k2ctl.options import JsonOption

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def verify(
    all_epochs: Annotated[
        bool, typer.Option("--all-epochs", help="Also what was sent to earlier Kafkas of this state directory.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Prove that the table and the tail hold exactly what Kafka acknowledged to k2ctl load; exit code 3 if not.

    Missing, duplicated, altered, out of order, deferred and dead-lettered trades are listed by symbol and sequence
    number. Trades of other producers are counted, and are no error.

    Example:  k2ctl verify
    """
    from dataclasses import asdict

    import orjson

    from k2ctl.checks.verify.verification import failed
    from k2ctl.checks.verify.verification import verify as hold_to_acknowledged_log
    from k2ctl.console import out, print_json
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.views.checks import verify_panel
    from k2ctl.views.stack import progress

    endpoints = require_endpoints(Home.of_user())
    with progress("k2ctl verify", quiet=as_json) as say:
        results = hold_to_acknowledged_log(endpoints, say, every_epoch=all_epochs)
    if as_json:
        for result in results:
            print_json(orjson.dumps({**asdict(result), "holds": result.holds}))
    else:
        out().print(verify_panel(results))
    error = failed(results)
    if error is not None:
        raise error
