"""What `k2ctl verify` found of one topic, and the error that it ends in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from k2ctl.checks.verify.other_programs import AlteredRun
from k2ctl.checks.verify.slots import Interval
from k2ctl.errors import CheckFailed

FINDINGS_KEPT: Final = 1000
FAULTS: Final = ("missing", "duplicated", "altered", "out of order", "unexpected", "deferred", "dead-lettered")
"""What `verify` lists, the worst first. Deferred is outstanding and not lost: `k2ctl backfill` backfills it."""


RESTORE_AND_VERIFY: Final = "All of them: k2ctl verify --json. Restore them from a backup, then: k2ctl verify"


@dataclass(frozen=True)
class Finding:
    """Numbers first to last of a symbol, and what is wrong with so many trades of them.

    column: the one that was altered; empty where only the checksum of a stretch is known to differ, so that at least
    one of its trades is not what was sent. In a column of a stretch of trades: at least one of them.
    """

    fault: str
    symbol: str
    first: int
    last: int
    trades: int
    column: str = ""


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

    @property
    def holds(self) -> bool:
        """Everything that was acknowledged is there, once, as it was sent, and nothing else of these loads."""
        return not any(self.faults.values()) and not self.too_few and not self.damaged

    def note(self, fault: str, stretches: Sequence[Interval | AlteredRun]) -> None:
        """Count a fault and keep its stretches."""
        self.faults[fault] += sum(stretch.trades for stretch in stretches)
        self.findings += [Finding(fault, *stretch) for stretch in stretches[: FINDINGS_KEPT - len(self.findings)]]


def failed(results: Sequence[Verified]) -> CheckFailed | None:
    """The error that the results end in, if they do; of several faults, the worst decides what is to be done."""
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
        return CheckFailed(
            f"{outstanding:,} trades are deferred and not in the table yet.", "Backfill them: k2ctl backfill"
        )
    topic = next(result.topic for result in results if result.faults["dead-lettered"])
    return CheckFailed(
        f"{dead:,} trades were refused as impossible, and are dead letters.",
        f"Their reasons: k2ctl dead-letters list --topic {topic}",
    )
