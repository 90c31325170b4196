"""JSON records, one in a hundred broken in every way: each good one stored once, each bad one a dead letter."""

import os
import random
import resource
import threading
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import Producer, TopicPartition

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.domain.topics import dead_letter_topic
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.clients import consumer_config, producer_config
from k2ctl.lake.catalog import Lake
from k2ctl.profiles import Profile
from tests.made_trades import quick_profile
from tests.support.broken_json import BROKEN, FEED, LARGE, LARGE_ONES, ODD, Message, large, message, plain
from tests.support.consumers import CONTEXT, start
from tests.support.platforms import market_of_its_own

MOST_MB = 1_200
"""Of a consumer that reads them all."""

KILLED_AT = (
    "after the dead letters are acknowledged",
    "after the data files are written",
    "between metadata and catalog",
)


@dataclass
class Sent:
    """What was sent to a topic."""

    # The numbers of the good trades.
    good: list[int] = field(default_factory=list)
    # By partition and offset, what the reason of a dead letter says.
    reasons: dict[tuple[int, int], str] = field(default_factory=dict)


def send(endpoints: Endpoints, topic: str, partitions: int, count: int) -> Sent:
    """So many records, one in a hundred broken and as many odd; large ones in partitions of their own."""
    rng, sent, next_offset = random.Random(7), Sent(), [0] * partitions
    producer = Producer(producer_config(endpoints, **{"message.max.bytes": 2 * LARGE}))

    def produce(partition: int, value: bytes, number: int, reason: str = "") -> None:
        if reason:
            sent.reasons[partition, next_offset[partition]] = reason
        else:
            sent.good.append(number)
        next_offset[partition] += 1
        while True:
            try:
                return producer.produce(topic, value, partition=partition)
            except BufferError:
                producer.poll(0.1)

    broken, odd = list(BROKEN.values()), list(ODD.values())
    for number in range(count):
        partition, of_hundred = rng.randrange(partitions - 3), number % 100
        if of_hundred == 50:
            one = broken[number // 100 % len(broken)]
            produce(partition, one.write(message(number)), number, one.reason)
        elif of_hundred == 51:
            produce(partition, odd[number // 100 % len(odd)](message(number)), number)
        else:
            produce(partition, plain(message(number)), number)
    for at, one in enumerate(LARGE_ONES.values()):
        produce(partitions - 3 + at, one.write(message(count + at)), count + at, one.reason)
    produce(partitions - 1, large(message(count + 9)), count + 9)
    several: list[Message] = [message(count + 10 + at) for at in range(3)]
    produce(0, b"[" + b" , ".join(map(plain, several)) + b"]", count + 10)
    produce(1, b"\n".join(plain({**one, "t": one["t"] + 3}) for one in several), count + 13)
    sent.good += [count + 11, count + 12, count + 14, count + 15]
    assert producer.flush(60) == 0
    return sent


def measured(endpoints: Endpoints, profile: Profile, result: Path) -> None:
    """A consumer's process that reads all there is and says what it needed, in megabytes."""
    os.environ["K2CTL_HOME"] = str(Path(endpoints.warehouse.removeprefix("file://")).parent)
    consumer = Consumer(endpoints, ConsumerPlan(profile, until_caught_up=True))
    consumer.run(threading.Event())
    counts = consumer.counts()
    most_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    result.write_text(f"{most_mb} {counts.stored} {counts.dead_lettered + counts.undecodable} {counts.balanced}")


def read_all(endpoints: Endpoints, profile: Profile, result: Path) -> list[str]:
    process = CONTEXT.Process(target=measured, args=(endpoints, profile, result))
    process.start()
    process.join(600)
    assert process.exitcode == 0
    return result.read_text().split()


def killed(endpoints: Endpoints, profile: Profile, point: str) -> BaseProcess:
    process = start(endpoints, profile, point, caught_up=False)
    process.join(120)
    assert process.exitcode == -9
    return process


def numbers_stored(endpoints: Endpoints) -> list[int]:
    with Lake.at(endpoints) as lake:
        found: list[int] = lake.table().scan(selected_fields=("trade_id",)).to_arrow()["trade_id"].to_pylist()
    return sorted(found)


def unexplained(endpoints: Endpoints, topic: str, sent: Sent) -> dict[str, str]:
    """What was expected of a dead letter → its reason, of those whose reason says something else; all are there."""
    found: dict[tuple[int, int], str] = {}
    name, read = dead_letter_topic(topic), 0
    with BrokerAdmin(endpoints) as admin:
        high = admin.watermarks(name)[0].high
    reader = KafkaConsumer(consumer_config(endpoints, **{"group.id": "dead letters"}))
    reader.assign([TopicPartition(name, 0, 0)])
    while read < high:
        for record in reader.consume(high - read, 5.0):
            assert record.error() is None
            headers = {key: (value or b"").decode() for key, value in record.headers() or []}
            found[int(headers["k2-partition"]), int(headers["k2-offset"])] = headers["k2-reason"]
            read = (record.offset() or 0) + 1
    reader.close()
    assert found.keys() == sent.reasons.keys()
    return {reason: found[at] for at, reason in sent.reasons.items() if reason not in found[at]}


@pytest.mark.parametrize(
    ("stack", "count"),
    [
        ("embedded", 12_000),
        pytest.param("local", 1_000_000, marks=[pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1200)]),
    ],
    indirect=["stack"],
)
def test_of_broken_records_the_good_are_stored_once_though_the_consumer_is_killed_three_times(
    endpoints: Endpoints, exchange: str, count: int, tmp_path: Path
) -> None:
    profile, topic = market_of_its_own(quick_profile(), exchange)
    profile = profile.model_copy(update={"topic": profile.topic.model_copy(update={"feed": FEED})})
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, profile.topic.partitions, {"max.message.bytes": str(2 * LARGE)})
    sent = send(endpoints, topic, profile.topic.partitions, count)
    for point in KILLED_AT:
        killed(endpoints, profile, point)
    most_mb, *counts = read_all(endpoints, profile, tmp_path / "result")
    assert numbers_stored(endpoints) == sorted(sent.good)
    assert unexplained(endpoints, topic, sent) == {}
    assert counts == [str(len(sent.good)), str(len(sent.reasons)), "True"]
    assert int(most_mb) < MOST_MB
