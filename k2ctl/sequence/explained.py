"""Which gaps are explained: trades that were put aside are owed, and no gap of the feed."""

from collections.abc import Iterable
from typing import Protocol

from k2ctl.domain.ledger import Entry
from k2ctl.sequence.symbol_codec import Gap


class Priorities(Protocol):
    """Which symbol has which priority, by a policy with a digest; `Universe` and `Admission` are two."""

    @property
    def policy(self) -> str:
        """The digest."""
        ...

    def priority(self, symbol: bytes, /) -> int:
        """0 CRITICAL … 3 LOW."""
        ...


def put_aside(
    entries: Iterable[Entry], lane: tuple[str, int], symbol: bytes, gap: Gap, priorities: Priorities | None
) -> bool:
    """Whether an entry of the symbol's lane and priority holds trades between those on both sides of the gap.

    lane: topic and partition, where the symbol was read last. priorities: None, or of another policy than the entry's,
    does not tell, and so the entry may hold the symbol's trades.
    """
    return any(
        (entry.topic, entry.partition) == lane
        and entry.first_us <= gap.event_us
        and entry.last_us >= gap.before_us
        and (priorities is None or entry.policy != priorities.policy or entry.holds(priorities.priority(symbol)))
        for entry in entries
    )
