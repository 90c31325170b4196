"""The stack that is up and its lake: their health, and what runs that should not."""

from contextlib import closing
from typing import TYPE_CHECKING, Final

from k2ctl.checks.doctor.embedded_room import embedded_room
from k2ctl.clock import SystemClock
from k2ctl.cost.fit import faults_of
from k2ctl.dedup.shared.claim_stores import open_claims
from k2ctl.dedup.shared.plan import plan_shared
from k2ctl.domain.topics import REFERENCE_TABLE
from k2ctl.endpoints import Endpoints, without_password
from k2ctl.errors import LakeError, ProfileError
from k2ctl.home import Home
from k2ctl.kafka.probe import clock_ahead_s, newest_record_ahead_s
from k2ctl.profiles import load_profile
from k2ctl.profiles.loader import place_of
from k2ctl.stack import fleet, replicas
from k2ctl.stack.docker.engine import leftover_containers
from k2ctl.stack.engine import ServiceStatus
from k2ctl.stack.lifecycle import running_engine, status
from k2ctl.stack.preflight import Check, Verdict, ok, wrong
from k2ctl.stack.processes_engine import leftover_processes

if TYPE_CHECKING:
    from k2ctl.lake.catalog import Lake
    from k2ctl.lake.maintenance.status import Balance


CLOCK_NOTED_S: Final = 1.0
CLOCK_WRONG_S: Final = 60.0
"""Trades more than five minutes ahead are dead letters, and ages are shown in seconds."""
CLOCK_PATIENCE_S: Final = 2.0
REGISTER: Final = "k2ctl lake register"
"""What helps a catalog that answers and does not know the table."""


def which_stack(running: str | None, endpoints: Endpoints | None, wanted: str) -> list[Check]:
    """Whether one is up, wholly, and is the one that was asked for."""
    if running is None:
        return [ok("stack", "none is up")]
    if endpoints is None:
        return [_wrong("stack", f"`up` of the {running} engine was not finished", f"k2ctl stack up --engine {running}")]
    if wanted and wanted != running:
        return [_note("stack", f"the {running} engine is up, and only one can be", "k2ctl stack down")]
    room = [embedded_room(endpoints.profile)] if running == "embedded" else []
    return [ok("stack", f"{running}, profile {endpoints.profile}"), *profile_fit(endpoints.profile), *room]


def profile_fit(name_or_path: str) -> list[Check]:
    """Whether the profile's consumers, nodes and queries go together."""
    try:
        faults = faults_of(load_profile(name_or_path))
    except ProfileError as error:
        return [wrong("profile", error)]
    if not faults:
        return [ok("profile", f"{name_or_path}: consumers, memory and queries go together")]
    return [
        _wrong("profile", f"{place_of(name_or_path, fault.key)}: {fault.key}: {fault.reason}", fault.step)
        for fault in faults
    ]


def claims_room(endpoints: Endpoints) -> list[Check]:
    """Whether the claims of consumers that compare their trades fit into Redis.

    Raises:
        StateError: it does not answer. ProfileError: they do not fit, into it or into the profile's budget.
    """
    plan = plan_shared(load_profile(endpoints.profile).consumer.dedup)
    if plan is None:
        return []
    with closing(open_claims(endpoints.state_url, "doctor", None, plan.window_s, SystemClock())) as store:
        plan.require_room(store.server())
    where = "Redis has room" if store.kind == "redis" else "they are in the memory of one process"
    return [ok("claims", f"{plan.bytes / 1e6:,.0f} MB are planned, and {where}")]


def service_checks(engine: str, services: list[ServiceStatus]) -> list[Check]:
    """One for each service; `consumer_checks` reports consumers in containers."""
    return [_service(engine, one) for one in services if one.service.partition("-")[0] != "consumer"]


def running_services() -> list[ServiceStatus]:
    """The services of what is up; none when nothing is."""
    return status(figures=False, home=Home.of_user()) if running_engine(Home.of_user()) else []


def _service(engine: str, one: ServiceStatus) -> Check:
    name = f"service {one.service}"
    if one.fine:
        return ok(name, one.health)
    if one.health == "starting":
        return _note(name, "starting", "k2ctl stack status")
    if one.state == "external":
        return _wrong(
            name, one.health.splitlines()[0], f"It is run by others, at {without_password(one.endpoint)}: ask them"
        )
    if REGISTER in one.health:
        return _wrong(name, one.health.splitlines()[0], REGISTER)
    logs = "" if one.service == "catalog" else f"k2ctl stack logs {one.service}; then: "
    found = one.health if one.state in ("running", "file") else f"{one.state}: {one.health}"
    return _wrong(name, found.splitlines()[0], f"{logs}k2ctl stack up --engine {engine}")


def leftovers(endpoints: Endpoints | None) -> list[Check]:
    """Servers and containers of this state directory that no stack knows."""
    found = [
        _wrong(f"leftover {service}", f"process {pid} is of this state directory, and no stack knows it", f"kill {pid}")
        for service, (pid, _) in leftover_processes(Home.of_user(), endpoints)
    ]
    containers = leftover_containers(Home.of_user())
    if containers:
        names = " ".join(containers)
        found.append(
            _wrong("leftover containers", f"the stack is down, and there are {names}", f"docker rm -f {names}")
        )
    return found or [ok("leftovers", "none")]


def consumer_checks(endpoints: Endpoints | None) -> list[Check]:
    """Consumers in the background: those that died, and those whose stack is gone."""
    if endpoints is None:
        return [
            _wrong(
                record.name, f"process {record.process.pid} runs, and its stack is gone", f"kill {record.process.pid}"
            )
            for record in replicas.records(home=Home.of_user())
            if record.alive
        ]
    members = fleet.members(endpoints)
    running = sum(member.state == "running" for member in members)
    help_ = f"k2ctl stack logs NAME; then: k2ctl consume scale {len(members)}"
    found = []
    for member in members:
        if member.state != "running" and member.done is None:
            found.append(
                _wrong(member.name, "died, or was killed", help_.replace("NAME", member.container or member.name))
            )
        elif member.state != "running":
            found.append(_note(member.name, "has ended by itself", help_.replace("NAME", member.name)))
    return found or [ok("consumers", f"{running} in the background")]


def clock(endpoints: Endpoints) -> list[Check]:
    """Kafka's clock against ours, by a record; by the newest trade in the embedded Kafka, which stamps none."""
    ahead_s = None if endpoints.engine == "embedded" else clock_ahead_s(endpoints, CLOCK_PATIENCE_S)
    if ahead_s is None:
        newest_s = newest_record_ahead_s(endpoints, CLOCK_PATIENCE_S)
        if newest_s is None or newest_s < CLOCK_WRONG_S:
            return [ok("clock", "no record in Kafka is later than this machine's")]
        found = f"the newest record in Kafka is {newest_s:.0f} s later than this machine's"
        return [Check("clock", Verdict.WRONG, found, "Let NTP set it: timedatectl set-ntp true")]
    side = "ahead of" if ahead_s > 0 else "behind"
    found = f"Kafka's is {abs(ahead_s):.3f} s {side} this machine's"
    if abs(ahead_s) < CLOCK_NOTED_S:
        return [ok("clock", found)]
    verdict = Verdict.WRONG if abs(ahead_s) >= CLOCK_WRONG_S else Verdict.NOTE
    return [Check("clock", verdict, found, "Let NTP set both: timedatectl set-ntp true")]


def _wrong(name: str, found: str, help_: str) -> Check:
    return Check(name, Verdict.WRONG, found, help_)


def _note(name: str, found: str, help_: str) -> Check:
    return Check(name, Verdict.NOTE, found, help_)


def catalog_limits(endpoints: Endpoints) -> list[Check]:
    """What a REST catalog does not offer; of no other catalog is there anything to say.

    Raises:
        LakeError: it does not answer, or lacks what k2ctl cannot do without.
    """
    from k2ctl.lake.addresses import is_rest
    from k2ctl.lake.trial import limits_of  # pyiceberg takes a second to import

    if not is_rest(endpoints.catalog_uri):
        return []
    lacking = limits_of(endpoints)
    if not lacking:
        return [ok("catalog", "offers all that k2ctl asks a REST catalog for")]
    found = f"it does not offer to {'; to '.join(lacking)}"
    return [_note("catalog", found, "Ask those who run it whether this can be allowed")]


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
        refused = [check for name in (lake.name, REFERENCE_TABLE) for check in _writing(lake, name)]
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
    return [wrong(f"table {name}", finding) for finding in found]


def judge(balance: "Balance") -> list[Check]:
    """One check for each finding in the balance."""
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
