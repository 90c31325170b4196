"""`k2ctl lake`: the table's status, compaction, expiry, and ways on from what happened to it, which ask first."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from k2ctl.errors import UsageError
from k2ctl.options import (
    LOCAL_MASTER,
    ConfOption,
    JsonOption,
    MasterOption,
    YesOption,
    at_most_one,
    confirm,
    group,
    parse_count,
    parse_span,
)

if TYPE_CHECKING:
    from k2ctl.endpoints import Endpoints
    from k2ctl.lake.catalog import Lake

app = group(no_args_is_help=True)


@app.callback()
def lake() -> None:
    """State of the table; compaction and expiry. A running consumer does both by itself.

    Example:  k2ctl lake status
    """


@contextmanager
def opened(endpoints: "Endpoints", *, trusting: bool = False) -> Iterator["Lake"]:
    """The lake of the stack; a catalog or a warehouse that fails on the way is one clear line."""
    from k2ctl.lake.catalog import Lake

    with Lake.at(endpoints, trusting=trusting) as found, found.answering():
        yield found


@app.command(short_help="Snapshots, files, rows and offsets of the table.")
def status(as_json: JsonOption = False) -> None:
    """Snapshots, files, rows, hours, how far each partition is read, and whether the counts balance.

    Example:  k2ctl lake status --json
    """
    from k2ctl.clock import SystemClock
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.kafka.lease import lease_of
    from k2ctl.lake.maintenance.status import status_of

    endpoints = require_endpoints(Home.of_user())
    with opened(endpoints) as found:
        status = status_of(found, SystemClock(), lease_of(endpoints))
    if as_json:
        from k2ctl.console import print_json

        print_json(status)
        return
    from k2ctl.console import out
    from k2ctl.views.lake import status_panel

    out().print(status_panel(status))


@app.command(short_help="Merge small files into sorted ones.")
def compact(
    hour: Annotated[
        str | None,
        typer.Option(
            "--hour", metavar="HOUR", help="Only this hour, as one file.", show_default="all hours that need it"
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every hour, each as one file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Merge the small files of hours that have many, or that are finished, into sorted ones. Readers see no change.

    Example:  k2ctl lake compact --hour 2014-03-10T05
    """
    from k2ctl.lake.live_files import parse_hour

    at_most_one({"--hour": hour, "--all": every})
    wanted = parse_hour(hour) if hour else None

    from k2ctl.clock import SystemClock
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.kafka.lease import lease_of
    from k2ctl.lake.live_files import due
    from k2ctl.lake.maintenance.maintainer import compact_now, whole_hours
    from k2ctl.profiles import load_profile

    endpoints, clock = require_endpoints(Home.of_user()), SystemClock()
    after_files = load_profile(endpoints.profile).lake.compact_after_files
    with opened(endpoints) as found:
        done = compact_now(
            found,
            clock,
            lambda files: (
                whole_hours(files, wanted)
                if every or wanted is not None
                else due(files, after_files, clock.now_us() // 1000)
            ),
            lease_of(endpoints),
        )
    if as_json:
        from k2ctl.console import print_json

        print_json(done)
        return
    from k2ctl.console import out, say
    from k2ctl.views.lake import compaction_table

    if done:
        out().print(compaction_table(done))
    elif every or wanted is not None:
        say("Nothing to compact: what was asked for is one file already.")
    else:
        say("Nothing to compact: no hour has files that are worth merging. To merge them all: k2ctl lake compact --all")


@app.command(short_help="Drop old snapshots and unreachable files.")
def expire(
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="DURATION",
            help="Delete unreachable files of this age: 1h, 3d.",
            show_default="the profile's",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which files would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Drop old snapshots by the profile's rule, and delete files that no snapshot leads to any more.

    Files younger than an hour (`lake.orphans_after_s`) stay: a writer or a query may be about to use them.

    Example:  k2ctl lake expire --dry-run
    """
    from k2ctl.clock import SystemClock
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.lake.commit import SnapshotRetention
    from k2ctl.lake.maintenance.maintainer import expire as expire_snapshots
    from k2ctl.lake.maintenance.orphans import remove_orphans
    from k2ctl.profiles import load_profile

    endpoints, clock = require_endpoints(Home.of_user()), SystemClock()
    profile = load_profile(endpoints.profile).lake
    age_s = profile.orphans_after_s if older_than is None else parse_span(older_than)
    with opened(endpoints) as found:
        retention = SnapshotRetention.from_profile(profile.expire)
        if dry_run:
            expired = len(retention.expired(found.table().metadata, clock.now_us() // 1000))
        else:
            expired = expire_snapshots(found, retention, clock)
        removed = remove_orphans(found, age_s, clock, dry_run=dry_run)
    from k2ctl.console import out, print_json
    from k2ctl.views.lake import expiry_text

    if as_json:
        print_json({"snapshots_expired": expired, "orphans_removed": removed})
    else:
        out().print(expiry_text(expired, removed, age_s))


@app.command(short_help="Rewrite closed hours, expire and clean up, on a Spark cluster.")
def maintain(
    engine: Annotated[Literal["spark"], typer.Option("--engine", help="Who does it.")] = "spark",
    master: MasterOption = LOCAL_MASTER,
    conf: ConfOption = None,
    at_once: Annotated[
        str, typer.Option("--at-once", metavar="N", help="Hours rewritten and committed together.")
    ] = "4",
    orphans_after: Annotated[
        str, typer.Option("--orphans-after", metavar="DURATION", help="Delete unreachable files of this age.")
    ] = "3d",
    as_json: JsonOption = False,
) -> None:
    """Rewrite hours that ended two hours ago or earlier as large sorted files, on a Spark cluster, beside consumers.

    It also drops old snapshots by the profile's rule, deletes unreachable files of three days or more, and rewrites
    manifests.

    Needs Java 17 and: pip install 'k2ctl[spark]'. Other programs' maintenance waits meanwhile. Ctrl-C cancels it; what
    is committed stays.

    Example:  k2ctl lake maintain --engine spark --master spark://HOST:7077 --conf spark.executor.memory=4g
    """
    hours, age_s = parse_count(at_once), parse_span(orphans_after)
    if hours < 1:
        raise UsageError("--at-once needs at least 1.", "Leave it out.")

    from k2ctl.clock import SystemClock
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.kafka.lease import lease_of
    from k2ctl.lake.commit import SnapshotRetention
    from k2ctl.profiles import load_profile
    from k2ctl.spark.maintain import SparkPlan
    from k2ctl.spark.maintain import maintain as run
    from k2ctl.spark.settings import place_of
    from k2ctl.views.stack import progress

    place, endpoints = place_of(master, conf or []), require_endpoints(Home.of_user())
    settings = load_profile(endpoints.profile).lake
    wanted = SparkPlan(
        SnapshotRetention.from_profile(settings.expire),
        settings.compact_after_files,
        hours_at_once=hours,
        orphans_after_s=age_s,
    )
    with opened(endpoints) as found, progress("k2ctl lake maintain", quiet=as_json) as say:
        done = run(endpoints, found, place, wanted, lease_of(endpoints), SystemClock(), say)
    from k2ctl.console import out, print_json
    from k2ctl.views.lake import maintained_text

    if as_json:
        print_json({**asdict(done), "engine": engine})
    else:
        out().print(maintained_text(done))


@app.command("accept-rollback", short_help="Go on from a snapshot that the table was rolled back to.")
def accept_rollback(yes: YesOption = False) -> None:
    """Go on from the snapshot that the table was rolled back to: its offsets become those of then.

    The trades that are given up are read again, as far as Kafka still holds them; others count as lost.

    Example:  k2ctl lake accept-rollback
    """
    from k2ctl.clock import SystemClock
    from k2ctl.console import err, say
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.lake.rollback import accept, look
    from k2ctl.views.lake import rollback_panel

    with opened(require_endpoints(Home.of_user())) as lake:
        seen = look(lake)
        err().print(rollback_panel(seen))
        _confirm("Go on from there?", "k2ctl lake accept-rollback --yes", yes=yes)
        accept(lake, SystemClock(), seen)
    say(f"The table stands at snapshot {seen.current} with its offsets of then. Go on with: k2ctl consume")


@app.command("undo-rollback", short_help="Take a rollback of the table back.")
def undo_rollback(yes: YesOption = False) -> None:
    """Make the snapshot current again that the table was rolled back from; its offsets are right then.

    Example:  k2ctl lake undo-rollback
    """
    from k2ctl.clock import SystemClock
    from k2ctl.console import say
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.lake.rollback import look_back, undo

    with opened(require_endpoints(Home.of_user())) as lake:
        seen = look_back(lake)
        say(f"The table is at snapshot {seen.current}, and was at {seen.newest} before it was rolled back.")
        if seen.rows_since:
            say(f"{seen.rows_since:,} rows that were added after the rollback are given up.")
        _confirm("Make the other one current again?", "k2ctl lake undo-rollback --yes", yes=yes)
        undo(lake, SystemClock(), seen)
    say(f"The table is at snapshot {seen.newest} again.")


@app.command("restore-offsets", short_help="Put right offsets that another program has changed.")
def restore_offsets(yes: YesOption = False) -> None:
    """Put the table's offsets right from their second copy, after another program has changed one of the two.

    Example:  k2ctl lake restore-offsets
    """
    from k2ctl.clock import SystemClock
    from k2ctl.console import err, say
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.lake.restoring import look, restore
    from k2ctl.views.lake import restoration_panel

    with opened(require_endpoints(Home.of_user())) as lake:
        seen = look(lake)
        err().print(restoration_panel(seen))
        _confirm("Restore them?", "k2ctl lake restore-offsets --yes", yes=yes)
        restore(lake, SystemClock(), seen)
    say("The offsets are those of their second copy again. See: k2ctl lake status")


@app.command("register", short_help="Register the tables again, after the catalog was lost or rolled back.")
def register(
    metadata: Annotated[
        str, typer.Option("--metadata", metavar="FILE", help="The metadata file to take.", show_default="the newest")
    ] = "",
    yes: YesOption = False,
) -> None:
    """Register the tables in the catalog again, after it was lost or rolled back, from their newest metadata files.

    With --metadata the table goes on from that file; other metadata at its place is given up.

    Example:  k2ctl lake register
    """
    from k2ctl.console import say
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.lake.registering import plan
    from k2ctl.lake.registering import register as carry_out

    with opened(require_endpoints(Home.of_user()), trusting=True) as lake:
        planned = plan(lake, metadata)
        for one in planned:
            instead = f", instead of {one.instead_of}" if one.instead_of else ""
            say(f"{one.name} becomes {one.chosen}{instead}.")
            for file in one.newest_given_up:
                say(f"  Given up, and moved to the quarantine beside the table: {file} and what is like it.")
        if not planned:
            say("Nothing to register: the catalog knows all that is there.")
            return
        _confirm("Register?", "k2ctl lake register --yes", yes=yes)
        for one in planned:
            carry_out(lake, one)
    say("Registered. See: k2ctl lake status")


def _confirm(question: str, command: str, *, yes: bool) -> None:
    unasked = UsageError("This changes the table, and nobody can be asked here.", f"Say that it is meant: {command}")
    confirm(question, unasked, "Nothing was changed.", yes=yes)
