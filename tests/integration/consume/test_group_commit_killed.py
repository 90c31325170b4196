"""Eight consumers that commit together, two of which both commit for all: each is killed at each step, and stored once.

The lease is taken out of the way, so that there are always two committers: who has it is an optimisation.
"""

import signal
import time
from collections.abc import Iterator

import pytest

from k2ctl.endpoints import Endpoints
from tests.support.groups import AUTHOR_POINTS, COMMITTER_POINTS, PATIENCE_S, Fate, LoadedGroup
from tests.support.polling import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

COMMITTERS = ("committer-1", "committer-2")
AUTHORS = tuple(f"author-{number}" for number in range(1, 7))
HALF, OTHER_HALF = list(COMMITTER_POINTS)[::2], list(COMMITTER_POINTS)[1::2]
SUSPENDED_S = 8.0
"""Longer than Kafka waits for a member."""


@pytest.fixture
def group(endpoints: Endpoints, exchange: str) -> Iterator[LoadedGroup]:
    made = LoadedGroup(endpoints, exchange, partitions=8)
    yield made
    made.close()


def usual(name: str) -> Fate:
    return Fate(commits=name in COMMITTERS)


def die(group: LoadedGroup, name: str, point: str, call: int) -> None:
    """A member is replaced by one that dies on its way."""
    group.kill(name)
    group.start(name, Fate(point, call, commits=name in COMMITTERS))


@pytest.mark.parametrize("stack", [pytest.param("local", marks=pytest.mark.kafka)], indirect=True)
def test_two_committers_and_eight_consumers_killed_at_each_step_store_every_trade_once(group: LoadedGroup) -> None:
    for name in (*COMMITTERS, *AUTHORS):
        group.start(name, usual(name))
    group.until_shared(*COMMITTERS, *AUTHORS)
    for number, points in enumerate(zip(HALF, OTHER_HALF, strict=True)):
        dying = dict(zip(COMMITTERS, points, strict=True))
        dying |= {AUTHORS[at]: list(AUTHOR_POINTS)[at] for at in (number, (number + 3) % len(AUTHORS))}
        for name, point in dying.items():
            die(group, name, point, 1 + number % 3)
        for names in (COMMITTERS, dying.keys() - set(COMMITTERS)):
            # Neither committer is back before the other has died: it would leave it nothing to commit.
            for name in names:
                group.until_dead(name)
            for name in names:
                group.start(name, usual(name))
        group.until_all_move()
    for name in (COMMITTERS[0], AUTHORS[0]):  # two zombies
        group.signal(name, signal.SIGSTOP)
    time.sleep(SUSPENDED_S)
    for name in (COMMITTERS[0], AUTHORS[0]):
        group.signal(name, signal.SIGCONT)
    group.until_all_move()
    until(lambda: together(group) > 0, PATIENCE_S, group.statuses)
    group.finish()


def together(group: LoadedGroup) -> int:
    """Offers that the committers of now have committed."""
    return sum(status.group_commit.offers_committed for status in group.statuses().values())
