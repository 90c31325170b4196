"""Load at exact rates; on the demo's stage the ladder up and down on real lag, and kill -9 while trades arrive."""

import random
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from k2ctl.checks.bench.suite import PARTITIONS, bench_stack, even_profile
from k2ctl.checks.validate.targets import Ground, Listener, Results, Step, Target
from k2ctl.checks.verify.verification import prove
from k2ctl.demo.checks import backfilled, balance_holds, ladder_climbed, ladder_descended
from k2ctl.demo.innovations import BUDGET, RATE, Seen, has_backfilled
from k2ctl.demo.pacing import Pacing
from k2ctl.demo.result import ActResult, Billing, Tick
from k2ctl.demo.stage import Stage, stage
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.load.generator import ACCURACY_MEAN, ACCURACY_SECOND, LoadSummary, run_load
from k2ctl.load.plan import plan_load
from k2ctl.load.workers import LoadSnapshot
from k2ctl.profiles import Profile

RATES: Final = (1_000, 10_000, 50_000, 100_000)
RAMP: Final = {"rate": 100_000, "ramp_to": 500_000, "shape": "step", "duration_s": 5.0}
"""Five steps of a second each: so that what was sent at 500,000 fills a whole second, and all of it fits into the
embedded engine's 5 MiB per partition while nobody reads."""


def load_targets(ground: Ground) -> list[Target]:
    """One for each rate, and the ramp."""
    goal = f"mean ≤ {ACCURACY_MEAN:.0%}, worst second ≤ {ACCURACY_SECOND:.0%} off"
    seconds = _seconds(ground)
    rates = [
        Target(
            "load", f"load {rate // 1000}K msg/s", goal, f"k2ctl load --rate {rate // 1000}k --duration {seconds:.0f}"
        )
        for rate in RATES
    ]
    ramp = "k2ctl load --rate 100k --ramp-to 500k --shape step --duration 5"
    return [*rates, Target("load", "ramp to 500K msg/s", f"each second ≤ {ACCURACY_SECOND:.0%} off, to the top", ramp)]


def _seconds(ground: Ground) -> float:
    return 10.0 if ground.full else 5.0


def measure_load(ground: Ground, wanted: Sequence[Target]) -> Results:
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
    """The profile with an exchange, and so a topic, that is unused."""
    market = profile.market.model_copy(update={"exchange": f"V{number}"})
    return profile.model_copy(update={"market": market})


def _run(profile: Profile, endpoints: Endpoints, **plan: Any) -> tuple[LoadSummary, float]:
    """What the load did, and the most trades that it sent in a second."""
    seen: list[LoadSnapshot] = []
    summary = run_load(plan_load(profile, **plan), endpoints, threading.Event(), seen.append)
    with BrokerAdmin(endpoints) as admin:
        admin.delete_topic(profile.trades_topic)
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


LIVE: Final = Pacing()
"""The demo's own: a cooldown of 3 s, where production has 30."""

KILL_RATE: Final = 20_000
CLIMB_AT_MOST_S: Final = 120.0
AT_WORK_S: Final = 30.0
"""How long a consumer may take, from its start on, until it has stored something: then it is killed at work."""


def ladder_targets(_: Ground) -> list[Target]:
    """Up, down, the balance, and `verify`."""
    command = "k2ctl demo --act 3"
    cooldown = f"{LIVE.cooldown_s:.0f} s"
    return [
        Target("ladder", "five levels up", "all entered, by real lag", command),
        Target("ladder", "five levels down", f"to NORMAL one by one, cooldown {cooldown}", command),
        Target("ladder", "deferred, backfilled", "0 trades outstanding at the end", command),
        Target("ladder", "every trade accounted for", "seen = stored + duplicate + … exactly", "k2ctl lake status"),
        Target("ladder", "verify after overload", "all acknowledged there, once, unaltered", "k2ctl verify"),
    ]


def measure_ladder(ground: Ground, wanted: Sequence[Target]) -> Results:
    """A consumer with a budget gets over twice that rate until the intake closes; then all is backfilled."""
    with stage(ground.profile, ground.engine, LIVE, Listener(ground.say)) as built, built.playing(_act("the ladder")):
        seen = Seen()
        built.start_consumer(BUDGET)
        built.watch(lambda tick: bool(tick.overview.consumers), 30)
        built.start_load(built.plan(RATE, 10.0 if ground.full else 6.0, duplicates=0.01))
        built.watch(lambda tick: seen.note(tick) or "CIRCUIT_BREAK" in seen.levels, CLIMB_AT_MOST_S)
        ground.say("ladder: back to NORMAL, level by level")
        built.watch(lambda tick: seen.note(tick) or not built.loading, CLIMB_AT_MOST_S)
        built.finish_load()
        built.watch(lambda tick: seen.note(tick) or has_backfilled(built, tick), CLIMB_AT_MOST_S)
        built.watch(lambda tick: seen.note(tick), 1.0)
        counts = built.readings.counts()
        checks = (
            ladder_climbed(seen.levels),
            ladder_descended(seen.moves),
            backfilled(counts, seen.total.deferred, seen.total.returned, f"cooldown {LIVE.cooldown_s:.0f} s"),
            balance_holds(counts, built.acknowledged),
            prove(built.endpoints),
        )
        yield from (target.judged(check.held, check.measured) for target, check in zip(wanted, checks, strict=True))


def kill_targets(ground: Ground) -> list[Target]:
    """One."""
    return [
        Target(
            "kill",
            f"exactly once under kill -9, {_kills(ground)} times",
            "0 missing, doubled, altered, out of order",
            "kill -9 of k2ctl consume, then k2ctl verify",
        )
    ]


def _kills(ground: Ground) -> int:
    return 20 if ground.full else 3


def measure_kills(ground: Ground, wanted: Sequence[Target]) -> Results:
    """Kill the consumer at random moments while load arrives; then compare what is acknowledged with what is stored."""
    chance, kills = random.Random(), _kills(ground)
    with stage(ground.profile, ground.engine, LIVE, Listener(ground.say)) as built, built.playing(_act("kill -9")):
        built.start_consumer()
        built.watch(lambda tick: bool(tick.overview.consumers), 30)
        built.start_load(built.plan(KILL_RATE, 7.0 * kills, duplicates=0.01))
        stored, in_the_middle = 0, True
        for number in range(kills):
            ground.say(f"kill -9, {number + 1} of {kills}")
            in_the_middle &= built.watch(partial(_has_stored_more, built, stored), AT_WORK_S)
            built.watch_for(chance.uniform(0.0, 2.5))
            stored = built.readings.counts().stored
            built.kill_consumer()
            built.start_consumer()
        ground.say("kill: the last consumer catches up")
        built.finish_load()
        built.watch(lambda tick: has_backfilled(built, tick), CLIMB_AT_MOST_S)
        check = prove(built.endpoints)
        measured = f"{check.measured}; {stored:,} stored at the last kill"
        measured += "" if in_the_middle else ", and not every kill hit a consumer at work"
        yield wanted[0].judged(check.held and in_the_middle, measured)


def _has_stored_more(built: Stage, than: int, _: Tick) -> bool:
    return built.readings.counts().stored > than


def _act(title: str) -> ActResult:
    return ActResult(Billing(0, title, "", ()))


LOAD: Final = Step("load", "load at exact rates, and the ramp", load_targets, measure_load, stack=True)
LADDER: Final = Step("ladder", "overload: five levels up and down", ladder_targets, measure_ladder, stack=True)
KILLS: Final = Step("kill", "exactly once under kill -9", kill_targets, measure_kills, stack=True)
