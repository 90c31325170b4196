"""How probes are answered of a consumer: who waits is left alone, who is stuck is not."""

from dataclasses import dataclass

import pytest

from k2ctl.clock import ManualClock
from k2ctl.consume.health import FRESH_S, OPENS_WITHIN_S, STUCK_AFTER_S, ConsumerHealth
from k2ctl.consume.start import opened_within
from k2ctl.errors import BrokerError, BrokerUnanswered, LakeUnanswered
from tests.support.statuses import a_status


@dataclass
class Loop:
    is_opening: bool = False


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def health(clock: ManualClock) -> ConsumerHealth:
    return ConsumerHealth(clock)


def said(health: ConsumerHealth) -> tuple[bool, bool, str]:
    """Alive, ready, and why not."""
    return health.live().well, health.ready().well, health.ready().reason


def test_a_consumer_that_waits_for_kafka_at_its_start_lives_for_as_long_as_it_asks(
    health: ConsumerHealth, clock: ManualClock
) -> None:
    for _ in range(100):
        health.waits("Kafka does not answer")
        clock.advance(STUCK_AFTER_S / 2)
        assert said(health) == (True, False, "waiting: Kafka does not answer")
    clock.advance(OPENS_WITHIN_S)  # Kafka may have answered, and state be restored
    assert not health.live().well


def test_a_consumer_that_restores_state_lives_for_as_long_as_that_may_take(
    health: ConsumerHealth, clock: ManualClock
) -> None:
    clock.advance(OPENS_WITHIN_S - 1)
    assert said(health) == (True, False, "opening partitions and restoring state for 599 s")
    clock.advance(2)
    assert health.live().reason == "stuck: it has been opening for 601 s"


def test_partitions_that_are_opened_later_may_take_as_long(health: ConsumerHealth, clock: ManualClock) -> None:
    health.begins(loop := Loop())
    health.update(a_status(waiting=""))
    loop.is_opening = True
    clock.advance(STUCK_AFTER_S + 1)
    assert said(health)[:2] == (True, False)
    loop.is_opening = False
    assert health.live().reason == "stuck: its loop has stood for 151 s"


def test_a_consumer_that_goes_on_is_ready_unless_it_waits(health: ConsumerHealth, clock: ManualClock) -> None:
    health.begins(Loop())
    assert said(health) == (True, False, "waiting: its first pass")
    health.update(a_status(waiting="its group has assigned it no partitions for 3 s"))
    assert said(health) == (True, False, "waiting: its group has assigned it no partitions for 3 s")
    health.update(a_status(waiting=""))
    assert said(health) == (True, True, "ready")
    clock.advance(FRESH_S + 1)
    assert said(health) == (True, False, "its loop has stood for 11 s")
    clock.advance(STUCK_AFTER_S)
    assert not health.live().well


@pytest.mark.parametrize("error", [BrokerUnanswered("Kafka is away"), LakeUnanswered("the catalog is away")])
def test_what_does_not_answer_is_asked_again_until_the_patience_is_over(
    error: Exception, health: ConsumerHealth, clock: ManualClock
) -> None:
    asked: list[float] = []

    def open_() -> str:
        asked.append(clock.monotonic_s())
        if clock.monotonic_s() < 30:
            raise error
        return "opened"

    assert opened_within(open_, 60, health.waits, clock) == "opened"
    assert asked == [0, 1, 3, 7, 15, 25, 35]
    with pytest.raises(type(error)):
        opened_within(_raises(error), 60, health.waits, clock)
    with pytest.raises(type(error)):
        opened_within(_raises(error), 0, health.waits, clock)


def test_a_mistake_is_not_waited_for(health: ConsumerHealth, clock: ManualClock) -> None:
    with pytest.raises(BrokerError):
        opened_within(_raises(BrokerError("another Kafka")), 60, health.waits, clock)
    assert clock.monotonic_s() == 0


def _raises(error: Exception):  # type: ignore[no-untyped-def]
    def open_() -> None:
        raise error

    return open_
