"""`k2ctl dead-letters`: list, show, retry."""

import fcntl
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from k2ctl import known_names
from k2ctl.errors import UsageError
from k2ctl.options import JsonOption, YesOption, confirm, group, parse_span

if TYPE_CHECKING:
    from k2ctl.kafka.dead_letters import StoredDeadLetters

app = group(
    no_args_is_help=True,
    help="Records that could not become trades: inspect them, send them again.\n\nExample:  k2ctl dead-letters list",
)

TopicOption = Annotated[
    str,
    typer.Option(
        "--topic",
        metavar="NAME",
        help="Of this topic of trades.",
        show_default="all topics",
        autocompletion=known_names.topics,
    ),
]
ReasonOption = Annotated[
    str,
    typer.Option("--reason", metavar="TEXT", help="Only those whose reason or cause holds this.", show_default="all"),
]
SinceOption = Annotated[
    float | None,
    typer.Option(
        "--since",
        parser=parse_span,
        metavar="TIME",
        help="Of the last 15m, 2h, 1d.",
        show_default="all that Kafka holds",
    ),
]


@app.command(name="list", short_help="How many there are, by topic and cause, and the newest.")
def list_dead_letters(
    topic: TopicOption = "",
    reason: ReasonOption = "",
    since: SinceOption = None,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="How many of the newest to list.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Dead letters: how many by topic and cause (the field and its limit), and the newest of them with their places.

    Example:  k2ctl dead-letters list --since 1h
    """

    from k2ctl.console import out, print_json
    from k2ctl.views.dead_letters import counts_of, dead_letters_panel, document_of

    dead_letters = _chosen(topic, reason, since)
    newest = sorted(dead_letters.found, key=lambda dead_letter: dead_letter.at_ms, reverse=True)[:limit]
    if as_json:
        documents = {
            "dead_letters": len(dead_letters.found),
            "not_read": dead_letters.not_read,
            "counts": counts_of(dead_letters.found),
        }
        print_json({**documents, "newest": [document_of(dead_letter) for dead_letter in newest]})
    else:
        out().print(dead_letters_panel(dead_letters, newest))


@app.command(short_help="One of them: reason, identity, and the bytes that came.")
def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="As `list` gives it.")],
    topic: TopicOption = "",
    as_json: JsonOption = False,
) -> None:
    """One dead letter: why, which record it was, the bytes that came and, where they decode, the trades in them.

    Example:  k2ctl dead-letters show 0:17
    """

    from k2ctl.console import out, print_json
    from k2ctl.views.dead_letters import dead_letter_panel, document_of

    found = [dead_letter for dead_letter in _chosen(topic, "", None).found if dead_letter.place == place]
    if not found:
        raise UsageError(f"There is no dead letter at {place}.", "Their places: k2ctl dead-letters list")
    if len(found) > 1:
        raise UsageError(f"Several topics have one at {place}.", f"Say which: --topic {found[0].topic}")
    if as_json:
        print_json(document_of(found[0], whole=True))
    else:
        out().print(dead_letter_panel(found[0]), soft_wrap=True)


@app.command(short_help="Send them again to where they came from, each once.")
def retry(
    topic: TopicOption = "",
    reason: ReasonOption = "",
    since: SinceOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters, as they came, to the topic that they came from: once the cause is gone, they are stored.

    Each is sent once, however often this runs: what was sent is written down in Kafka. What still cannot become a
    trade is a dead letter again, of its own.

    Example:  k2ctl dead-letters retry --reason "ahead of the clock" --dry-run
    """

    from k2ctl.console import print_json, say
    from k2ctl.domain.reasons import cause_of
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.kafka import dead_letters as in_kafka

    with (Home.of_user().path / "retry.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # when two run at once, the second finds what the first has sent
        dead_letters = _chosen(topic, reason, since).found
        ready = [dead_letter for dead_letter in dead_letters if not dead_letter.retried and not dead_letter.cut]
        document: dict[str, Any] = {
            "sent": 0 if dry_run else len(ready),
            "to_send": len(ready) if dry_run else 0,
            "sent_before": sum(dead_letter.retried for dead_letter in dead_letters),
            "cut": sum(dead_letter.cut and not dead_letter.retried for dead_letter in dead_letters),
            "by_cause": dict(Counter(cause_of(dead_letter.reason) for dead_letter in ready)),
        }
        if ready and not dry_run:
            topics = ", ".join(sorted({dead_letter.topic for dead_letter in ready}))
            hint = "See which: --dry-run; say that it is meant: --yes"
            unasked = UsageError(f"{len(ready):,} records would be sent.", hint)
            confirm(f"Send {len(ready):,} records to {topics} again?", unasked, "Nothing was sent.", yes=yes)
            in_kafka.retry(require_endpoints(Home.of_user()), ready)
    if as_json:
        print_json(document)
        return
    for cause, number in document["by_cause"].items():
        say(f"{number:,}: {cause}")
    say(f"{len(ready):,} {'would be' if dry_run else 'were'} sent again; {document['sent_before']:,} had been before.")
    if document["cut"]:
        say(f"{document['cut']:,} are too large for Kafka as dead letters and were cut: ask their producer for them.")
    if ready and not dry_run:
        say("What becomes of them: k2ctl watch --once; then: k2ctl dead-letters list --since 5m")


def _chosen(topic: str, reason: str, since_s: float | None) -> "StoredDeadLetters":
    from k2ctl.domain.reasons import cause_of
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.kafka.dead_letters import read_dead_letters

    dead_letters = read_dead_letters(require_endpoints(Home.of_user()), topic)
    earliest_ms = 0 if since_s is None else (time.time() - since_s) * 1000
    found = [
        one
        for one in dead_letters.found
        if (reason in one.reason or reason in cause_of(one.reason)) and one.at_ms >= earliest_ms
    ]
    return replace(dead_letters, found=tuple(found))
