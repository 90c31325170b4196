"""What became of the records that Kafka holds of a topic: counts, and where it is not as it should be."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from k2ctl.checks.verify.verification import FINDINGS_KEPT, RESTORE_AND_VERIFY, Finding
from k2ctl.domain.rows import Rows
from k2ctl.errors import CheckFailed

FAULTS: Final = ("missing", "duplicated", "altered", "unexpected")
"""The worst first. Missing: in Kafka, and accounted for nowhere. Unexpected: a row of a place where Kafka has no trade.
"""


@dataclass
class Accounted:
    """One topic. Counts are trades unless they say records; faults: fault → trades, and `findings` where they are."""

    topic: str
    epoch: str
    # Records that Kafka holds and gave.
    records: int = 0
    # Trades in them: the sum of stored, copies, deferred, dead-lettered, pending and missing.
    trades: int = 0
    stored: int = 0
    # Not stored, for the same trade is in the table from another place.
    copies: int = 0
    deferred: int = 0
    dead_lettered: int = 0
    # Records that are dead letters as a whole, and hold nothing that can be read.
    undecodable: int = 0
    # What the feed says is no trade: records, or parts of one.
    filtered: int = 0
    # Behind the table's offsets, trades and, of what cannot be read, records.
    pending: int = 0
    faults: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FAULTS, 0))
    findings: list[Finding] = field(default_factory=list)
    # Records before the first that Kafka still holds; they are not looked at.
    gone_records: int = 0
    # Why Kafka did not give all that it holds; else empty.
    unread: str = ""
    # Data file → why it cannot be read; its trades count as missing.
    damaged: dict[str, str] = field(default_factory=dict)
    # What could not be judged → how many.
    not_judged: dict[str, int] = field(default_factory=dict)
    # Partition → term → what the table's counts say, and what was found.
    counts_differ: dict[int, dict[str, tuple[int, int]]] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Every record is accounted for, and nothing else is in the table."""
        return not any(self.faults.values()) and not self.damaged and not self.counts_differ and not self.unread

    def note(self, fault: str, rows: Rows, mask: np.ndarray, column: str = "") -> None:
        """Count rows by a boolean mask as a fault, and keep the offsets of those that follow each other."""
        at = np.flatnonzero(mask)
        self.faults[fault] += len(at)
        if not len(at) or len(self.findings) >= FINDINGS_KEPT:
            return
        partition, symbol = rows.partition[at], rows.trades["symbol"][at]
        breaks = (np.diff(at) > 1) | (np.diff(partition) != 0) | (symbol[1:] != symbol[:-1])
        starts = np.append(0, np.flatnonzero(breaks) + 1)
        ends = np.append(starts[1:], len(at)) - 1
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            if len(self.findings) >= FINDINGS_KEPT:
                return
            name = bytes(symbol[start]).decode("utf-8", "replace")
            first, last = (int(rows.offset[at[place]]) for place in (start, end))
            found = Finding(fault, name, first, last, end - start + 1, column, partition=int(partition[start]))
            self.findings.append(found)

    def note_records(self, fault: str, places: np.ndarray) -> None:
        """Count places (int64[n, 3]: partition, offset, index) as a fault, of which no symbol is known."""
        self.faults[fault] += len(places)
        for partition, offset, _ in places[: max(0, FINDINGS_KEPT - len(self.findings))].tolist():
            self.findings.append(Finding(fault, "", offset, offset, 1, partition=partition))


def failed(results: Sequence[Accounted]) -> CheckFailed | None:
    """The error that the results end in, if they do."""
    if all(result.holds for result in results):
        return None
    damaged = sorted({path for result in results for path in result.damaged})
    if damaged:
        return CheckFailed(f"Data files of the table are damaged or gone: {damaged[0]}", RESTORE_AND_VERIFY)
    if any(any(result.faults.values()) for result in results):
        return CheckFailed(
            "Not every record that Kafka holds is accounted for.",
            "What is affected: k2ctl verify --against-kafka --json",
        )
    differing = [result.topic for result in results if result.counts_differ]
    if differing:
        return CheckFailed(
            f"The table's counts of {differing[0]} are not what Kafka and the table hold.",
            "Which: k2ctl verify --against-kafka --json. The counts: k2ctl lake status",
        )
    unread = next(result for result in results if result.unread)
    return CheckFailed(
        f"Not all of {unread.topic} could be read: {unread.unread}", "Try again later: k2ctl verify --against-kafka"
    )
