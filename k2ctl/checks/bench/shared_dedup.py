"""`k2ctl bench dedup --scope topic`: claims in a Redis of its own, and a backlog settled against one that is not."""

import time
from typing import Final

import numpy as np

from k2ctl.checks.bench.drain import require_all, through_k2ctl
from k2ctl.checks.bench.figures import Figure, against, measured
from k2ctl.checks.bench.suite import Bench, bench_stack, made_trades
from k2ctl.clock import SystemClock
from k2ctl.dedup.shared.claim_records import PART_IDS
from k2ctl.dedup.shared.claims import ClaimBatch, ClaimedPartition
from k2ctl.dedup.shared.plan import BYTES_PER_ID
from k2ctl.dedup.shared.redis_claims import RedisClaims
from k2ctl.domain.checkpoint import TopicPartition
from k2ctl.endpoints import Endpoints
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.producer import BatchProducer
from k2ctl.profiles import Profile
from k2ctl.stack.redis_server import private_redis

BATCH: Final = 50_000
"""Ids of one commit."""
IDS_A_SECOND: Final = 20_000
"""By the trades' own times."""
IDS_GOAL: Final = 150_000.0
CONSUME_GOAL: Final = 0.5
FRAME: Final = 100
MOST_IDS: Final = 10_000_000


def bench_shared(bench: Bench) -> list[Figure]:
    """What a claim costs, then what claims cost a consumer, beside one that reads the same without them."""
    with Home.of_user().temporary("bench-") as home, private_redis(home) as url:
        figures = _claims(bench, url)
        with bench_stack(bench.engine, bench.even) as endpoints:
            return [*figures, _consumed(bench, endpoints, url)]


def _claims(bench: Bench, url: str) -> list[Figure]:
    """A fill of random ids, claimed batch by batch and then claimed again by another, and what Redis has of them."""
    count = min(bench.sizes.dedup, MOST_IDS) // BATCH * BATCH
    case, bench_name = f"{count:,} ids claimed", "dedup"
    store = RedisClaims(url, "k2:{bench:topic}", 3600, timeout_s=5.0)
    batch = ClaimBatch("bench", (ClaimedPartition(TopicPartition("t", "e", 0), "c"),))
    rng, now_us = np.random.default_rng(1), SystemClock().now_us()
    places = np.zeros(BATCH, np.uint16)
    before, rates = _used(store), [list[float](), list[float]()]
    store.covered()  # connects
    asked = store.round_trips
    for at in range(0, count, BATCH):
        if at % (10 * BATCH) == 0:
            bench.say(f"dedup: {at:,} of {count:,} ids claimed")
        ids, times_us = np.frombuffer(rng.bytes(16 * BATCH), "V16"), now_us + (at + np.arange(BATCH)) * 50
        for spent in rates:
            started_s = time.perf_counter()
            store.claim(batch, ids, times_us, places)
            spent.append(BATCH / (time.perf_counter() - started_s))
    trips = (store.round_trips - asked) / (2 * count / BATCH)
    slowest_ms = 1000 * PART_IDS / min(rates[0] + rates[1])
    found, used = store.statistics(), (_used(store) - before) / count
    store.close()
    return [
        measured(bench_name, case, "claims of new ids", rates[0], "ids/s", IDS_GOAL),
        measured(bench_name, case, "claims that another has", rates[1], "ids/s", IDS_GOAL),
        Figure(bench_name, case, "round trips of a batch", trips, "calls", goal=1.0, at_most=True),
        Figure(bench_name, case, "memory an id, of the keys", found.bytes_per_id, "bytes"),
        Figure(bench_name, case, "memory an id, of Redis", used, "bytes", goal=float(BYTES_PER_ID), at_most=True),
        Figure(bench_name, case, "one script, of the slowest batch", slowest_ms, "ms", goal=50.0, at_most=True),
    ]


def _used(store: RedisClaims) -> int:
    return int(str(store.server()["used_memory"]))


def _consumed(bench: Bench, endpoints: Endpoints, url: str) -> Figure:
    """A backlog into committed rows, with claims and without."""

    def once() -> list[float]:
        return [_drained(bench, endpoints, url, scope) for scope in ("topic", "partition")]

    count = bench.sizes.drain
    ours, without = bench.repeated(once, f"dedup: {count:,} trades, with claims and without")
    case = f"{count:,} trades, scope topic"
    return against("dedup", case, "to committed rows, against scope partition", ours, "trades/s", without, CONSUME_GOAL)


def _drained(bench: Bench, kafka: Endpoints, url: str, scope: str) -> float:
    """Trades a second.

    Raises:
        CheckFailed: not every trade was stored, so that the rate means nothing.
    """
    lake, profile, count = bench.fresh_lake(kafka), _with_scope(bench.unused_profile(), scope), bench.sizes.drain
    topic = profile.trades_topic
    trades, per_partition = made_trades(profile, count)
    with BrokerAdmin(kafka) as admin:
        admin.create_topic(topic, len(per_partition))
        BatchProducer(kafka, topic, FRAME).send_all(trades, per_partition)
        del trades
        spent = through_k2ctl(lake, profile, state=url)
        require_all(spent.trades, count, "The consumer", "dedup --scope topic")
        admin.delete_topic(topic)
    return count / spent.seconds


def _with_scope(profile: Profile, scope: str) -> Profile:
    dedup = profile.consumer.dedup.model_copy(update={"scope": scope})
    return profile.model_copy(update={"consumer": profile.consumer.model_copy(update={"dedup": dedup})})
