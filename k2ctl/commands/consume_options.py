"""The options of `k2ctl consume`."""

from typing import Annotated, Final

import typer

from k2ctl import known_names
from k2ctl.options import parse_count

LOOPBACK: Final = "127.0.0.1"

ForeignFeedOption = Annotated[
    str,
    typer.Option(
        "--feed",
        metavar="NAME|PATH",
        help="What the records of others are: see k2ctl feed.",
        show_default="the table's or the profile's, else SBE",
        autocompletion=known_names.feeds,
    ),
]
ForeignTopicOption = Annotated[
    str,
    typer.Option(
        "--topic",
        metavar="NAME|^REGEX",
        help="A topic of others, or several by a regular expression.",
        show_default="the feed's, else the profile's",
        autocompletion=known_names.topics,
    ),
]
UntilCaughtUpOption = Annotated[
    bool, typer.Option("--until-caught-up", help="End when everything that is there now is committed.")
]
RebaseOption = Annotated[
    bool,
    typer.Option("--rebase", help="Kafka was wiped on purpose: count what was unread as lost, and start over."),
]
BudgetOption = Annotated[
    int | None,
    typer.Option(
        parser=parse_count,
        metavar="COUNT",
        help="Process at most so many trades per second: pressure on purpose.",
        show_default="no limit",
    ),
]
StateOption = Annotated[
    str,
    typer.Option(
        "--state",
        metavar="memory|URL",
        help="Keep sequence state in memory, or in a Redis at redis://HOST:PORT/0; a password as "
        "${file:PATH} or ${env:NAME}.",
        show_default="the stack's",
    ),
]
MetricsPortOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65535,
        metavar="PORT",
        help="Serve Prometheus metrics on this port.",
        show_default="none are served",
    ),
]
MetricsAddressOption = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS", help="Where to serve them; on another address than loopback anyone there can read them."
    ),
]
GroupOption = Annotated[
    bool, typer.Option("--group", help="Divide the partitions with other consumers of the group, on any machine.")
]
NameOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="In a group: come back under this name, and to the same partitions.",
        show_default="a new one",
    ),
]
PatienceOption = Annotated[
    str,
    typer.Option(metavar="DURATION", help="At the start wait so long for a Kafka or a table that does not answer."),
]
GraceOption = Annotated[
    str,
    typer.Option(metavar="DURATION", help="At a stop, so long to commit what was read; the rest is read again."),
]
DetachOption = Annotated[bool, typer.Option("--detach", help="Run in the background, in a group.")]
ReplicasOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="With --detach: start so many more, at most one for each partition.")
]
