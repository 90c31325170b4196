"""`k2ctl verify`: the table and the unread tail hold exactly what Kafka acknowledged to `k2ctl load`.

1. Pin a snapshot and its offsets, and take the watermarks: both sides of one seam.
2. Lay out a slot for each number that was sent, some million at a time.
3. Fill the slots from the table, from Kafka behind the offsets, from what is put aside, from the dead letters.
4. Compare: slots that are empty, full twice, or should be empty; checksums of stretches; the order in Kafka.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from k2ctl.broker.admin import BrokerAdmin
from k2ctl.broker.reader import read_between
from k2ctl.checks.verify.expected import ASIDE, DEAD, IN_LAKE, IN_TAIL, Interval, Sessions, Slots
from k2ctl.errors import CheckFailed
from k2ctl.home import Endpoints
from k2ctl.lake.aside.spilled import spilled_rows
from k2ctl.lake.catalog import Lake
from k2ctl.lake.heads import Lane
from k2ctl.lake.reading.pinned import Pinned, pin
from k2ctl.lake.reading.whole import Placed, places_of, stored_trades
from k2ctl.load.truth import Truth, recorded
from k2ctl.schema.topics import WireFormat, dead_letter_topic
from k2ctl.schema.wire import CODECS

Say = Callable[[str], None]
Ranges = dict[int, tuple[int, int]]

FINDINGS_KEPT: Final = 1000
READ_RECORDS: Final = 200_000
READ_TIMEOUT_S: Final = 30.0
FAULTS: Final = ("missing", "duplicated", "altered", "out of order", "unexpected", "put aside", "dead-lettered")
"""What `verify` lists, the worst first. Put aside is owed and not lost: `k2ctl backfill` gives it back."""


@dataclass(frozen=True)
class Finding:
    """Numbers first to last of a symbol, and what is wrong with so many trades of them.

    An alteration is found by the checksum of a stretch: at least one of its trades is not what was sent.
    """

    fault: str
    symbol: str
    first: int
    last: int
    trades: int


@dataclass
class Verified:
    """One topic. Counts are trades; faults: fault → trades, and `findings` the first thousand stretches of them.

    acknowledged: by Kafka to all loads, copies too; of loads that were killed at least so many. expected: each once.
    copies: sent twice on purpose. uncertain: failed or unacknowledged deliveries that are not there. foreign: of other
    producers. of_unfinished: there, of loads that run or were killed; too_few: by how many they miss what they had
    acknowledged. uncompared: there, but within a stretch that lacks others, so that its checksum tells nothing.
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

    @property
    def holds(self) -> bool:
        """Everything that was acknowledged is there, once, as it was sent, and nothing else of these loads."""
        return not any(self.faults.values()) and not self.too_few

    def note(self, fault: str, stretches: Sequence[Interval]) -> None:
        """Count a fault and keep its stretches."""
        self.faults[fault] += sum(stretch.trades for stretch in stretches)
        self.findings += [Finding(fault, *stretch) for stretch in stretches[: FINDINGS_KEPT - len(self.findings)]]


def verify(endpoints: Endpoints, say: Say, *, every_epoch: bool = False) -> list[Verified]:
    """Hold what loads wrote down to what the running stack has, topic by topic.

    every_epoch: also what was sent to an earlier Kafka of this state directory; what it had not been read is missing.

    Raises:
        CheckFailed: nothing was written down for this Kafka, or a record of it is damaged.
        LakeError, BrokerError: the table or Kafka does not answer.
    """
    by_topic: dict[tuple[str, str], list[Truth]] = {}
    with BrokerAdmin(endpoints) as admin:
        there = admin.topics()
        now = {truth.run.topic: "" for truth in recorded()}
        now.update({topic: admin.epoch(topic) for topic in now if topic in there})
    earlier = 0
    for truth in recorded():
        if every_epoch or truth.run.epoch == now[truth.run.topic]:
            by_topic.setdefault((truth.run.topic, truth.run.wire_format), []).append(truth)
        else:
            earlier += 1
    if not by_topic:
        also = f" {earlier} were sent to an earlier one: k2ctl verify --all-epochs" if earlier else ""
        raise CheckFailed("No load has been recorded for this Kafka." + also, "Make one: k2ctl load --rate 10k")
    with Lake.at(endpoints) as lake:
        return [
            _Topic(endpoints, lake, topic, now[topic], truths, say).verified()
            for (topic, _), truths in by_topic.items()
        ]


class _Topic:
    """One topic's two sides, pinned."""

    def __init__(
        self, endpoints: Endpoints, lake: Lake, topic: str, epoch: str, truths: Sequence[Truth], say: Say
    ) -> None:
        self._endpoints, self._topic, self._epoch, self._say = endpoints, topic, epoch, say
        self._format: WireFormat = "json" if truths[0].run.wire_format == "json" else "sbe"
        self._sessions = Sessions.of(truths)
        self._pinned = pin(lake)
        self._marks: Ranges = {}
        with BrokerAdmin(endpoints) as admin:
            if topic in admin.topics():
                self._marks = {partition: (mark.low, mark.high) for partition, mark in admin.watermarks(topic).items()}
            self._letters = admin.topics().get(dead_letter_topic(topic), 0)
        unfinished = [truth for truth in truths if not truth.run.finished]
        self._result = Verified(topic, epoch, len({truth.run.run_id for truth in truths}), len(unfinished))
        self._result.acknowledged = sum(truth.run.acknowledged for truth in truths)
        self._result.copies = int(self._sessions.sent["copies"].sum())
        self._result.symbols = len(np.unique(self._sessions.sent["symbol"]))
        self._bound = sum(truth.run.acknowledged for truth in unfinished)

    def verified(self) -> Verified:
        """The comparison, pass by pass."""
        result, passes = self._result, list(self._sessions.passes())
        found = 0
        for number, chosen in enumerate(passes):
            slots = Slots(self._sessions, chosen)
            # The first pass reads every symbol, and so sees what others sent.
            symbols = None if number == 0 else self._symbols(chosen)
            part = f", part {number + 1} of {len(passes)}" if len(passes) > 1 else ""
            self._fill(slots, symbols, part)
            self._compare(slots)
            found += self._of_unfinished(slots)
            if number == 0:
                result.foreign = slots.foreign
        if self._bound:
            copies = int(self._sessions.sent["copies"][self._sessions.unfinished].sum())
            result.too_few = max(0, self._bound - copies - found)
            result.of_unfinished = found
        return result

    def _symbols(self, chosen: np.ndarray) -> list[str]:
        return sorted({symbol.decode("ascii", "replace") for symbol in self._sessions.sent["symbol"][chosen].tolist()})

    def _fill(self, slots: Slots, symbols: list[str] | None, part: str) -> None:
        self._say(f"reading the table{part}")
        if self._pinned is not None:
            for placed in stored_trades(self._pinned, self._topic, symbols):
                slots.take(placed, IN_LAKE)
        self._say(f"reading what Kafka holds and the table does not{part}")
        for placed in self._from_kafka(self._topic, self._tail()):
            slots.take(placed, IN_TAIL)
        for placed in self._aside():
            slots.take(placed, ASIDE)
        for placed in self._dead():
            slots.take(placed, DEAD)

    def _tail(self) -> Ranges:
        heads = self._pinned.progress.heads if self._pinned else {}
        found = {}
        for partition, (low, high) in self._marks.items():
            head = heads.get(Lane(self._topic, self._epoch, partition))
            found[partition] = (max(low, head.next_offset if head else low), high)
        return found

    def _from_kafka(self, topic: str, ranges: Ranges) -> Iterator[Placed]:
        """The trades of offset ranges, some hundred thousand records at a time; stops where Kafka gives no more."""
        left = {partition: span for partition, span in ranges.items() if span[0] < span[1]}
        while left:
            fetched, reached, _ = read_between(self._endpoints, topic, left, READ_TIMEOUT_S, READ_RECORDS)
            decoded = CODECS[self._format].decode(fetched.values)
            yield Placed(decoded.trades, places_of(fetched.offset[decoded.record], decoded.index))
            moved = any(reached[partition] > span[0] for partition, span in left.items())
            left = {p: (reached[p], end) for p, (_, end) in left.items() if moved and reached[p] < end}

    def _aside(self) -> Iterator[Placed]:
        """What is owed: from spill files, and from the ranges that Kafka keeps."""
        pinned = self._pinned
        if pinned is None:
            return
        entries = pinned.progress.ledger.of(self._topic).entries
        for file, epoch in dict.fromkeys((entry.spill, entry.epoch) for entry in entries if entry.spill):
            yield self._spilled(pinned, file, epoch)
        for entry in entries:
            low, high = self._marks.get(entry.partition, (0, 0))
            if not entry.spill and entry.epoch == self._epoch:
                yield from self._from_kafka(
                    self._topic, {entry.partition: (max(low, entry.start), min(high, entry.end))}
                )

    def _spilled(self, pinned: Pinned, file: str, epoch: str) -> Placed:
        rows, _ = spilled_rows(pinned, file, self._topic, epoch)
        return Placed(rows.trades, places_of(rows.offset, rows.index))

    def _dead(self) -> Iterator[Placed]:
        if not self._letters:
            return
        topic = dead_letter_topic(self._topic)
        with BrokerAdmin(self._endpoints) as admin:
            marks = {partition: (mark.low, mark.high) for partition, mark in admin.watermarks(topic).items()}
        yield from self._from_kafka(topic, marks)

    def _compare(self, slots: Slots) -> None:
        result = self._result
        result.expected += int((slots.expected == 1).sum())
        result.in_lake += int((slots.found == IN_LAKE).sum())
        result.in_tail += int((slots.found == IN_TAIL).sum())
        missing = slots.missing()
        result.uncertain += int(((slots.expected == 2) & (slots.found == 0) & ~missing).sum())
        result.note("missing", slots.runs(missing))
        result.note("duplicated", slots.runs(slots.doubled))
        altered, uncompared = slots.altered()
        result.note("altered", altered)
        result.uncompared += uncompared
        result.note("out of order", slots.out_of_order())
        result.note("unexpected", [Interval(name, *what) for name, what in sorted(slots.unexpected_of.items())])
        result.note("put aside", slots.runs(slots.found == ASIDE))
        result.note("dead-lettered", slots.runs(slots.found == DEAD))

    def _of_unfinished(self, slots: Slots) -> int:
        """Trades of killed loads that are somewhere."""
        return int(((slots.found != 0) & slots.of_unfinished()).sum()) + slots.beyond


def failed(results: Sequence[Verified]) -> CheckFailed | None:
    """The error that the results end in, if they do."""
    if all(result.holds for result in results):
        return None
    owed = sum(result.faults["put aside"] for result in results)
    others = sum(sum(result.faults.values()) + result.too_few for result in results) - owed
    if not others:
        return CheckFailed(f"{owed:,} trades are put aside and not in the table yet.", "Give them back: k2ctl backfill")
    return CheckFailed(
        "The table and the tail do not hold exactly what was acknowledged.", "What is affected: k2ctl verify --json"
    )
