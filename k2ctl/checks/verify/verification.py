"""`k2ctl verify`: the table and the unread tail hold exactly what Kafka acknowledged to `k2ctl load`.

1. Pin a snapshot and its offsets, and take the watermarks: both sides of one seam.
2. Compare the rows that another program has committed with Kafka and the reference data, column by column.
3. Lay out a slot for each number that was sent, some million at a time.
4. Fill the slots from the table, from Kafka behind the offsets, from what is deferred, from the dead letters.
5. Compare: slots that are empty, full twice, or should be empty; checksums of stretches; the order in Kafka.
"""

from collections.abc import Callable, Sequence

import numpy as np

from k2ctl.checks.verify.other_programs import AlteredRun, Examination, OtherPrograms
from k2ctl.checks.verify.slots import (
    ACKNOWLEDGED,
    DEAD,
    DEFERRED,
    IN_LAKE,
    IN_TAIL,
    UNCERTAIN,
    Interval,
    Sessions,
    Slots,
)
from k2ctl.checks.verify.sources import TradeSources
from k2ctl.checks.verify.verdict import FAULTS, Verified
from k2ctl.demo.checks import DemoCheck
from k2ctl.domain.topics import WireFormat
from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.load.acknowledged_log import AcknowledgedLog, recorded

Say = Callable[[str], None]


def verify(endpoints: Endpoints, say: Say, *, every_epoch: bool = False) -> list[Verified]:
    """Hold what loads wrote down to what the running stack has, topic by topic.

    every_epoch: also what was sent to earlier Kafkas of this state directory; what was unread of them is missing.

    Raises:
        CheckFailed: nothing was written down for this Kafka, or a record of it is damaged.
        LakeError, BrokerError: the table or Kafka does not answer.
    """
    every = list(recorded(endpoints.home))
    with BrokerAdmin(endpoints) as admin:
        there = admin.topics()
        now = {topic: admin.epoch(topic) if topic in there else "" for topic in {log.run.topic for log in every}}
    chosen = [log for log in every if every_epoch or log.run.epoch == now[log.run.topic]]
    if not chosen:
        also = f" {len(every):,} were sent to an earlier one: k2ctl verify --all-epochs" if every else ""
        raise CheckFailed("No load has been recorded for this Kafka." + also, "Make one: k2ctl load --rate 10k")
    by_topic: dict[tuple[str, WireFormat], list[AcknowledgedLog]] = {}
    for log in chosen:
        by_topic.setdefault((log.run.topic, "json" if log.run.wire_format == "json" else "sbe"), []).append(log)
    ours = np.unique(np.concatenate([log.sessions["session"] for log in every]))
    with Lake.at(endpoints) as lake:
        results = []
        for (topic, wire_format), logs in by_topic.items():
            sources = TradeSources(endpoints, lake, topic, now[topic], wire_format)
            results.append(_held(logs, Sessions.of(logs, ours), sources, every, say))
    for result in results:
        result.elsewhere = not_looked_at(every, chosen, result.topic)
    return results


def not_looked_at(every: Sequence[AcknowledgedLog], chosen: Sequence[AcknowledgedLog], topic: str) -> dict[str, int]:
    """Earlier incarnation of a topic → trades that it acknowledged to loads that are left out."""
    left_out: dict[str, int] = {}
    looked_at = {log.run.epoch for log in chosen}
    for log in every:
        if log.run.topic == topic and log.run.epoch not in looked_at:
            left_out[log.run.epoch] = left_out.get(log.run.epoch, 0) + log.run.acknowledged
    return left_out


def _held(
    logs: Sequence[AcknowledgedLog],
    sessions: Sessions,
    sources: TradeSources,
    every: Sequence[AcknowledgedLog],
    say: Say,
) -> Verified:
    """One topic: the comparison, pass by pass."""
    unfinished = [log.run for log in logs if not log.run.finished]
    result = Verified(
        sources.topic,
        sources.epoch,
        len({log.run.run_id for log in logs}),
        len(unfinished),
        symbols=len(np.unique(sessions.sent["symbol"])),
        acknowledged=sum(log.run.acknowledged for log in logs),
        copies=int(sessions.sent["copies"].sum()),
    )
    say("comparing what other programs have committed to the table")
    others = Examination(sources, every).run()
    result.of_others, result.not_judged = others.rows, others.not_judged
    result.note("altered", others.runs())
    passes = list(sessions.passes())
    for number, chosen in enumerate(passes):
        slots = Slots(sessions, chosen)
        say(f"reading the table and what Kafka holds behind it, part {number + 1} of {len(passes)}")
        # The first pass reads every symbol, and so sees what others sent.
        symbols = None if number == 0 else sessions.symbols(chosen)
        for source, placed in sources.trades(symbols):
            slots.take(placed, source)
        _compare(slots, others, result)
        if number == 0:
            result.foreign, result.unread = slots.foreign, sources.unread
    result.damaged = dict(sorted(sources.damaged.items()))
    if unfinished:
        copies = int(sessions.sent["copies"][sessions.unfinished].sum())
        bound = sum(run.acknowledged for run in unfinished)
        result.too_few = max(0, bound - copies - result.of_unfinished)
    return result


def _compare(slots: Slots, others: OtherPrograms, result: Verified) -> None:
    """Add what one pass found to the result."""
    missing = slots.missing()
    result.expected += int((slots.expected == ACKNOWLEDGED).sum())
    result.in_lake += int((slots.found == IN_LAKE).sum())
    result.in_tail += int((slots.found == IN_TAIL).sum())
    result.uncertain += int(((slots.expected == UNCERTAIN) & (slots.found == 0) & ~missing).sum())
    result.of_unfinished += slots.of_unfinished()
    result.note("missing", slots.runs(missing))
    result.note("duplicated", slots.runs(slots.doubled))
    altered, times, uncompared = slots.altered()
    for stretches, column in ((altered, ""), (times, "ingestion_timestamp")):
        unexplained = [run for run in stretches if not others.explains(run.symbol, run.first, run.last)]
        result.note("altered", [AlteredRun(*run, column) for run in unexplained])
    result.uncompared += uncompared
    result.note("out of order", slots.out_of_order())
    result.note("unexpected", [Interval(name, *what) for name, what in sorted(slots.unexpected_of.items())])
    result.note("deferred", slots.runs(slots.found == DEFERRED))
    result.note("dead-lettered", slots.runs(slots.found == DEAD))


def prove(endpoints: Endpoints) -> DemoCheck:
    """Hold what the stack has to what loads wrote down.

    Raises:
        CheckFailed: no load was written down.
    """
    return proof_of(verify(endpoints, lambda _: None))


def proof_of(results: Sequence[Verified]) -> DemoCheck:
    """All topics together; every fault is named with its count of trades."""
    expected, in_lake, in_tail = (
        sum(getattr(found, name) for found in results) for name in ("expected", "in_lake", "in_tail")
    )
    faults = [(sum(found.faults[name] for found in results), name) for name in FAULTS]
    named = ", ".join(f"{count:,} {name}" for count, name in faults if count) or "nothing astray"
    return DemoCheck(
        "k2ctl verify: every acknowledged trade is there, once, as it was sent",
        bool(results) and all(found.holds for found in results),
        f"{expected:,} acknowledged, {in_lake:,} in the table, {in_tail:,} in Kafka; {named}",
    )
