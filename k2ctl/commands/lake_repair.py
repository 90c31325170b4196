"""`k2ctl lake register`, `accept-rollback`, `undo-rollback`: ways on from what happened to a table; each asks first."""

import sys
from typing import Annotated

import typer

from k2ctl.errors import ExitCode, UsageError

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def accept_rollback(yes: YesOption = False) -> None:
    """Go on from the snapshot that the table was rolled back to: its offsets become those of then.

    The trades that are given up are read again, as far as Kafka still holds them; others count as lost.

    Example:  k2ctl lake accept-rollback
    """
    from k2ctl.clock import SystemClock
    from k2ctl.commands.lake import opened
    from k2ctl.console import err, say
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.lake.rollback import accept, look
    from k2ctl.views.lake import rollback_panel

    with opened(require_endpoints(Home.of_user())) as lake:
        seen = look(lake)
        err().print(rollback_panel(seen))
        confirm("Go on from there?", "k2ctl lake accept-rollback --yes", yes=yes)
        accept(lake, SystemClock(), seen)
    say(f"The table stands at snapshot {seen.current} with its offsets of then. Go on with: k2ctl consume")


def undo_rollback(yes: YesOption = False) -> None:
    """Make the snapshot current again that the table was rolled back from; its offsets are right then.

    Example:  k2ctl lake undo-rollback
    """
    from k2ctl.clock import SystemClock
    from k2ctl.commands.lake import opened
    from k2ctl.console import say
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.lake.rollback import look_back, undo

    with opened(require_endpoints(Home.of_user())) as lake:
        seen = look_back(lake)
        say(f"The table is at snapshot {seen.current}, and was at {seen.newest} before it was rolled back.")
        if seen.rows_since:
            say(f"{seen.rows_since:,} rows that were added after the rollback are given up.")
        confirm("Make the other one current again?", "k2ctl lake undo-rollback --yes", yes=yes)
        undo(lake, SystemClock(), seen)
    say(f"The table is at snapshot {seen.newest} again.")


def register(
    metadata: Annotated[
        str, typer.Option("--metadata", metavar="FILE", help="The metadata file to take [the newest].")
    ] = "",
    yes: YesOption = False,
) -> None:
    """Register the tables in the catalog again, after it was lost or rolled back, from their newest metadata files.

    With --metadata the table goes on from that file; other metadata at its place is given up.

    Example:  k2ctl lake register
    """
    from k2ctl.commands.lake import opened
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
        confirm("Register?", "k2ctl lake register --yes", yes=yes)
        for one in planned:
            carry_out(lake, one)
    say("Registered. See: k2ctl lake status")


def confirm(question: str, command: str, *, yes: bool) -> None:
    """Ask, unless it was said; without a terminal it has to be said."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("This changes the table, and nobody can be asked here.", f"Say that it is meant: {command}")
    if not typer.confirm(question, err=True):
        from k2ctl.console import say

        say("Nothing was changed.")
        raise typer.Exit(ExitCode.FAILED)
