"""Does the lake open, do its counts balance, are the spill files there."""

from typing import TYPE_CHECKING

from k2ctl.domain.topics import REFERENCE_TABLE, TABLE
from k2ctl.endpoints import Endpoints
from k2ctl.errors import LakeError
from k2ctl.stack.preflight import Check, Verdict, ok, wrong

if TYPE_CHECKING:
    from k2ctl.lake.catalog import Lake
    from k2ctl.lake.maintenance.status import Balance


def lake_checks(endpoints: Endpoints) -> list[Check]:
    """Read the table's balance.

    Raises:
        LakeError: catalog or warehouse do not answer, or the table cannot be trusted.
    """
    from k2ctl.lake.catalog import Lake
    from k2ctl.lake.maintenance.status import read_balance  # pyiceberg takes a second to import

    with Lake.at(endpoints) as lake:
        balance = read_balance(lake)
        if balance is None:
            return [ok("lake", "no table yet; the first consumer makes it")]
        refused = [check for name in (TABLE, REFERENCE_TABLE) for check in _writing(lake, name)]
        return [*judge(balance), *_data_files(lake), *refused]


def _data_files(lake: "Lake") -> list[Check]:
    """Whether each data file that the table names is there, in its size."""
    from k2ctl.lake.data_files import RESTORE, not_as_listed
    from k2ctl.lake.scan import TableScan

    try:
        table = lake.table()
        listed = TableScan.newest(table).listed()
        odd = not_as_listed(table.io, listed)
    except LakeError as error:
        return [wrong("data files", error)]
    if not odd:
        return [ok("data files", f"each of {len(listed):,} is there, in its size")]
    path, what = next(iter(odd.items()))
    more = f"; {len(odd) - 1:,} more" if len(odd) > 1 else ""
    return [Check("data files", Verdict.WRONG, f"{path}: {what}{more}", RESTORE)]


def _writing(lake: "Lake", name: str) -> list[Check]:
    """Why a table takes no rows as another program has left it."""
    from k2ctl.lake.opened import unwritable_for

    try:
        table = lake.find_table(name)
    except LakeError as error:
        return [wrong(f"table {name}", error)]
    found = () if table is None else unwritable_for(name, table)
    return [Check(f"table {name}", Verdict.WRONG, finding.message, finding.hint) for finding in found]


def judge(balance: "Balance") -> list[Check]:
    """What the balance comes to."""
    total = balance.total
    found = [ok("lake", f"{balance.rows:,} rows")]
    if balance.balanced:
        found.append(ok("balance", f"seen {total.seen:,} is the sum of its parts in every partition"))
    else:
        where = (
            ", ".join(balance.unbalanced) or f"{total.stored:,} counted as stored, {balance.rows:,} rows in the table"
        )
        found.append(
            Check("balance", Verdict.WRONG, f"do not balance: {where}", "k2ctl lake status, then: k2ctl verify")
        )
    if total.lost:
        found.append(Check("lost", Verdict.NOTE, f"Kafka deleted {total.lost:,} trades unread", "k2ctl lake status"))
    if balance.ended:
        what = f"not looked at, for it was given up: {', '.join(balance.ended)}"
        found.append(Check("earlier Kafka", Verdict.NOTE, what, "k2ctl verify --all-epochs, k2ctl lake status"))
    if balance.outstanding:
        found.append(Check("deferred", Verdict.NOTE, f"{balance.outstanding:,} trades wait", "k2ctl backfill"))
    return found + _spills(balance)


def _spills(balance: "Balance") -> list[Check]:
    missing, forgotten = len(balance.missing_spills), len(balance.forgotten_spills)
    if missing:
        what = f"{missing} of the ledger's are not there, first {balance.missing_spills[0]}"
        help_ = "k2ctl backfill: reads from Kafka what it still holds, and counts the rest as lost"
        return [Check("spill files", Verdict.WRONG, what, help_)]
    if forgotten:
        what = f"{forgotten} that the ledger does not name; a consumer may be about to"
        return [Check("spill files", Verdict.NOTE, what, "k2ctl lake expire (deletes those older than an hour)")]
    return [ok("spill files", "each is there, and none is forgotten")]
