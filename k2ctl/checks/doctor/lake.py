"""Does the lake open, do its books balance, are the spill files there."""

from typing import TYPE_CHECKING

from k2ctl.domain.topics import REFERENCE_TABLE, TABLE
from k2ctl.errors import LakeError
from k2ctl.home import Endpoints
from k2ctl.stack.preflight import Check, Verdict, ok, wrong

if TYPE_CHECKING:
    from k2ctl.lake.catalog import Lake
    from k2ctl.lake.maintenance.balance import Books


def lake_checks(endpoints: Endpoints) -> list[Check]:
    """Read the table's books.

    Raises:
        LakeError: catalog or warehouse do not answer, or the table cannot be trusted.
    """
    from k2ctl.lake.catalog import Lake
    from k2ctl.lake.maintenance.balance import read_books  # pyiceberg takes a second to import

    with Lake.at(endpoints) as lake:
        books = read_books(lake)
        if books is None:
            return [ok("lake", "no table yet; the first consumer makes it")]
        refused = [check for name in (TABLE, REFERENCE_TABLE) for check in _writing(lake, name)]
    return [*judge(books), *refused]


def _writing(lake: "Lake", name: str) -> list[Check]:
    """Why a table takes no rows as another program has left it."""
    from k2ctl.lake.opened import unwritable_for

    try:
        table = lake.find_table(name)
    except LakeError as error:
        return [wrong(f"table {name}", error)]
    found = () if table is None else unwritable_for(name, table)
    return [Check(f"table {name}", Verdict.WRONG, finding.message, finding.hint) for finding in found]


def judge(books: "Books") -> list[Check]:
    """What the books come to."""
    total = books.total
    found = [ok("lake", f"{books.rows:,} rows")]
    if books.balanced:
        found.append(ok("books", f"seen {total.seen:,} is the sum of its parts in every partition"))
    else:
        where = ", ".join(books.unbalanced) or f"{total.stored:,} counted as stored, {books.rows:,} rows in the table"
        found.append(Check("books", Verdict.WRONG, f"do not balance: {where}", "k2ctl lake status, then: k2ctl verify"))
    if total.lost:
        found.append(Check("lost", Verdict.NOTE, f"Kafka deleted {total.lost:,} trades unread", "k2ctl lake status"))
    if books.ended:
        what = f"not looked at, for it was given up: {', '.join(books.ended)}"
        found.append(Check("earlier Kafka", Verdict.NOTE, what, "k2ctl verify --all-epochs, k2ctl lake status"))
    if books.owed:
        found.append(Check("put aside", Verdict.NOTE, f"{books.owed:,} trades wait", "k2ctl backfill"))
    return found + _spills(books)


def _spills(books: "Books") -> list[Check]:
    missing, forgotten = len(books.missing_spills), len(books.forgotten_spills)
    if missing:
        what = f"{missing} of the ledger's are not there, first {books.missing_spills[0]}"
        help_ = "k2ctl backfill: reads from Kafka what it still holds, and counts the rest as lost"
        return [Check("spill files", Verdict.WRONG, what, help_)]
    if forgotten:
        what = f"{forgotten} that the ledger does not name; a consumer may be about to"
        return [Check("spill files", Verdict.NOTE, what, "k2ctl lake expire (deletes those older than an hour)")]
    return [ok("spill files", "each is there, and none is forgotten")]
