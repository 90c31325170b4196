"""Eight consumers that commit together, two of which both commit for all: each is killed at each step, and stored once.

The lease is taken out of the way, so that there are always two committers: who has it is an optimisation.
"""

import signal
import time
from collections.abc import Iterator

import pytest

from k2ctl.endpoints import Endpoints
from tests.support.groups import AUTHOR_POINTS, COMMITTER_POINTS, Fate, LoadedGroup

pytestmark = pytest.mark.slow

COMMITTERS = ("committer-1", "committer-2")
AUTHORS = tuple(f"author-{number}" for number in range(1, 7))
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
    for number, point in enumerate(COMMITTER_POINTS):
        committer, author = COMMITTERS[number % 2], AUTHORS[number % len(AUTHORS)]
        die(group, committer, point, 1 + number % 3)
        die(group, author, list(AUTHOR_POINTS)[number % len(AUTHOR_POINTS)], 1 + number % 2)
        for name in (committer, author):
            group.until_dead(name)
            group.start(name, usual(name))
        group.until_all_move()
    for name in (COMMITTERS[0], AUTHORS[0]):  # two zombies
        group.signal(name, signal.SIGSTOP)
    time.sleep(SUSPENDED_S)
    for name in (COMMITTERS[0], AUTHORS[0]):
        group.signal(name, signal.SIGCONT)
    group.until_all_move()
    statuses = group.statuses().values()
    group.finish()
    assert sum(status.group_commit.offers_committed for status in statuses) > 0
