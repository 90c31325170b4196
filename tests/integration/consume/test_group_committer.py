"""Several consumers commit together: their committer is killed, its topic deleted, and every trade is stored once."""

import signal
import time
from collections.abc import Iterator

import pytest

from k2ctl.domain.status_parts import GroupCommitStatus
from k2ctl.domain.topics import COMMITS
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from tests.support.groups import PATIENCE_S, Fate, Group
from tests.support.polling import until

MEMBERS = ("one", "two", "three")
STANDS_STILL_S = 0.6
"""Longer than two commits are apart, and shorter than an author waits for an answer."""


@pytest.fixture
def group(endpoints: Endpoints, exchange: str) -> Iterator[Group]:
    made = Group(endpoints, exchange)
    yield made
    made.close()


def figures(group: Group) -> dict[str, GroupCommitStatus]:
    return {name: status.group_commit for name, status in group.statuses().items()}


def committers(group: Group) -> list[str]:
    """Those that say that they commit for others."""
    return [name for name, found in figures(group).items() if found.is_committer]


def totals(group: Group) -> tuple[int, int, int]:
    """Commits for all, the offers in them, and offers that were committed by their authors."""
    found = figures(group).values()
    return (
        sum(one.group_commits for one in found),
        sum(one.offers_committed for one in found),
        sum(one.direct for one in found),
    )


def until_offers_are_committed(group: Group, count: int) -> tuple[int, int, int]:
    """Wait for so many more; returns by how much `totals` have grown."""
    before = totals(group)
    until(lambda: totals(group)[1] >= before[1] + count, PATIENCE_S, group.statuses)
    commits, offers, direct = (now - then for now, then in zip(totals(group), before, strict=True))
    return commits, offers, direct


def gathers_offers(group: Group) -> bool:
    """Let offers wait for a committer that stands still; whether it has then taken some of them together."""
    before, committer = totals(group), committers(group)[0]
    group.signal(committer, signal.SIGSTOP)
    time.sleep(STANDS_STILL_S)
    group.signal(committer, signal.SIGCONT)
    until(lambda: totals(group)[1] >= before[1] + 4, PATIENCE_S, group.statuses)
    commits, offers, _ = (now - then for now, then in zip(totals(group), before, strict=True))
    return offers > commits


@pytest.mark.parametrize(
    "stack", ["embedded", pytest.param("local", marks=[pytest.mark.kafka, pytest.mark.slow])], indirect=True
)
def test_consumers_commit_together_through_a_kill_of_their_committer_and_a_loss_of_its_topic(group: Group) -> None:
    for number in range(1, 4):
        group.start(MEMBERS[number - 1])
        group.until_shared(*MEMBERS[:number])
    until(lambda: committers(group), PATIENCE_S, group.statuses)
    # Few by themselves, and together what has come while the committer stood still.
    _, offers, direct = until_offers_are_committed(group, 30)
    assert direct <= offers / 10
    until(lambda: gathers_offers(group), PATIENCE_S, group.statuses)
    # The topic vanishes.
    with BrokerAdmin(group.endpoints) as admin:
        admin.delete_topic(COMMITS)
        group.until_all_move()
        until_offers_are_committed(group, 5)
        assert admin.topics()[COMMITS] >= 2
    # The committer is killed.
    killed = committers(group)[0]
    group.kill(killed)
    group.until_all_move()
    group.until_shared(*(name for name in MEMBERS if name != killed))
    until(lambda: committers(group), PATIENCE_S, group.statuses)
    until_offers_are_committed(group, 5)
    if group.endpoints.engine != "embedded":  # there the next one has the lease at once
        assert sum(found.direct for found in figures(group).values()), "they committed by themselves meanwhile"
    group.finish()


@pytest.mark.slow
@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
@pytest.mark.parametrize(
    "point",
    [
        "before it announces",
        "having announced",
        "before it loads the table",
        "after the catalog's swap",
        "having answered",
    ],
)
def test_members_that_die_at_a_point_of_a_group_commit_lose_and_double_nothing(group: Group, point: str) -> None:
    for name in MEMBERS[:2]:
        group.start(name, Fate(point, call=3))
    until(lambda: any(member.exitcode == -9 for member in group.members.values()), PATIENCE_S, group.statuses)
    for name in MEMBERS[:2]:
        group.kill(name)
    group.start("three")
    group.until_shared("three")
    group.until_all_move()
    group.start("one")
    group.until_shared("one", "three")
    until_offers_are_committed(group, 3)
    group.finish()
