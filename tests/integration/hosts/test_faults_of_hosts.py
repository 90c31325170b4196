"""Brokers, hosts and services fail under load, for real: processes are killed, packets dropped. All is stored once."""

import logging
import time

import pytest

from tests.support.many_hosts import BROKERS, CONSUMERS, SERVICES, Load, Platform, assert_exactly_once
from tests.support.polling import until

pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.timeout(300)]

LOG = logging.getLogger("tests.hosts")
RATE = 1_000
LONG_S = 600
CUT_S = 60.0


@pytest.fixture
def load(platform: Platform) -> Load:
    """A load of a thousand trades a second, read by two consumers on each of two hosts."""
    running = Load(platform, RATE, LONG_S)
    for name in ("a-1", "a-2", "b-1", "b-2"):
        platform.start(name)
    for name in platform.members:
        platform.until_assigned(name)
    platform.until_read(platform.ends())
    return running


def report(what: str, seconds: float) -> None:
    LOG.info("%s: all goes on after %.1f s", what, seconds)


def group_of(platform: Platform) -> str:
    (line,) = {
        line.split("joining group ")[1].split()[0]
        for m in platform.members.values()
        for line in m.said().splitlines()
        if "joining group" in line
    }
    return line


def test_a_broker_is_killed_that_leads_the_group(platform: Platform, load: Load) -> None:
    kafka = platform.services.kafka
    assert set(map(frozenset, kafka.copies().values())) == {frozenset({3})}, kafka.copies()
    until(lambda: kafka.copies().keys() >= {platform.topic, "k2.commits", "k2.leases"}, 60, kafka.copies)
    assert {kafka.least_in_sync(topic) for topic in kafka.copies()} == {2}
    first = kafka.coordinator(group_of(platform))
    ends = platform.ends()
    kafka.kill(first)
    report(f"broker {first}, the coordinator, killed", platform.until_read({p: e + 20 for p, e in ends.items()}))
    kafka.start(first)
    kafka.until_whole()
    summary = assert_exactly_once(platform, load)
    assert summary["trades_failed"] == 0


@pytest.mark.parametrize(
    "from_what",
    ["everything", *(pytest.param(what, marks=pytest.mark.by_hand) for what in ("kafka", "catalog and store"))],
)
def test_a_host_of_consumers_is_cut_off(platform: Platform, load: Load, from_what: str) -> None:
    a, network = CONSUMERS[0], platform.services.network
    others = {"everything": None, "kafka": BROKERS, "catalog and store": [SERVICES]}[from_what]
    ends = platform.ends()
    network.cut(a, others)
    cut_s = time.monotonic()
    report(f"a host cut off from {from_what}", platform.until_read({p: e + 20 for p, e in ends.items()}))
    assert {member["name"] for member in platform.status(a)} == {"a-1", "a-2"}
    time.sleep(max(0.0, CUT_S - (time.monotonic() - cut_s)))
    reads = {member.name: member.said().count("reads on") for member in platform.of(a)}
    network.heal()
    healed_s = time.monotonic()
    until(lambda: all(m.said().count("reads on") > reads[m.name] for m in platform.of(a)), 90, platform.last_words)
    report(f"the host cut off from {from_what} healed", time.monotonic() - healed_s)
    assert [member.process.poll() for member in platform.members.values()] == [None] * 4
    assert_exactly_once(platform, load)


def test_a_host_of_consumers_dies(platform: Platform, load: Load) -> None:
    ends = platform.ends()
    platform.services.network[CONSUMERS[0]].kill()
    report("a host of consumers killed", platform.until_read({p: e + 20 for p, e in ends.items()}))
    assert_exactly_once(platform, load)


@pytest.mark.by_hand
def test_everything_is_restarted_one_after_the_other(platform: Platform, load: Load) -> None:
    services = platform.services
    for number in (1, 2, 3):
        services.kafka.stop(number)
        services.kafka.start(number)
        services.kafka.until_whole()
        report(f"broker {number} restarted", platform.until_read(platform.ends()))
    for name in ("a-1", "a-2", "b-1", "b-2"):
        member = platform.members[name]
        member.process.terminate()
        assert member.process.wait(30) == 0, member.said()
        platform.start(name)
        platform.until_assigned(name)
        report(f"consumer {name} restarted", platform.until_read(platform.ends()))
    services.redis.kill()
    services.redis.start()
    report("Redis restarted", platform.until_read(platform.ends()))
    services.postgres.restart(lambda: time.sleep(2))
    report("PostgreSQL restarted", platform.until_read(platform.ends()))
    services.store.stop()
    time.sleep(2)
    services.store.start()
    report("the store restarted", platform.until_read(platform.ends()))
    summary = assert_exactly_once(platform, load)
    assert summary["trades_failed"] == 0
