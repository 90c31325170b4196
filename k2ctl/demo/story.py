"""The ten-minute story: its four acts and the reconciliation, and how they are played on one stage."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from k2ctl.demo import architecture, innovations, problem, scale
from k2ctl.demo.checks import DemoCheck, balance_holds, duplicates_caught, stored_once
from k2ctl.demo.pacing import Pacing
from k2ctl.demo.result import ActResult, Audience, Billing, DemoResult, machine_facts
from k2ctl.demo.stage import Stage, stage
from k2ctl.endpoints import Endpoints
from k2ctl.errors import UsageError
from k2ctl.profiles import Profile
from k2ctl.query.session import Session
from k2ctl.query.sql import sql
from k2ctl.stack.lifecycle import OWN_STACKS

_RECONCILIATION: Final = Billing(
    0,
    "The reconciliation",
    "Everything that was loaded, against everything that the table holds. The sum has to be exact.",
    (
        "Kafka's acknowledgements on one side, the table on the other. The sum has to be exact.",
        "`k2ctl verify` holds every trade to what was sent, by number and checksum: missing, doubled, altered.",
        "Produced is what the load counted, acknowledged what Kafka confirmed, stored what a query finds.",
    ),
)

_COUNT: Final = "SELECT count(*), count(DISTINCT message_id) FROM trades"


def _reconcile(stage: Stage) -> None:
    """Each trade that Kafka acknowledged is accounted for; what is left in Kafka goes into the table first."""
    stage.step("Reconciling what Kafka acknowledged with what the table holds")
    counts = stage.readings.counts()
    if counts.seen < stage.acknowledged or counts.shed + counts.spilled:
        stage.catch_up()
    with Session.at(stage.endpoints) as session, sql(session, _COUNT) as answer:
        (row,) = answer.rows.read_all().to_pylist()
        missing = answer.evidence.missing
    rows, distinct = row.values()
    produced = sum(sent.distinct for sent in stage.sent)
    counts = stage.readings.counts()
    stage.result.trades = stage.acknowledged
    stage.check(stored_once(rows, distinct, produced, missing))
    stage.check(duplicates_caught(counts, stage.acknowledged - produced))
    stage.check(balance_holds(counts, stage.acknowledged))


Prove = Callable[[Endpoints], DemoCheck]


class Act(NamedTuple):
    """A part of the story that can be played alone."""

    billing: Billing
    play: Callable[[Stage], None]


ACTS: Final = tuple(Act(room.BILLING, room.play) for room in (problem, architecture, innovations, scale))
FINALE: Final = Act(_RECONCILIATION, _reconcile)


def chosen(numbers: Sequence[int]) -> tuple[Act, ...]:
    """The acts by number, in the order of the story; all of them without any.

    Raises:
        UsageError: there is no such act.
    """
    unknown = [number for number in numbers if not 1 <= number <= len(ACTS)]
    if unknown:
        raise UsageError(f"There is no act {unknown[0]}.", f"Acts are 1 to {len(ACTS)}: k2ctl demo --act 3")
    return tuple(act for act in ACTS if not numbers or act.billing.number in numbers)


def perform(
    profile: Profile, engine: str, acts: Sequence[Act], pacing: Pacing, audience: Audience, prove: Prove
) -> DemoResult:
    """Play acts, and reconcile at the end, on a stack of its own that is gone afterwards, however it ends.

    prove: holds what the stack has to what was sent; `k2ctl.checks.verify.verification.prove`.

    Raises:
        UsageError: there is no such engine.
        K2Error: something could not be started, or ended when it should not.
    """
    if engine not in OWN_STACKS:
        raise UsageError(
            f"The demo does not run on '{engine}': it takes a stack of its own.", f"Engines: {', '.join(OWN_STACKS)}"
        )
    started_s = time.monotonic()
    with stage(profile, engine, pacing, audience) as built:
        built.result.began = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        built.result.machine = machine_facts()
        for act in (*acts, FINALE):
            with built.playing(ActResult(act.billing)):
                act.play(built)
                if act is FINALE:
                    built.check(prove(built.endpoints))
        built.result.finished = True
    built.result.seconds = time.monotonic() - started_s
    return built.result
