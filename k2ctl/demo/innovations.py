"""Act 3, the innovations: overload by the ladder, up and down, with a kill, copies and a gap in the middle of it."""

import time
from typing import Final, NamedTuple

import pyarrow.compute as pc

from k2ctl.demo.checks import (
    DemoCheck,
    backfilled,
    caught_up,
    complete_answer,
    critical_never_deferred,
    gaps_found,
    honest_answer,
    ladder_climbed,
    ladder_descended,
    shed_and_spilled,
)
from k2ctl.demo.result import Billing, Facts, Tick
from k2ctl.demo.stage import SYMBOL, Stage
from k2ctl.domain.status import ConsumerStatus
from k2ctl.domain.trade import Window
from k2ctl.profiles.universe import PRIORITIES, Universe
from k2ctl.query.session import Session

BILLING: Final = Billing(
    3,
    "The innovations",
    "Twice the trades it may process. Level by level it defers what matters least; CRITICAL "
    "trades flow on. All of it comes back.",
    (
        "The consumer is held to a budget, on purpose. Trades, lag, levels and commits are real.",
        "Five levels, one policy table. Worse at once; better one level at a time, after a cooldown (short here; 30 s "
        "in production).",
        "Nothing is thrown away. LOW trades stay in Kafka while it has room, others go to disk. A ledger of both moves "
        "with the offsets, in one transaction.",
        "kill -9: the next consumer asks the table where to go on. Meanwhile queries stay complete, from Kafka.",
        "A query says when it cannot be complete, and why. It never returns less in silence.",
    ),
)

BUDGET: Final = 20_000
RATE: Final = 45_000
DUPLICATES: Final = 0.01
GONE_S: Final = 5.0
"""How long the killed consumer stays away for an audience: until its last word is too old to be shown."""

CLIMBS_WITHIN_S: Final = 3.0
"""How long the new consumer is given to say that it meets what came while nobody read."""

FAULTY_RATE, FAULTY_GAPS = 4_000, 0.003


def play(stage: Stage) -> None:
    """Up the ladder, kill -9, down again; then a feed with holes."""
    seen = Seen()
    stage.step("C H N L: CRITICAL to LOW symbols.  ● processed  ▪ put on disk  ○ left in Kafka")
    stage.step(f"A consumer that may process {BUDGET:,} trades a second meets {RATE:,}; 1 in 100 is sent twice")
    stage.start_consumer(BUDGET)
    stage.prepare_load(stage.plan(RATE, stage.pacing.last(45, 9), duplicates=DUPLICATES))
    stage.watch(lambda tick: bool(tick.overview.consumers), 30)
    window = stage.begin_load()
    stage.watch(lambda tick: seen.note(tick) or "CIRCUIT_BREAK" in seen.levels)
    stage.moment("act-3")
    stage.step("CIRCUIT_BREAK: the intake is closed, and the load waits. What do queries say now?")
    _ask_in_the_middle(stage, window)
    hold_s = stage.pacing.read(20)
    stage.watch(lambda tick: seen.note(tick) or tick.sample.at_s > 30 + hold_s, hold_s)
    returned_us = _kill_and_return(stage, seen, window)
    _load_to_the_end(stage, seen)
    if not stage.watch(lambda tick: seen.note(tick) or seen.has_moved_since(returned_us), CLIMBS_WITHIN_S):
        # The load was nearly over: only a level that was entered can be left.
        stage.step(f"Another burst of {RATE:,} trades a second, for the new consumer to climb")
        stage.start_load(stage.plan(RATE, stage.pacing.last(15, 9)))
        _load_to_the_end(stage, seen)
    stage.step("The load has ended: down again, one level at a time, and everything deferred is backfilled")
    done = stage.watch(lambda tick: seen.note(tick) or has_backfilled(stage, tick))
    # Its last figures are published a moment after its last commit; meanwhile the next load's workers start.
    stage.prepare_load(stage.plan(FAULTY_RATE, stage.pacing.last(5, 1), gaps=FAULTY_GAPS))
    stage.watch(lambda tick: seen.note(tick), 1.0)
    stage.check(ladder_climbed(seen.levels))
    stage.check(ladder_descended(seen.moves))
    counts, deferred = stage.readings.counts(), seen.total
    stage.check(critical_never_deferred(deferred.critical, deferred.deferred))
    stage.check(shed_and_spilled(seen.shed, seen.spilled))
    stage.check(backfilled(counts, deferred.deferred, deferred.returned, f"cooldown {stage.pacing.cooldown_s:.0f} s"))
    stage.check(caught_up(stage.acknowledged - counts.seen, done))
    _faulty_feed(stage)
    stage.stop_processes()


def _load_to_the_end(stage: Stage, seen: "Seen") -> None:
    stage.watch(lambda tick: seen.note(tick) or not stage.loading, 300)
    stage.finish_load()


class DeferredTotals(NamedTuple):
    """Of one consumer since it started, in trades: deferred, of that CRITICAL ones, and backfilled."""

    deferred: int = 0
    critical: int = 0
    returned: int = 0


class Seen:
    """What was seen on the way. levels: by name; moves: (from, to); shed, spilled: the most trades that one consumer
    has reported."""

    def __init__(self) -> None:
        self.levels: set[str] = set()
        self.moves: dict[int, tuple[str, str]] = {}
        self.shed = self.spilled = 0
        self._of: dict[str, DeferredTotals] = {}
        self._before_the_kill = DeferredTotals()
        self._killed: set[str] = set()

    def note(self, tick: Tick) -> bool:
        """Take a tick in. Always False."""
        for move in tick.overview.transitions:
            self.moves[move.at_us] = (move.from_level, move.to_level)
            self.levels |= {move.from_level, move.to_level}
        for status in tick.overview.consumers:
            self.take(status.id, _deferred_by(status))
            self.shed = max(self.shed, sum(cell["shed"] for cell in status.by_priority.values()))
            self.spilled = max(self.spilled, sum(cell["spill"] for cell in status.by_priority.values()))
        return False

    def has_moved_since(self, at_us: int) -> bool:
        """Whether a level has changed after that time, in µs UTC."""
        return any(moved_us > at_us for moved_us in self.moves)

    def is_replaced(self, tick: Tick) -> bool:
        """Whether a consumer reports that is not the killed one, whose last word may still be shown."""
        return any(status.id not in self._killed for status in tick.overview.consumers)

    def take(self, consumer: str, totals: DeferredTotals) -> None:
        """What a consumer reports; the last report of a killed one does not count any more."""
        if consumer not in self._killed:
            self._of[consumer] = totals

    def killed(self, outstanding: int) -> None:
        """Of a killed consumer counts what it committed, which the table knows; the next one does the rest again."""
        total = self.total
        self._killed |= self._of.keys()
        self._of.clear()
        self._before_the_kill = DeferredTotals(outstanding + total.returned, total.critical, total.returned)

    @property
    def total(self) -> DeferredTotals:
        """Of all consumers together."""
        return DeferredTotals(*map(sum, zip(self._before_the_kill, *self._of.values(), strict=True)))


def _deferred_by(status: ConsumerStatus) -> DeferredTotals:
    by_priority = {name: cell["spill"] + cell["shed"] for name, cell in status.by_priority.items()}
    return DeferredTotals(sum(by_priority.values()), by_priority["CRITICAL"], status.backfilled)


def _ask_in_the_middle(stage: Stage, window: Window) -> None:
    """A symbol that is never deferred, and one that is."""
    stage.check(
        complete_answer(
            f"at CIRCUIT_BREAK a query of {SYMBOL} (CRITICAL) is complete", stage.readings.query(SYMBOL, window)
        )
    )
    universe = Universe(stage.profile)
    low = next(
        name
        for name in reversed(universe.symbols[: -stage.profile.market.tiers.low // 2])
        if universe.priority(name.encode()) == PRIORITIES.index("LOW")
    )
    stage.check(honest_answer(low, stage.readings.query(low, window), stage.readings.query(low, window, deferred=True)))


def _kill_and_return(stage: Stage, seen: Seen, window: Window) -> int:
    """Returns when another consumer began, µs UTC: the killed one's last status may arrive later."""
    stage.step("kill -9 of the consumer, in the middle of its work")
    stage.kill_consumer()
    left = stage.readings.counts()
    seen.killed(left.shed + left.spilled)
    stage.check(
        complete_answer(
            f"a query of {SYMBOL} is complete while the consumer is dead", stage.readings.query(SYMBOL, window)
        )
    )
    stage.watch_for(stage.pacing.last(GONE_S, 1))
    stage.step("A new consumer starts; the table knows where to go on")
    returned_us = time.time_ns() // 1000
    stage.start_consumer(BUDGET)
    stage.watch(lambda tick: seen.note(tick) or seen.is_replaced(tick), 30)
    return returned_us


def has_backfilled(stage: Stage, tick: Tick) -> bool:
    """Back at NORMAL, with everything that was acknowledged in the table and nothing outstanding."""
    overview = tick.overview
    quiet = (
        bool(overview.consumers) and overview.level == "NORMAL" and not overview.outstanding and not overview.pending
    )
    return quiet and overview.lag_committed_trades == 0 and stage.readings.counts().seen >= stage.acknowledged


def _faulty_feed(stage: Stage) -> None:
    """Numbers that never come: the table shows the holes. The load is prepared."""
    stage.step("Another feed, with holes: some trades are numbered and never sent")
    window = stage.begin_load()
    sent = stage.finish_load()
    caught = stage.watch(lambda _: stage.readings.counts().seen >= stage.acknowledged)
    with Session.at(stage.endpoints) as session:
        found = session.gap_rows(Universe(stage.profile).symbols, window, 100_000)
    missing = pc.sum(found.table["missing"]).as_py() or 0
    first = found.table.to_pylist()[:4]
    stage.show(
        Facts(
            "k2ctl gaps",
            tuple(
                (gap["symbol"], f"{gap['missing']} missing: {gap['first_missing']:,} to {gap['last_missing']:,}")
                for gap in first
            ),
            f"{len(found.table)} gaps in all. A number after a symbol's last trade cannot be missed yet.",
        )
    )
    stage.check(
        gaps_found(missing, sent.holes, sent.withheld)
        if caught
        else DemoCheck("the gaps were found", False, "not caught up")
    )
