"""Random ids, sent several times, through consumers that are killed: every trade is stored once.

The filters are made small on purpose, so that one new id in five is suspected, and the state is saved at every commit,
so that consumers start from it.
"""

import multiprocessing
import random
import signal
import threading
import time
import uuid
from multiprocessing.process import BaseProcess

import numpy as np
import pytest

from k2ctl.consume.consumer import Consumer, ConsumerPlan
from k2ctl.dedup import saved_state
from k2ctl.endpoints import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.side_folder import DedupFolder
from k2ctl.profiles import Profile
from tests.made_trades import ids_of, make_trades, produce_trades, stored_ids
from tests.support.consumers import has_uncommitted, killed_having_read
from tests.support.platforms import catch_up, empty_market

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["k2ctl.consume.consumer", "tests.made_trades"])
DAY_US = 86_400_000_000


@pytest.fixture
def platform(endpoints: Endpoints, exchange: str) -> tuple[Endpoints, Profile, str]:
    """An empty topic and table, and a profile whose filters err one time in five."""
    dedup = {"window_hours": 24, "ids_per_s": 1, "error_rate": 0.4, "chunk_ids": 300, "budget_mb": 64}
    return endpoints, *empty_market(endpoints, exchange, dedup=dedup)


def random_trades(rng: random.Random, count: int, start: int = 0) -> np.ndarray:
    """Trades of now, a tenth of them from the last two days, with random ids."""
    trades = make_trades(count, start)
    late = [rng.randrange(2 * DAY_US) if rng.random() < 0.1 else rng.randrange(1_000_000) for _ in range(count)]
    trades["event_ns"] = (time.time_ns() // 1000 - np.array(late)) * 1000
    ids = [uuid.UUID(int=rng.getrandbits(128), version=4).bytes for _ in range(count)]
    trades["message_id"] = np.array(ids, "V16")
    return trades


def consume(endpoints: Endpoints, profile: Profile) -> None:
    """A consumer's process; it saves at every commit."""
    saved_state.SAVE_EVERY_S = 0.0  # type: ignore[misc]
    Consumer(endpoints, ConsumerPlan(profile)).run(threading.Event())


def start(endpoints: Endpoints, profile: Profile) -> BaseProcess:
    process = CONTEXT.Process(target=consume, args=(endpoints, profile))
    process.start()
    return process


def test_random_ids_sent_again_are_stored_once_through_kills(platform: tuple[Endpoints, Profile, str]) -> None:
    endpoints, profile, topic = platform
    rng, fed = random.Random(4), np.zeros(0)
    sent = before_last_commit = 0
    for round_number in range(5):
        trades = random_trades(rng, 600, 600 * round_number)
        fed = trades if not len(fed) else np.concatenate([fed, trades])
        again = fed[np.array(rng.sample(range(len(fed)), 300))]
        batch = np.concatenate([trades, again, trades[:50]])
        produce_trades(endpoints, topic, batch, frame=7)
        sent += len(batch)
        process = killed_having_read(endpoints, profile, rng, 400)
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        before_last_commit += has_uncommitted(endpoints, topic)
    assert before_last_commit >= 3
    consumer = catch_up(endpoints, profile)
    assert stored_ids(endpoints) == ids_of(fed)
    counts = consumer.counts()
    assert (counts.seen, counts.stored, counts.duplicate) == (sent, len(fed), sent - len(fed))
    assert counts.balanced


def test_a_restart_loads_what_was_saved_and_knows_every_copy(platform: tuple[Endpoints, Profile, str]) -> None:
    endpoints, profile, topic = platform
    trades = random_trades(random.Random(5), 1000)
    produce_trades(endpoints, topic, trades)
    catch_up(endpoints, profile)
    produce_trades(endpoints, topic, trades)
    again = catch_up(endpoints, profile)
    assert again.assignment.restored_rows == 0, "nothing was stored since, so nothing is read from the table"
    assert again.assignment.remembered.dedup.stored == 1000
    assert stored_ids(endpoints) == ids_of(trades)


def test_damaged_state_is_made_again_from_the_table(platform: tuple[Endpoints, Profile, str]) -> None:
    endpoints, profile, topic = platform
    trades = random_trades(random.Random(6), 1000)
    produce_trades(endpoints, topic, trades)
    catch_up(endpoints, profile)
    with Lake.at(endpoints) as lake:
        folder, checkpoints = DedupFolder(lake.table()), checkpoints_of(lake.table())
        (index,) = folder.indexes(topic)
        assert index.sequence_number == checkpoints.sequence_number
        folder.delete([index.chunks[0].file])
    produce_trades(endpoints, topic, trades)
    again = catch_up(endpoints, profile)
    assert again.assignment.restored_rows > 900
    assert stored_ids(endpoints) == ids_of(trades)
