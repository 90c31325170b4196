"""Overload and violence, on the demo's stage: the ladder up and down on real lag, and kill -9 while trades arrive."""

import random
from collections.abc import Sequence
from typing import Final

from k2ctl.checks.validate.targets import Ground, Results, Step, Target
from k2ctl.checks.verify.proof import prove
from k2ctl.demo.checks import backfilled, balance_holds, ladder_climbed, ladder_descended
from k2ctl.demo.innovations import BUDGET, RATE, Seen, has_backfilled
from k2ctl.demo.pacing import Pacing
from k2ctl.demo.result import ActResult, Audience, Billing
from k2ctl.demo.stage import stage

LIVE: Final = Pacing()
"""The demo's own: a cooldown of 3 s, where production has 30."""

KILL_RATE: Final = 20_000
CLIMB_AT_MOST_S: Final = 120.0


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
    """A consumer held to a budget meets more than twice of it, until the intake closes; then all of it comes back."""
    with stage(ground.profile, ground.engine, LIVE, _Teller(ground)) as built, built.playing(_act("the ladder")):
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
    """Kill the consumer at random moments while load arrives; what was acknowledged is then held to what is there."""
    chance, kills = random.Random(), _kills(ground)
    with stage(ground.profile, ground.engine, LIVE, _Teller(ground)) as built, built.playing(_act("kill -9")):
        built.start_consumer()
        built.watch(lambda tick: bool(tick.overview.consumers), 30)
        built.start_load(built.plan(KILL_RATE, 7.0 * kills, duplicates=0.01))
        stored = 0
        for number in range(kills):
            ground.say(f"kill -9, {number + 1} of {kills}")
            built.watch_for(chance.uniform(2.0, 4.5))
            stored = built.readings.counts().stored
            built.kill_consumer()
            built.start_consumer()
        in_the_middle = built.loading and stored > 0
        ground.say("kill: the last consumer catches up")
        built.finish_load()
        built.watch(lambda tick: has_backfilled(built, tick), CLIMB_AT_MOST_S)
        check = prove(built.endpoints)
        measured = f"{check.measured}; {stored:,} stored at the last kill"
        measured += "" if in_the_middle else ", which did not hit a consumer at work"
        yield wanted[0].judged(check.held and in_the_middle, measured)


def _act(title: str) -> ActResult:
    return ActResult(Billing(0, title, "", ()))


class _Teller(Audience):
    """Passes on what the stage begins."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def step(self, text: str) -> None:
        self._ground.say(text)


LADDER: Final = Step("ladder", "overload: five levels up and down", ladder_targets, measure_ladder, stack=True)
KILLS: Final = Step("kill", "exactly once under kill -9", kill_targets, measure_kills, stack=True)
