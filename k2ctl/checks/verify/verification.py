"""`k2ctl verify`: the table and the unread tail hold exactly what Kafka acknowledged to `k2ctl load`.

1. Pin a snapshot and its offsets, and take the watermarks: both sides of one seam.
2. Compare the rows that another program has committed with Kafka and the reference data, column by column.
3. Lay out a slot for each number that was sent, some million at a time.
4. Fill the slots from the table, from Kafka behind the offsets, from what is deferred, from the dead letters.
5. Compare: slots that are empty, full twice, or should be empty; checksums of stretches; the order in Kafka.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from k2ctl.checks.verify.other_programs import Examination, OtherPrograms
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
from k2ctl.checks.verify.waiting import hint_of
from k2ctl.clock import SystemClock
from k2ctl.demo.checks import DemoCheck
from k2ctl.domain.status import ConsumerStatus
from k2ctl.domain.topics import WireFormat
from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed
from k2ctl.feeds.records import own_decoder
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.load.acknowledged_log import AcknowledgedLog, recorded
from k2ctl.profiles import load_profile

FINDINGS_KEPT: Final = 1000
FAULTS: Final = ("missing", "duplicated", "altered", "out of order", "unexpected", "deferred", "dead-lettered")
"""What `verify` lists, the worst first. Deferred is outstanding and not lost: `k2ctl backfill` backfills it."""


RESTORE_AND_VERIFY: Final = "All of them: k2ctl verify --json. Restore them from a backup, then: k2ctl verify"


@dataclass(frozen=True)
class Finding:
    """Numbers first to last of a symbol, and what is wrong with so many trades of them.

    column: the one that was altered; empty where only the checksum of a stretch is known to differ, so that at least
    one of its trades is not what was sent. In a column of a stretch of trades: at least one of them. message_id: of a
    trade whose id holds no number; of others empty.
    """

    fault: str
    symbol: str
    first: int
    last: int
    trades: int
    column: str = ""
    message_id: str = ""
    # Where first and last are offsets and no sequence numbers: those of this partition.
    partition: int | None = None


@dataclass
class Verified:
    """One topic. Counts are trades; faults: fault → trades, and `findings` the first thousand stretches of them.

    acknowledged: by Kafka to all loads, copies too; of loads that were killed at least so many. expected: each once.
    copies: sent twice on purpose. uncertain: failed or unacknowledged deliveries that are not there. foreign: of other
    producers. of_unfinished: there, of loads that run or were killed; too_few: by how many they miss what they had
    acknowledged. uncompared: there, but within a stretch that lacks others, so that its checksum proves nothing.
    unread: why Kafka did not give all that it holds behind the table's offsets; else empty. elsewhere: earlier
    incarnation of the topic → trades that it had acknowledged, none of which were looked at. of_others: trades of these
    loads in data files that another program committed. not_judged: column → trades of these files of which nothing is
    left that it could be compared with. damaged: data file → why it cannot be read; its trades count as missing.
    unrecorded: trades of large replays that a load only counted, and which are not compared; they count as foreign.
    """

    topic: str
    epoch: str
    runs: int
    unfinished: int
    symbols: int = 0
    acknowledged: int = 0
    expected: int = 0
    copies: int = 0
    in_lake: int = 0
    in_tail: int = 0
    uncertain: int = 0
    foreign: int = 0
    uncompared: int = 0
    too_few: int = 0
    of_unfinished: int = 0
    faults: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FAULTS, 0))
    findings: list[Finding] = field(default_factory=list)
    unread: str = ""
    elsewhere: dict[str, int] = field(default_factory=dict)
    of_others: int = 0
    not_judged: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    unrecorded: int = 0

    @property
    def holds(self) -> bool:
        """Everything that was acknowledged is there, once, as it was sent, and nothing else of these loads."""
        return not any(self.faults.values()) and not self.too_few and not self.damaged

    def note(self, fault: str, stretches: Sequence[Interval]) -> None:
        """Count a fault and keep its stretches."""
        self.faults[fault] += sum(stretch.trades for stretch in stretches)
        self.findings += [Finding(fault, *stretch) for stretch in stretches[: FINDINGS_KEPT - len(self.findings)]]


def failed(
    results: Sequence[Verified], running: Callable[[Collection[str]], Sequence[ConsumerStatus]] = lambda _: ()
) -> CheckFailed | None:
    """The error that the results end in, if they do; of several faults, the worst decides what is to be done.

    running: the consumers of some topics, asked where something is deferred.
    """
    if all(result.holds for result in results):
        return None
    damaged = sorted({path for result in results for path in result.damaged})
    if damaged:
        listed = damaged[0] if len(damaged) == 1 else f"{len(damaged):,}, such as {damaged[0]}"
        return CheckFailed(f"Data files of the table are damaged or gone: {listed}", RESTORE_AND_VERIFY)
    count = {fault: sum(result.faults[fault] for result in results) for fault in FAULTS}
    outstanding, dead = count.pop("deferred"), count.pop("dead-lettered")
    if any(count.values()) or any(result.too_few for result in results):
        return CheckFailed(
            "The table and the tail do not hold exactly what was acknowledged.", "What is affected: k2ctl verify --json"
        )
    if outstanding:
        topics = {result.topic for result in results if result.faults["deferred"]}
        hint = hint_of(running(topics))
        return CheckFailed(f"{outstanding:,} trades are deferred and not in the table yet.", hint)
    topic = next(result.topic for result in results if result.faults["dead-lettered"])
    return CheckFailed(
        f"{dead:,} trades were refused as impossible, and are dead letters.",
        f"Their reasons: k2ctl dead-letters list --topic {topic}",
    )


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
    profile = load_profile(endpoints.profile)
    ours = np.unique(np.concatenate([log.sessions["session"] for log in every]))
    with Lake.at(endpoints) as lake:
        results = []
        for (topic, wire_format), logs in by_topic.items():
            sources = TradeSources(endpoints, lake, topic, now[topic], own_decoder(profile, wire_format))
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
        unrecorded=sum(log.run.unrecorded for log in logs),
    )
    say("comparing what other programs have committed to the table")
    others = Examination(sources, every, SystemClock().now_us()).run()
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
        bound = sum(run.acknowledged - run.unrecorded for run in unfinished)
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
        result.note("altered", [run._replace(column=column) for run in unexplained])
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
