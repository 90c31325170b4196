"""Load at exact rates, and the ramp to 500,000 trades a second; one trade in a Kafka record."""

import threading
from collections.abc import Sequence
from typing import Any, Final

from k2ctl.checks.bench.made import even_profile
from k2ctl.checks.bench.suite import PARTITIONS, bench_stack
from k2ctl.checks.validate.targets import Ground, Results, Step, Target
from k2ctl.domain.topics import trades_topic
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.load.generator import run_load
from k2ctl.load.plan import plan_load
from k2ctl.load.report import LoadSnapshot
from k2ctl.load.summary import ACCURACY_MEAN, ACCURACY_SECOND, LoadSummary
from k2ctl.profiles import Profile

NAME: Final = "load"
RATES: Final = (1_000, 10_000, 50_000, 100_000)
RAMP: Final = {"rate": 100_000, "ramp_to": 500_000, "shape": "step", "duration_s": 5.0}
"""Five steps of a second each: so that what was sent at 500,000 fills a whole second, and all of it fits into the
embedded engine's 5 MiB per partition while nobody reads."""


def targets(ground: Ground) -> list[Target]:
    """One for each rate, and the ramp."""
    goal = f"mean ≤ {ACCURACY_MEAN:.0%}, worst second ≤ {ACCURACY_SECOND:.0%} off"
    seconds = _seconds(ground)
    rates = [
        Target(NAME, f"load {rate // 1000}K msg/s", goal, f"k2ctl load --rate {rate // 1000}k --duration {seconds:.0f}")
        for rate in RATES
    ]
    ramp = "k2ctl load --rate 100k --ramp-to 500k --shape step --duration 5"
    return [*rates, Target(NAME, "ramp to 500K msg/s", f"each second ≤ {ACCURACY_SECOND:.0%} off, to the top", ramp)]


def _seconds(ground: Ground) -> float:
    return 10.0 if ground.full else 5.0


def measure(ground: Ground, wanted: Sequence[Target]) -> Results:
    """Each on a topic of its own, which is deleted afterwards."""
    profile = even_profile(ground.profile, PARTITIONS)
    with bench_stack(ground.engine, profile) as endpoints:
        for number, (target, rate) in enumerate(zip(wanted, RATES, strict=False)):
            ground.say(target.name)
            summary, _ = _run(
                _on_a_market_of_its_own(profile, number), endpoints, rate=rate, duration_s=_seconds(ground)
            )
            off = abs(summary.reached_rate / summary.target_rate - 1)
            held = off <= ACCURACY_MEAN and summary.worst_second <= ACCURACY_SECOND and not summary.trades_failed
            measured = f"mean {off:.2%} off, worst second {summary.worst_second:.1%}"
            yield target.judged(held, measured + _trouble(summary))
        ground.say(wanted[-1].name)
        summary, best = _run(_on_a_market_of_its_own(profile, len(RATES)), endpoints, **RAMP)
        held = summary.worst_second <= ACCURACY_SECOND and not summary.trades_failed
        measured = f"{best:,.0f}/s reached, worst second {summary.worst_second:.1%}"
        yield wanted[-1].judged(held, measured + _trouble(summary))


def _on_a_market_of_its_own(profile: Profile, number: int) -> Profile:
    """The profile with an exchange, and so a topic, that nobody has used."""
    market = profile.market.model_copy(update={"exchange": f"V{number}"})
    return profile.model_copy(update={"market": market})


def _run(profile: Profile, endpoints: Endpoints, **plan: Any) -> tuple[LoadSummary, float]:
    """What the load did, and the most trades that it sent in a second."""
    seen: list[LoadSnapshot] = []
    summary = run_load(plan_load(profile, **plan), endpoints, threading.Event(), seen.append)
    with BrokerAdmin(endpoints) as admin:
        admin.delete_topic(trades_topic(profile.market.asset_class, profile.market.exchange))
    return summary, best_second(seen)


def best_second(snapshots: Sequence[LoadSnapshot]) -> float:
    """Trades a second over the best stretch of at least a second; 0 when there is none."""
    best, first = 0.0, 0
    for last in snapshots:
        while first + 1 < len(snapshots) and last.elapsed_s - snapshots[first + 1].elapsed_s >= 1.0:
            first += 1
        span_s = last.elapsed_s - snapshots[first].elapsed_s
        if span_s >= 1.0:
            best = max(best, (last.sent - snapshots[first].sent) / span_s)
    return best


def _trouble(summary: LoadSummary) -> str:
    failed = f"; {summary.trades_failed:,} failed" if summary.trades_failed else ""
    return failed + (f"; paused for {summary.paused_s:.1f} s" if summary.paused_s else "")


STEP: Final = Step(NAME, "load at exact rates, and the ramp", targets, measure, stack=True)
