"""`k2ctl feed`: list, show, guess, check."""

from typing import Annotated

import typer

from k2ctl import known_names
from k2ctl.errors import ExitCode
from k2ctl.options import ColumnOption, JsonOption, columns_said, group, parse_count

app = group(
    no_args_is_help=True,
    help="How foreign records and files become trades: a YAML file with an SQL expression per field.\n\n"
    "Example:  k2ctl feed list",
)

TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE|TOPIC",
        help="A file, folder, glob or s3:// prefix, or a topic of the stack.",
        autocompletion=known_names.topics,
    ),
]
RecordsOption = Annotated[
    int, typer.Option("--records", parser=parse_count, metavar="COUNT", help="How many to look at.")
]


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
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|PATH", help="A shipped feed by name, or a YAML file.", autocompletion=known_names.feeds
        ),
    ],
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


@app.command(short_help="The YAML of a feed for a file or topic, concluded from a sample.")
def guess(
    target: TargetArgument,
    records: RecordsOption = 2_000,
    column: ColumnOption = None,
    registry: Annotated[
        str,
        typer.Option(
            "--registry",
            metavar="URL",
            help="Of the schemas of a topic of Avro or Protobuf.",
            show_default="the profile's",
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Look at a sample of a file or topic and write the feed that it may be: YAML, its conclusions with a comment.

    Where a shipped feed fits, it is that one. Otherwise columns become fields by their usual names and by their values.
    Read every line of it; then see what it makes of the sample: k2ctl feed check.

    Example:  k2ctl feed guess BTCUSDT-trades-2025-01-01.csv > my.yaml
    """
    from k2ctl.console import out, print_json, say
    from k2ctl.feeds.guess.guess import guess as guessed_of

    guessed = guessed_of(target, records, dict(columns_said(column)), registry)
    if as_json:
        print_json(guessed.document())
        return
    out().print(guessed.text.rstrip(), soft_wrap=True)
    for question in guessed.open:
        say(f"To be said by you: {question}.")
    say(f"What it makes of the sample: k2ctl feed check {target} --feed my.yaml")


@app.command(short_help="What a feed makes of a file or topic; nothing is sent or stored.")
def check(
    target: TargetArgument,
    feed: Annotated[
        str,
        typer.Option(
            "--feed",
            metavar="NAME|PATH",
            help="A shipped feed by name, or a YAML file.",
            autocompletion=known_names.feeds,
        ),
    ],
    records: RecordsOption = 100_000,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="How many of the first trades to show.")] = 5,
    column: ColumnOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a feed makes of the first lines of a file, or of the newest records of a topic. Nothing is sent or stored.

    The first trades beside what they are of; what fails, by reason, with an example of each; what ids and numbers are
    like; the rate. Exit code 3 if something fails, or nothing is a trade.

    Example:  k2ctl feed check trades.raw --feed my.yaml
    """
    from k2ctl.console import out, print_json
    from k2ctl.feeds.check.target import check as checked_of
    from k2ctl.profiles.feed import load_feed
    from k2ctl.views.feed import check_document, check_panel

    checked = checked_of(load_feed(feed), target, records, limit, dict(columns_said(column)))
    if as_json:
        print_json(check_document(checked))
    else:
        out().print(check_panel(checked))
    if not checked.passes:
        raise typer.Exit(ExitCode.UNHEALTHY)
