"""Which gaps are explained: trades that were deferred are outstanding, and no gap of the feed."""

from collections.abc import Iterable
from typing import Protocol

from k2ctl.domain.ledger import DeferredRange
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


def is_deferred(
    entries: Iterable[DeferredRange], partition: tuple[str, int], symbol: bytes, gap: Gap, priorities: Priorities | None
) -> bool:
    """Whether an entry of the symbol's partition and priority holds trades between those on both sides of the gap.

    partition: topic and partition, where the symbol was read last. priorities: None, or of another policy than the
    entry's,
    does not tell, and so the entry may hold the symbol's trades.
    """
    return any(
        (entry.topic, entry.partition) == partition
        and entry.first_us <= gap.event_us
        and entry.last_us >= gap.before_us
        and (priorities is None or entry.policy != priorities.policy or entry.holds(priorities.priority(symbol)))
        for entry in entries
    )
