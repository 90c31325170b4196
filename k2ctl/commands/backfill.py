"""`k2ctl backfill`: backfill what was deferred."""

import threading
from typing import TYPE_CHECKING, Annotated

import typer

from k2ctl.options import JsonOption, StackProfileOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from k2ctl.consume.platform import ConsumerPlan
    from k2ctl.domain.status import ConsumerStatus
    from k2ctl.endpoints import Endpoints
    from k2ctl.profiles import Profile


def backfill(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is outstanding and where it is kept; change nothing.")
    ] = (False),
    profile: StackProfileOption = "",
    as_json: JsonOption = False,
) -> None:
    """Backfill the trades that were shed or spilled under pressure: each is stored once, however often this runs.

    A consumer does this by itself once its level is NORMAL; while one runs, this command watches it.

    Example:  k2ctl backfill --dry-run
    """
    from k2ctl.commands.consuming import run_consumer
    from k2ctl.consume.consumer import Consumer
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.profiles import chosen

    endpoints, wanted = chosen(require_endpoints(Home.of_user()), profile)
    if dry_run:
        _show(endpoints, wanted, as_json=as_json)
        return
    for topic, plan in plans_of(endpoints, wanted).items():
        if not _watch_running_consumer(endpoints, topic):
            run_consumer(Consumer(endpoints, plan), as_json=as_json)


def plans_of(endpoints: "Endpoints", profile: "Profile") -> "dict[str, ConsumerPlan]":
    """A plan for each topic of which something is outstanding; for the profile's, where nothing is."""
    from k2ctl.consume.platform import ConsumerPlan
    from k2ctl.lake.catalog import Lake
    from k2ctl.lake.checkpoints import checkpoints_of, feeds_in
    from k2ctl.profiles.foreign import of_table

    with Lake.at(endpoints) as lake:
        table = lake.find_table()
    entries = checkpoints_of(table).ledger.entries if table else ()
    feeds = feeds_in(table) if table else {}
    return {
        topic: ConsumerPlan(of_table(profile, topic, feeds.get(topic)), backfill=True, feed=feeds.get(topic))
        for topic in dict.fromkeys(entry.topic for entry in entries) or [profile.trades_topic]
    }


def rescue_shed(endpoints: "Endpoints", say: "Callable[[str], None]") -> None:
    """Backfill what the embedded Kafka holds of trades that were shed, before it ends with its memory.

    Its consumers in the background are ended first. What cannot be backfilled is lost with it, and `say` says so.
    """
    from k2ctl.consume.consumer import Consumer
    from k2ctl.errors import K2Error
    from k2ctl.lake.catalog import Lake
    from k2ctl.lake.checkpoints import checkpoints_of
    from k2ctl.profiles import chosen
    from k2ctl.stack.processes import is_alive
    from k2ctl.stack.replicas import started_records, stop_processes

    kafka = endpoints.processes.get("kafka")
    if kafka is None or not is_alive(kafka):
        return

    def shed() -> "dict[str, int]":
        with Lake.at(endpoints) as lake:
            table = lake.find_table()
        entries = checkpoints_of(table).ledger.entries if table else ()
        here = [entry for entry in entries if entry.epoch == endpoints.epoch and not entry.spill]
        return {topic: sum(e.count for e in here if e.topic == topic) for topic in {e.topic for e in here}}

    try:
        stop_processes(endpoints.home, [record.name for record in started_records(endpoints.home)])
        left = shed()
        plans = plans_of(*chosen(endpoints, "")) if left else {}
        for topic, count in left.items():
            say(f"backfilling {count:,} trades that were shed: this Kafka ends with them")
            Consumer(endpoints, plans[topic]).run(threading.Event())
    except K2Error as error:
        say(f"trades that were shed are lost with this Kafka, because they cannot be backfilled: {error}")


def _show(endpoints: "Endpoints", profile: "Profile", *, as_json: bool) -> None:

    from k2ctl.console import out, print_json
    from k2ctl.deferred.outstanding import outstanding_ranges
    from k2ctl.views.consume import outstanding_table

    ranges = outstanding_ranges(endpoints, profile)
    if as_json:
        print_json(list(ranges))
    else:
        out().print(outstanding_table(ranges))


def _watch_running_consumer(endpoints: "Endpoints", topic: str) -> bool:
    """Show how a running consumer backfills, until nothing is outstanding; False when none runs."""
    from k2ctl.console import err, say
    from k2ctl.kafka.telemetry import TelemetryReader
    from k2ctl.views.consume import progress_line
    from k2ctl.views.live import live

    telemetry = TelemetryReader(endpoints)
    try:
        alive = _consumers(telemetry.look(1.5).consumers, topic)
        if not alive:
            return False
        say(f"{alive[0].id} runs and backfills by itself; this only watches. Ctrl-C ends the watching.")
        with live(err(), progress_line, progress_line) as show:
            while any(one.outstanding for one in alive):
                show(alive)
                alive = _consumers(telemetry.poll(0.5).consumers, topic)
        say("Nothing is outstanding." if alive else "The consumer has ended. Go on with: k2ctl backfill")
    except KeyboardInterrupt:
        say("The consumer goes on.")
    finally:
        telemetry.close()
    return True


def _consumers(statuses: "dict[str, ConsumerStatus]", topic: str) -> "list[ConsumerStatus]":
    return [status for status in statuses.values() if status.topic == topic]
