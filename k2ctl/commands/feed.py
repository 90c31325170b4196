"""`k2ctl feed`: list, show."""

from typing import Annotated

import typer

from k2ctl.options import JsonOption, group

app = group(
    no_args_is_help=True,
    help="How foreign records and files become trades: a YAML file with an SQL expression per field.\n\n"
    "Example:  k2ctl feed list",
)


@app.command(name="list", short_help="The feeds that k2ctl ships.")
def list_feeds(as_json: JsonOption = False) -> None:
    """The feeds that k2ctl ships: what each reads, and how.

    Example:  k2ctl feed list
    """
    from k2ctl.console import out, print_json
    from k2ctl.profiles.feed import feed_names, load_feed
    from k2ctl.views.feed import feeds_panel, summary_of

    feeds = [load_feed(name) for name in feed_names()]
    if as_json:
        print_json([summary_of(declared) for declared in feeds])
    else:
        out().print(feeds_panel(feeds))


@app.command(short_help="The YAML of one feed.")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME|PATH", help="A shipped feed by name, or a YAML file.")],
    as_json: JsonOption = False,
) -> None:
    """One feed as it is written, to read or to begin one of your own with; --json: with what it leaves to defaults.

    Example:  k2ctl feed show binance-trades > my.yaml
    """
    from k2ctl.console import out, print_json
    from k2ctl.profiles.feed import load_feed
    from k2ctl.views.feed import document_of

    declared = load_feed(name)
    if as_json:
        print_json(document_of(declared))
    else:
        out().print(declared.text.rstrip("\n"), soft_wrap=True)
