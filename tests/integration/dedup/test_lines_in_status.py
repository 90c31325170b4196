"""Two topics of one market into one table: consumers store each trade once, and say which line had it first."""

import time

import numpy as np
import pytest

from k2ctl.endpoints import Endpoints
from k2ctl.profiles import Profile
from tests.made_trades import make_trades, produce_trades
from tests.support.platforms import catch_up, empty_market
from tests.support.redis_server import RedisServer
from tests.support.spread import shared_dedup, times_stored


def with_lines(profile: Profile, lines: dict[str, str]) -> Profile:
    return profile.model_copy(update={"topic": profile.topic.model_copy(update={"lines": lines})})


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_each_line_says_what_it_stored_what_others_had_and_how_far_it_is_behind(
    endpoints: Endpoints, exchange: str, redis_server: RedisServer
) -> None:
    (one, a), (two, b) = (empty_market(endpoints, f"{exchange}{end}", dedup=shared_dedup("feeds")) for end in "ab")
    lines = {"A": a, "B": b}
    trades = make_trades(1000)
    trades["event_ns"] += (time.time_ns() - 60 * 10**9 - int(trades["event_ns"][-1])) // 1000 * 1000
    trades["received_ns"] = trades["event_ns"]
    later = trades.copy()
    later["received_ns"] += np.where(np.arange(1000) < 700, 20_000, -5_000_000)
    produce_trades(endpoints, a, trades[:900])
    produce_trades(endpoints, b, later[100:])
    first = catch_up(endpoints, with_lines(one, lines), state=redis_server.url)
    second = catch_up(endpoints, with_lines(two, lines), state=redis_server.url)
    of_a, of_b = (consumer.assignment.remembered.dedup.tier.lines for consumer in (first, second))
    assert (of_a["A"].trades, of_a["A"].copies) == (900, 0)
    # Of 900 trades on B 800 are on A: 600 came 20 µs later, 200 of them 5 ms earlier.
    assert (of_b["B"].trades, of_b["B"].copies, of_b["B"].first) == (900, 800, 200)
    assert of_b["B"].skew.counts[1] == 600
    assert (of_b["A"].trades, of_b["A"].first, of_b["A"].skew.quantile_s(0.5)) == (0, 600, 0.01)
    stored = times_stored(endpoints)
    assert (len(stored), max(stored.values())) == (1000, 1)
