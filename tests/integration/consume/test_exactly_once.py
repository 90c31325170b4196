"""Consumers that are killed, put to sleep and replaced: nothing missing, nothing twice.

Consumers run in processes forked from a warmed server (multiprocessing's forkserver), so that a hundred of them
fit into the time. A test kills them at a named point by wrapping that function in the child; the program itself
knows nothing of it.
"""

import os
import random
import signal
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import numpy as np
import pytest

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.domain.decimals import of_int
from k2ctl.domain.json_trade import encode_json
from k2ctl.domain.topics import REFERENCE_TABLE, dead_letter_topic
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.dead_letters import DeadLetter, DeadLetters
from k2ctl.lake.catalog import Lake
from k2ctl.load.generator import prepare_topics
from k2ctl.load.plan import plan_load
from k2ctl.profiles import Profile
from tests.made_trades import (
    PARTITIONS,
    ids_of,
    make_trades,
    produce_trades,
    produce_values,
    stored_ids,
    varied_trades,
)
from tests.support.consumers import (
    POINTS,
    assert_exact,
    has_uncommitted,
    killed_having_read,
    start,
    stopped_having_read,
)
from tests.support.platforms import catch_up
from tests.support.polling import until

MOST_READ = 200
"""Of 421 trades and records that a round feeds, so that a kill leaves some uncommitted."""


def feed(endpoints: Endpoints, topic: str, start_number: int, count: int, *, damaged: bool = True) -> np.ndarray:
    """New trades and events, some of them sent twice, and one record that cannot be decoded."""
    trades = varied_trades(count, start_number)
    produce_trades(endpoints, topic, trades)
    produce_trades(endpoints, topic, trades[:20])
    if damaged:
        produce_values(endpoints, topic, [(0, b"not a trade")])
    return trades


def kill_and_check(
    platform: tuple[Endpoints, Profile, str], kills: int, kill: Callable[[int], BaseProcess], seed: int
) -> int:
    """Feed, kill, feed, kill …; then let one consumer finish, and check.

    Returns how many were killed before their last commit.
    """
    endpoints, _, topic = platform
    fed, before_last_commit = [], 0
    for round_number in range(kills):
        fed.append(feed(endpoints, topic, round_number * 400, 400))
        process = kill(round_number)
        process.join(60)
        assert process.exitcode == -signal.SIGKILL, f"round {round_number}, seed {seed}: exit {process.exitcode}"
        before_last_commit += has_uncommitted(endpoints, topic)
    finishing = start(endpoints, platform[1])
    finishing.join(60)
    assert finishing.exitcode == 0
    assert assert_exact(endpoints, topic, np.concatenate(fed), undecodable=kills) == 20 * kills
    return before_last_commit


@pytest.mark.parametrize(
    "stack", ["embedded", pytest.param("local", marks=[pytest.mark.kafka, pytest.mark.slow])], indirect=True
)
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point_of_the_commit(platform: tuple[Endpoints, Profile, str], point: str) -> None:
    endpoints, profile, _ = platform
    kill_and_check(platform, 2, lambda n: start(endpoints, profile, point, call=1, caught_up=bool(n % 2)), seed=0)


def test_killed_at_random_moments_between_the_first_read_and_the_last_commit(
    platform: tuple[Endpoints, Profile, str],
) -> None:
    endpoints, profile, _ = platform
    rng = random.Random(1)
    met = kill_and_check(platform, 8, lambda _: killed_having_read(endpoints, profile, rng, MOST_READ), seed=1)
    assert met >= 5


@pytest.mark.by_hand
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_a_hundred_times(platform: tuple[Endpoints, Profile, str]) -> None:
    endpoints, profile, _ = platform
    rng = random.Random(2)
    points = list(POINTS)

    def kill(round_number: int) -> BaseProcess:
        if round_number % 2:
            return killed_having_read(endpoints, profile, rng, MOST_READ)
        return start(endpoints, profile, points[(round_number // 2) % len(points)], call=1, caught_up=False)

    assert kill_and_check(platform, 100, kill, seed=2) >= 50


def test_a_zombie_stores_nothing_twice(platform: tuple[Endpoints, Profile, str]) -> None:
    """One consumer is stopped with rows in its hands, another takes over, and the first wakes up."""
    endpoints, profile, topic = platform
    fed = [feed(endpoints, topic, 0, 2000, damaged=False)]
    slow = profile.model_copy(
        update={"consumer": profile.consumer.model_copy(update={"commit_interval_s": 3.0, "commit_rows": 10_000_000})}
    )
    zombie = stopped_having_read(endpoints, slow, 200)
    assert stored_ids(endpoints) == []
    other = start(endpoints, profile)
    other.join(60)
    assert other.exitcode == 0
    assert_exact(endpoints, topic, fed[0])
    os.kill(zombie.pid or 0, signal.SIGCONT)
    zombie.join(60)
    assert zombie.exitcode not in (0, None), "a zombie that finds itself replaced must say so"
    assert_exact(endpoints, topic, fed[0])


def test_two_consumers_of_the_same_partitions_store_every_trade_once(
    platform: tuple[Endpoints, Profile, str],
) -> None:
    endpoints, profile, topic = platform
    fed = feed(endpoints, topic, 0, 3000, damaged=False)
    both = [start(endpoints, profile) for _ in range(2)]
    for process in both:
        process.join(60)
    assert 0 in {process.exitcode for process in both}
    assert_exact(endpoints, topic, fed)


def test_what_cannot_be_decoded_is_in_the_dead_letter_topic_with_its_identity(
    platform: tuple[Endpoints, Profile, str],
) -> None:
    endpoints, profile, topic = platform
    good = make_trades(6)
    bad = make_trades(2, start=100)
    bad["symbol"][0] = "BÉ".encode("latin-1")
    bad["price"][1] = of_int(-5)
    mixed = np.concatenate([good[:3], bad, good[3:]])
    produce_values(endpoints, topic, [(1, b""), (1, mixed.tobytes()), (1, os.urandom(50)), (2, b"x" * 2000)])
    consumer = catch_up(endpoints, profile)
    counts = consumer.counts()
    assert stored_ids(endpoints) == ids_of(good)
    assert (counts.stored, counts.dead_lettered, counts.undecodable) == (6, 2, 3)
    assert counts.balanced
    found = dead_letters(endpoints, topic)
    assert {(one["k2-partition"], one["k2-offset"], one["k2-index"]) for one in found} == {
        ("1", "0", ""), ("1", "2", ""), ("2", "0", ""), ("1", "1", "3"), ("1", "1", "4"),
    }  # fmt: skip
    negative = "price is -0.000000000005, negative, which its asset class has not"
    assert {"empty value", negative} <= {x["k2-reason"] for x in found}


@pytest.mark.parametrize(("usual_s", "least"), [(0.0, 1000), (1000.0, 500)], ids=["it-stands-still", "as-usual"])
def test_what_is_read_while_a_commit_is_under_way_is_not_heaped_up(
    platform: tuple[Endpoints, Profile, str], monkeypatch: pytest.MonkeyPatch, usual_s: float, least: int
) -> None:
    endpoints, profile, topic = platform
    profile = profile.model_copy(
        update={"consumer": profile.consumer.model_copy(update={"pending_limit_rows": 1000, "commit_rows": 500})}
    )
    produce_values(endpoints, topic, [(number % PARTITIONS, b"not a trade") for number in range(10_000)])
    monkeypatch.setattr("k2ctl.consume.processing.BATCH_TRADES", 200)
    monkeypatch.setattr("k2ctl.consume.assignment.lag_window_s", lambda _: usual_s)
    taken, publish, held = threading.Event(), DeadLetters.publish, [0]

    def slow(dead_letters: DeadLetters, batch: list[DeadLetter]) -> None:
        assert taken.wait(30)
        publish(dead_letters, batch)

    monkeypatch.setattr(DeadLetters, "publish", slow)
    consumer = Consumer(endpoints, ConsumerPlan(profile, until_caught_up=True))

    def look() -> None:
        held.append(consumer.assignment._pending.held)
        if held.count(max(least, max(held))) > 100:
            taken.set()

    consumer.run(threading.Event(), look)
    assert least <= max(held) <= least + 400
    assert consumer.counts().undecodable == 10_000


def test_a_json_topic_is_stored_like_any_other(platform: tuple[Endpoints, Profile, str]) -> None:
    endpoints, profile, topic = platform
    profile = profile.model_copy(update={"topic": profile.topic.model_copy(update={"format": "json"})})
    trades = make_trades(300)
    values = encode_json(trades[:100], 1) + encode_json(trades[100:], 7)
    produce_values(endpoints, topic, [(1, value) for value in [*values, b'{"symbol": 7}', b"\x00\x01"]])
    catch_up(endpoints, profile)
    assert_exact(endpoints, topic, trades, undecodable=1)
    reasons = {x["k2-reason"] for x in dead_letters(endpoints, topic)}
    assert "exchange is missing" in reasons


def test_reference_data_is_joined_and_has_a_table_of_its_own(platform: tuple[Endpoints, Profile, str]) -> None:
    endpoints, profile, topic = platform
    trades = make_trades(40)
    trades["symbol"][:20] = b"BHP"
    produce_values(endpoints, topic, [(0, trades.tobytes())])
    prepare_topics(plan_load(profile), endpoints)
    catch_up(endpoints, profile)
    with Lake.at(endpoints) as lake:
        stored = lake.table().scan(selected_fields=("symbol", "sector", "enriched")).to_arrow()
        reference = lake.catalog.load_table(REFERENCE_TABLE).scan().to_arrow()
    assert len(reference) == profile.market.symbols
    assert {row["symbol"]: (row["sector"], row["enriched"]) for row in stored.to_pylist()}["BHP"] == ("Materials", True)


def dead_letters(endpoints: Endpoints, topic: str) -> list[dict[str, str]]:
    """The headers of every dead letter."""
    from confluent_kafka import Consumer as KafkaConsumer
    from confluent_kafka import TopicPartition

    from k2ctl.kafka.clients import consumer_config

    name = dead_letter_topic(topic)
    with BrokerAdmin(endpoints) as admin:
        high = admin.watermarks(name)[0].high
    reader = KafkaConsumer(consumer_config(endpoints, **{"group.id": "dead letters"}))
    reader.assign([TopicPartition(name, 0, 0)])
    found = []
    while len(found) < high:
        for message in reader.consume(high - len(found), 5.0):
            headers = message.headers() or []
            found.append({key: (value or b"").decode() for key, value in dict(headers).items()})
    reader.close()
    return found


def test_offsets_that_retention_deleted_unread_are_counted_as_lost(
    platform: tuple[Endpoints, Profile, str],
) -> None:
    endpoints, profile, topic = platform
    produce_trades(endpoints, topic, make_trades(400))
    catch_up(endpoints, profile)
    produce_trades(endpoints, topic, make_trades(400, start=400))
    with BrokerAdmin(endpoints) as admin:
        admin.delete_records(topic, {2: 150})
    produce_trades(endpoints, topic, make_trades(40, start=800))
    consumer = catch_up(endpoints, profile)
    counts = consumer.counts()
    assert (counts.seen, counts.lost, counts.stored) == (840, 50, 790)
    assert counts.balanced
    assert consumer.assignment.remembered.sequence.missing_trades == 50


def test_a_kafka_that_was_wiped_is_recognised(platform: tuple[Endpoints, Profile, str]) -> None:
    from k2ctl.errors import BrokerError

    endpoints, profile, topic = platform
    first = make_trades(100)
    produce_trades(endpoints, topic, first)
    catch_up(endpoints, profile)
    with BrokerAdmin(endpoints) as admin:
        admin.delete_topic(topic)
        until(lambda: topic not in admin.topics(), 10)
        admin.create_topic(topic, PARTITIONS)
    # On the embedded engine a new topic is no new epoch, so the log's end gives it away there.
    with pytest.raises(BrokerError) as raised:
        Consumer(endpoints, ConsumerPlan(profile, until_caught_up=True))
    assert "wiped" in f"{raised.value} {raised.value.hint}"
    second = make_trades(40, start=100)
    produce_trades(endpoints, topic, second)
    catch_up(endpoints, profile, rebase=True)
    assert stored_ids(endpoints) == ids_of(np.concatenate([first, second]))
