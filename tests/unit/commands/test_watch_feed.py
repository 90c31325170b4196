"""What the screen of `k2ctl watch` gets on threads: ticks, the time of a replay, and what is looked up beside them."""

import select
import threading
import time

import pytest

from k2ctl.commands.watch_feed import Pace, Refreshed, TickFeed, Wake
from k2ctl.domain.overview import Overview
from k2ctl.errors import BrokerError
from tests.support.polling import until


def test_ticks_come_in_their_order_and_an_end_is_known() -> None:
    feed = TickFeed(iter([Overview.of([], at_us=at) for at in (1, 2, 3)]), Wake())
    until(lambda: feed.ended)
    assert [tick.at_us for tick in feed.taken()] == [1, 2, 3]
    assert feed.taken() == []
    assert feed.close()


def test_what_goes_wrong_while_ticks_are_got_is_raised_where_they_are_taken() -> None:
    def broken():
        yield Overview.of([])
        raise BrokerError("Kafka refuses.", "")

    feed = TickFeed(broken(), Wake())
    until(lambda: feed.ended)
    with pytest.raises(BrokerError, match="refuses"):
        feed.taken()


def test_a_feed_that_nothing_comes_from_holds_nobody_up() -> None:
    silent = threading.Event()

    def ticks():
        silent.wait(20)
        yield Overview.of([])

    feed = TickFeed(ticks(), Wake())
    begun_s = time.monotonic()
    assert not feed.close()
    assert time.monotonic() - begun_s < 10
    silent.set()


def test_paused_time_is_no_time_of_a_replay_and_its_end_ends_every_wait() -> None:
    pace = Pace()
    pace.paused.set()
    waited = threading.Thread(target=pace.sleep, args=(0.01,))
    waited.start()
    waited.join(0.3)
    assert waited.is_alive()
    pace.paused.clear()
    waited.join(10)
    assert not waited.is_alive()
    pace.over.set()
    pace.sleep(1000.0)


def test_what_is_looked_up_stays_while_a_later_try_fails_and_says_why() -> None:
    answers = iter([1, BrokerError("Kafka does not answer.", "See: k2ctl stack status"), 2])

    def get() -> int:
        answer = next(answers)
        if isinstance(answer, BrokerError):
            raise answer
        return answer

    wake = Wake()
    kept = Refreshed(get, 0.0, wake)
    for value, trouble in [(1, ""), (1, "Kafka does not answer. See: k2ctl stack status"), (2, "")]:
        kept.want()
        until(lambda value=value, trouble=trouble: (kept.value, kept.trouble) == (value, trouble))


def test_many_wakings_are_one() -> None:
    wake = Wake()
    for _ in range(100_000):
        wake()
    assert select.select([wake], [], [], 0)[0]
    wake.clear()
    assert not select.select([wake], [], [], 0)[0]
