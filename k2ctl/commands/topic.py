"""`k2ctl topic`: what lies in Kafka, decoded."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from k2ctl import known_names
from k2ctl.errors import UsageError
from k2ctl.options import JsonOption, StackProfileOption

if TYPE_CHECKING:
    from k2ctl.feeds.look import StartAt


def topic(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="The topic.", show_default="a list of all", autocompletion=known_names.topics
        ),
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="How many of the newest records.")] = 10,
    start: Annotated[
        str, typer.Option("--from", metavar="PARTITION:OFFSET", help="From this record on.", show_default="the newest")
    ] = "",
    feed: Annotated[
        str,
        typer.Option(
            "--feed",
            metavar="NAME|PATH",
            help="What its records are.",
            show_default="as its consumer has recorded",
            autocompletion=known_names.feeds,
        ),
    ] = "",
    profile: StackProfileOption = "",
    as_json: JsonOption = False,
) -> None:
    """What lies in Kafka: all topics, or the newest records of one with the trades that they are, or why they are none.

    Nothing is sent or stored, and no consumer waits for it.

    Example:  k2ctl topic trades.raw --limit 3
    """
    from k2ctl.clock import SystemClock
    from k2ctl.console import out, print_json
    from k2ctl.endpoints import require_endpoints
    from k2ctl.feeds import look
    from k2ctl.feeds.check.target import decoder_for
    from k2ctl.home import Home
    from k2ctl.profiles import load_profile
    from k2ctl.profiles.feed import load_feed
    from k2ctl.views.topic import record_document, records_panel, topics_panel

    endpoints = require_endpoints(Home.of_user())
    feeds = look.known_feeds(endpoints, load_profile(profile or endpoints.profile))
    if not name:
        topics = look.summaries(endpoints, feeds)
        if as_json:
            print_json(topics)
        else:
            out().print(topics_panel(topics))
        return
    decoder = decoder_for(load_feed(feed)) if feed else look.decoder_known(feeds, name)
    records = look.look(endpoints, name, decoder, limit, _place(start), SystemClock().now_us())
    if as_json:
        print_json([record_document(record) for record in records])
    else:
        out().print(records_panel(name, records, decoded=decoder is not None))


def _place(text: str) -> "StartAt | None":
    from k2ctl.feeds.look import StartAt

    if not text:
        return None
    match = re.fullmatch(r"(\d{1,9}):(\d{1,18})", text)
    if match is None:
        raise UsageError(f"--from {text[:40]} is no place of a record.", "Write partition and offset: --from 0:1200")
    return StartAt(int(match[1]), int(match[2]))
