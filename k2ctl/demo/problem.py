"""Act 1, the problem: a burst like a market's open, and two consumers that are both too small for it."""

from typing import Final

from k2ctl.demo.checks import critical_flowed, naive_waited
from k2ctl.demo.result import Billing, Facts, Tick
from k2ctl.demo.stage import Stage

BILLING: Final = Billing(
    1,
    "The problem",
    "The market opens: nine times the trades at once. How long do the most important ones wait? "
    "Same trades, same capacity.",
    (
        "K2 is an L3 platform: analytics, research, compliance. It is not for execution, nor for risk in memory.",
        "Both consumers read the same Kafka topic at the same time, and both are held to the same number of trades a "
        "second, on purpose: so the burst need not be huge, and any laptop shows what a large one does.",
        "The naive one is built in for contrast. It is not slow on purpose: what it lacks is priorities. All symbols "
        "wait in one queue, so the top ten wait behind five hundred.",
        "K2 reads the priority lane of CRITICAL symbols first, and defers the long tail. It is backfilled later; act 3 "
        "shows how.",
    ),
)

BUDGET: Final = 15_000
QUIET_RATE, BURST_RATE = 5_000, 45_000
FULL_S, QUICK_S = 50.0, 10.0
"""Of the load; the middle fifth of it is the burst."""


def play(stage: Stage) -> None:
    """Both on the same load; what is compared is the age of the oldest CRITICAL trade."""
    stage.step(f"Two consumers start; each may process {BUDGET:,} trades a second, on purpose")
    stage.start_naive(BUDGET)
    stage.start_consumer(BUDGET)
    seconds = stage.pacing.last(FULL_S, QUICK_S)
    # An exchange does not ask whether the intake is open, and is not stopped by it.
    stage.prepare_load(stage.plan(QUIET_RATE, seconds, ramp_to=BURST_RATE, shape="spike", ignore_intake=True))
    stage.watch(lambda tick: tick.naive is not None and bool(tick.overview.consumers), 30)
    stage.step(f"{QUIET_RATE:,} trades a second, then the open: {BURST_RATE:,} a second for {seconds / 5:.0f} s")
    stage.begin_load()
    worst = Worst()
    stage.watch(lambda tick: worst.note(tick, stage) or not stage.loading, 600)
    stage.finish_load()
    stage.step("The load has ended; how long until the naive one has caught up with the CRITICAL trades?")
    stage.watch(lambda tick: worst.note(tick, stage) or worst.is_over(tick), stage.pacing.last(30, 3))
    stage.show(
        Facts(
            "the same burst, the same capacity",
            (
                ("CRITICAL trades waited, naive", f"up to {worst.naive_s:.1f} s"),
                ("CRITICAL trades waited, K2", f"up to {worst.ours_s or 0.0:.1f} s, until they were in the table"),
                ("K2's worst level", worst.level),
            ),
            "The naive figure is kind to it: it ends when a trade is read, not when it is stored.",
        )
    )
    stage.check(naive_waited(worst.naive_s))
    stage.check(critical_flowed(worst.ours_s, worst.naive_s))
    stage.stop_processes()


class Worst:
    """The worst that both have shown so far: ages of CRITICAL trades in seconds. ours_s: None until one is known."""

    def __init__(self) -> None:
        self.naive_s = 0.0
        self.ours_s: float | None = None
        self.level = "NORMAL"
        self._number = 0

    def note(self, tick: Tick, stage: Stage) -> bool:
        """Take a tick in; the picture is taken where the naive one is at its worst. Always False."""
        naive_s, ours_s = tick.sample.naive_critical_s or 0.0, tick.sample.critical_s
        if naive_s > max(self.naive_s, 2.0):
            stage.moment("act-1")
        self.naive_s = max(self.naive_s, naive_s)
        if ours_s is not None:
            self.ours_s = max(self.ours_s or 0.0, ours_s)
        if tick.overview.level_number > self._number:
            self._number, self.level = tick.overview.level_number, tick.overview.level
        return False

    def is_over(self, tick: Tick) -> bool:
        """The naive consumer has nothing waiting any more."""
        return not tick.sample.naive_critical_s
