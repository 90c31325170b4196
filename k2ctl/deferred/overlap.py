"""What a query may lack because it was put aside: the ledger's entries that meet its window and its symbols."""

from collections.abc import Sequence

from k2ctl.domain.ledger import Entry, Ledger
from k2ctl.domain.window import Window
from k2ctl.profiles.universe import PRIORITIES, Universe


def owed_entries(
    ledger: Ledger, symbols: Sequence[str] | None, window: Window, universe: Universe | None
) -> list[Entry]:
    """The entries that may hold trades that the query asks for.

    ledger: the entries of the query's topic. universe: tells a symbol's priority; without it every entry counts.
    """
    return [entry for entry in ledger.entries if _in_window(entry, window) and _may_hold(entry, symbols, universe)]


def owed_reasons(
    ledger: Ledger, symbols: Sequence[str] | None, window: Window, universe: Universe | None
) -> tuple[str, ...]:
    """One reason when trades that the query asks for may be put aside; none when they cannot. Arguments as above."""
    met = owed_entries(ledger, symbols, window, universe)
    if not met:
        return ()
    names = ", ".join(name for number, name in enumerate(PRIORITIES) if any(entry.holds(number) for entry in met))
    owed = sum(entry.count for entry in met)
    return (f"{owed:,} trades of {names} symbols are put aside; give them back with: k2ctl backfill",)


def _in_window(entry: Entry, window: Window) -> bool:
    after_start = window.since_us is None or entry.last_us >= window.since_us
    return after_start and (window.until_us is None or entry.first_us < window.until_us)


def _may_hold(entry: Entry, symbols: Sequence[str] | None, universe: Universe | None) -> bool:
    """Whether one of the symbols may be among what was put aside: by its priority, while the policy is the same."""
    if symbols is None or universe is None or entry.policy != universe.policy:
        return True
    return any(entry.holds(universe.priority(symbol.encode())) for symbol in symbols)
