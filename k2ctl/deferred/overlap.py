"""What a query may lack because it was deferred: the ledger's entries that meet its window and its symbols."""

from collections.abc import Sequence

from k2ctl.domain.ledger import DeferredRange, Ledger
from k2ctl.domain.window import Window
from k2ctl.profiles.universe import PRIORITIES, Universe


def outstanding_entries(
    ledger: Ledger, symbols: Sequence[str] | None, window: Window, universe: Universe | None
) -> list[DeferredRange]:
    """The entries that may hold trades that the query asks for.

    ledger: the entries of the query's topic. universe: tells a symbol's priority; without it every entry counts.
    """
    return [entry for entry in ledger.entries if _in_window(entry, window) and _may_hold(entry, symbols, universe)]


def outstanding_reasons(
    ledger: Ledger, symbols: Sequence[str] | None, window: Window, universe: Universe | None
) -> tuple[str, ...]:
    """One reason when trades that the query asks for may be deferred; none when they cannot. Arguments as above."""
    met = outstanding_entries(ledger, symbols, window, universe)
    if not met:
        return ()
    names = ", ".join(name for number, name in enumerate(PRIORITIES) if any(entry.holds(number) for entry in met))
    outstanding = sum(entry.count for entry in met)
    return (f"{outstanding:,} trades of {names} symbols are deferred; backfill them with: k2ctl backfill",)


def _in_window(entry: DeferredRange, window: Window) -> bool:
    after_start = window.since_us is None or entry.last_us >= window.since_us
    return after_start and (window.until_us is None or entry.first_us < window.until_us)


def _may_hold(entry: DeferredRange, symbols: Sequence[str] | None, universe: Universe | None) -> bool:
    """Whether one of the symbols may be among what was deferred: by its priority, while the policy is the same."""
    if symbols is None or universe is None or entry.policy != universe.policy:
        return True
    return any(entry.holds(universe.priority(symbol.encode())) for symbol in symbols)
