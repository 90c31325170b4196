"""The benchmark of claims, made small, on a Redis of its own."""

from pathlib import Path

import pytest

from k2ctl.checks.bench import shared_dedup
from k2ctl.checks.bench.suite import Bench, Sizes
from k2ctl.home import Home
from k2ctl.profiles import load_profile
from k2ctl.stack.redis_server import private_redis

IDS = 60_000
"""Enough that each key has left the table behind from which it has grown: with fewer it counts for some, by chance."""


def test_it_claims_what_it_says_in_one_round_trip_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_dedup, "BATCH", 5_000)
    bench = Bench(load_profile("laptop"), "embedded", lambda _: None, Sizes(dedup=IDS))
    with private_redis(Home(tmp_path)) as url:
        figures = {figure.metric: figure for figure in shared_dedup._claims(bench, url)}
    assert figures["claims of new ids"].case == f"{IDS:,} ids claimed"
    assert figures["round trips of a batch"].value == 1
    assert 50 < figures["memory an id, of the keys"].value <= 90
