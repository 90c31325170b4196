"""`k2ctl topic`: what lies in Kafka, decoded."""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from k2ctl import known_names
from k2ctl.errors import UsageError
from k2ctl.options import JsonOption, StackProfileOption, group

if TYPE_CHECKING:
    from k2ctl.endpoints import Endpoints
    from k2ctl.feeds.look.records import SeenRecord, StartAt
    from k2ctl.feeds.records import Decoder
    from k2ctl.feeds.topics import TopicFeeds

Raw = Literal["text", "hex"]
TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC", help="The topic.", autocompletion=known_names.topics)]
TopicFeedOption = Annotated[
    str,
    typer.Option(
        "--feed",
        metavar="NAME|PATH",
        help="What its records are.",
        show_default="as its consumer has recorded",
        autocompletion=known_names.feeds,
    ),
]
_PLACES = "Write a partition and an offset, a time, or `start`: --from 0:1200, --from 2026-11-30T10:00, --from start"

app = group(
    no_args_is_help=True,
    help="What lies in Kafka, decoded. Nothing is sent or stored, and no consumer waits for it.\n\n"
    "Dead letters: k2ctl dead-letters list\n\nExample:  k2ctl topic tail market.equities.trades.asx -n 3",
)


@app.command(name="list", short_help="All topics: partitions, records, and what they are.")
def list_topics(profile: StackProfileOption = "", as_json: JsonOption = False) -> None:
    """All topics, with what their records are.

    Example:  k2ctl topic list
    """
    from k2ctl.console import out, print_json
    from k2ctl.feeds.look.known import summaries
    from k2ctl.views.topic import topics_panel

    topics = summaries(*_known(profile))
    if as_json:
        print_json(topics)
    else:
        out().print(topics_panel(topics))


@app.command(short_help="One: partitions, offsets, settings, and who reads it.")
def describe(topic: TopicArgument, profile: StackProfileOption = "", as_json: JsonOption = False) -> None:
    """One topic: where each partition begins and ends, its copies, settings, and who reads it and how far: the table,
    by its own offsets, and Kafka's groups. The embedded engine knows no settings, and of groups only that of K2.

    Example:  k2ctl topic describe market.equities.trades.asx
    """
    from dataclasses import asdict

    from k2ctl.clock import SystemClock
    from k2ctl.console import out, print_json
    from k2ctl.feeds.look.described import describe as described
    from k2ctl.views.topic_description import description_panel

    found = described(*_known(profile), topic)
    if as_json:
        print_json(asdict(found))
    else:
        out().print(description_panel(found, SystemClock().now_us()))


@app.command(short_help="Its newest records with the trades that they are; --follow.")
def tail(
    topic: TopicArgument,
    number: Annotated[int, typer.Option("--number", "-n", min=0, max=10_000, metavar="N", help="How many.")] = 10,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on with those that come.")] = False,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PARTITION:OFFSET|TIME|start",
            help="From here on.",
            show_default="the newest",
            autocompletion=known_names.places,
        ),
    ] = "",
    feed: TopicFeedOption = "",
    raw: Annotated[
        Raw | None, typer.Option("--raw", help="Their bytes, not what they are.", show_default="decoded")
    ] = None,
    profile: StackProfileOption = "",
    as_json: JsonOption = False,
) -> None:
    """The newest records of a topic with the trades that they are, or why they are none; with --from the first ones
    from a place or a time on. --follow goes on until Ctrl-C, with --json one record a line; on a terminal the space bar
    pauses, and q ends.

    Examples:

    k2ctl topic tail market.equities.trades.asx -n 3

    k2ctl topic tail market.equities.trades.asx --from 0:1200 --raw hex

    k2ctl topic tail market.equities.trades.asx -f -n 0 --json
    """
    from k2ctl.clock import SystemClock
    from k2ctl.console import out, print_json
    from k2ctl.feeds.look.records import follow, look
    from k2ctl.views.topic import record_document, records_panel

    place = _place(start)
    endpoints, feeds = _known(profile)
    decoder = None if raw else _decoder(feeds, topic, feed)
    asked = (endpoints, topic, decoder, number, place, SystemClock().now_us())
    if following:
        _follow(follow(*asked), raw, decoded=decoder is not None, as_json=as_json)
        return
    records = look(*asked) if number else []
    if as_json:
        print_json([record_document(record, raw) for record in records])
    else:
        out().print(records_panel(topic, records, decoded=decoder is not None, raw=raw))


@app.command(short_help="Records and trades by partition: all of it is read.")
def count(
    topic: TopicArgument,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="From this time in Kafka on.", show_default="the beginning")
    ] = "",
    feed: TopicFeedOption = "",
    profile: StackProfileOption = "",
    as_json: JsonOption = False,
) -> None:
    """How many records, trades and bytes are in a topic, by partition. All of it is read.

    Example:  k2ctl topic count market.equities.trades.asx
    """
    from dataclasses import asdict

    from k2ctl.commands.answers import time_of
    from k2ctl.console import out, print_json
    from k2ctl.feeds.look.counted import count as counted
    from k2ctl.views.stack import progress
    from k2ctl.views.topic_description import count_panel, counted_so_far

    since_us = time_of(since) if since else None
    endpoints, feeds = _known(profile)
    decoder = _decoder(feeds, topic, feed)
    with progress("k2ctl topic count") as say:
        found = counted(endpoints, topic, decoder, since_us, lambda by_now, total: say(counted_so_far(by_now, total)))
    if as_json:
        print_json(asdict(found))
    else:
        out().print(count_panel(found))


def _known(profile: str) -> "tuple[Endpoints, TopicFeeds]":
    """The running stack, and what is known of its topics."""
    from k2ctl.endpoints import require_endpoints
    from k2ctl.feeds.look.known import known_feeds
    from k2ctl.home import Home
    from k2ctl.profiles import load_profile

    endpoints = require_endpoints(Home.of_user())
    return endpoints, known_feeds(endpoints, load_profile(profile or endpoints.profile))


def _decoder(feeds: "TopicFeeds", topic: str, feed: str) -> "Decoder | None":
    """How the records are read: as is said, else as is known."""
    from k2ctl.feeds.check.target import decoder_for
    from k2ctl.feeds.look.known import decoder_known
    from k2ctl.profiles.feed import load_feed

    return decoder_for(load_feed(feed)) if feed else decoder_known(feeds, topic)


def _follow(records: "Iterator[list[SeenRecord]]", raw: Raw | None, *, decoded: bool, as_json: bool) -> None:
    """Until q or Ctrl-C, which is how it ends."""
    from k2ctl.commands.paused import as_they_come
    from k2ctl.console import out, print_json
    from k2ctl.views.topic import record_document, record_panel

    with suppress(KeyboardInterrupt):
        for part in as_they_come(records, "record"):
            for record in part:
                if as_json:
                    print_json(record_document(record, raw))
                else:
                    out().print(record_panel(record, decoded=decoded, raw=raw))


def _place(text: str) -> "StartAt | None":
    from k2ctl.commands.answers import time_of
    from k2ctl.feeds.look.records import StartAt

    if not text:
        return None
    if text in ("start", "beginning", "earliest"):
        return StartAt()
    match = re.fullmatch(r"(\d{1,9}):(\d{1,18})", text)
    if match is not None:
        return StartAt(int(match[1]), int(match[2]))
    try:
        return StartAt(at_us=time_of(text))
    except UsageError as error:
        raise UsageError(f"--from {text[:40]} is no place of a record.", _PLACES) from error
