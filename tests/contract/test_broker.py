"""What K2 relies on in a Kafka, the same for the embedded cluster and for Apache Kafka."""

import math
import os
import time
from dataclasses import replace

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from k2ctl.domain.topics import dead_letter_topic
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError
from k2ctl.kafka.admin import BrokerAdmin, Watermarks, make_topics
from k2ctl.kafka.clients import consumer_config, producer_config
from k2ctl.kafka.dead_letters import DeadLetter, DeadLetters
from k2ctl.kafka.group import GroupMember
from k2ctl.kafka.probe import round_trip
from k2ctl.kafka.producer import publish
from k2ctl.kafka.reader import BESIDE, Hole, Reader, read_between
from k2ctl.kafka.watermarks import LogEnds
from k2ctl.profiles import load_profile
from tests.made_trades import producer_of
from tests.support.polling import until

SENT_MS = time.time_ns() // 1_000_000 - 60_000
"""Of this day: Kafka deletes by these times, whenever it looks."""


@pytest.fixture
def topic(stack: Endpoints, exchange: str) -> str:
    """A topic of three partitions that no other test has."""
    name = f"contract.{exchange.lower()}"
    with BrokerAdmin(stack) as admin:
        assert admin.create_topic(name, 3)
    return name


def produce(stack: Endpoints, topic: str, count: int, partition: int = 0, **options: object) -> None:
    """`count` records whose values are their numbers."""
    producer = producer_of(stack)
    producer.list_topics(topic, timeout=10)
    for number in range(count):
        producer.produce(topic, str(number).encode(), partition=partition, **options)
    assert producer.flush(20) == 0


def read_everything(reader: Reader, count: int) -> list[bytes]:
    values: list[bytes] = []
    deadline = time.monotonic() + 20
    while len(values) < count and time.monotonic() < deadline:
        values += reader.fetch(count - len(values), 0.1).values
    return values


def test_a_topic_is_made_once_with_its_partitions(stack: Endpoints, topic: str) -> None:
    with BrokerAdmin(stack) as admin:
        assert admin.topics()[topic] == 3
        assert admin.create_topic(topic, 3) is False


def test_trades_are_kept_for_as_long_as_the_profile_says(local_stack: Endpoints, exchange: str) -> None:
    laptop = load_profile("laptop")
    market = laptop.market.model_copy(update={"exchange": exchange})
    topic = laptop.topic.model_copy(update={"retention_hours": 2.0})
    with BrokerAdmin(local_stack) as admin:
        trades, _ = make_topics(admin, laptop.model_copy(update={"market": market, "topic": topic}))
        assert admin.topics()[trades] == topic.partitions
        assert admin.retention_s(trades) == 7200


def test_a_topic_that_keeps_its_records_for_ever_says_so(local_stack: Endpoints, exchange: str) -> None:
    name = f"contract.{exchange.lower()}"
    with BrokerAdmin(local_stack) as admin:
        admin.create_topic(name, 1, {"retention.ms": "-1"})
        assert admin.retention_s(name) == math.inf


def test_the_embedded_broker_does_not_say_how_long_it_keeps_records(embedded_stack: Endpoints, exchange: str) -> None:
    name = f"contract.{exchange.lower()}"
    with BrokerAdmin(embedded_stack) as admin:
        admin.create_topic(name, 1)
        assert admin.retention_s(name) is None


def test_a_topic_that_was_made_is_there_at_once_with_all_its_partitions(stack: Endpoints, exchange: str) -> None:
    with BrokerAdmin(stack) as admin:
        for number in range(10):
            name = f"contract.{exchange.lower()}.{number}"
            assert admin.create_topic(name, 64)
            assert admin.topics()[name] == 64
            admin.delete_topic(name)


def test_a_deleted_topic_has_no_log(stack: Endpoints, topic: str) -> None:
    produce(stack, topic, 3)
    with BrokerAdmin(stack) as admin:
        admin.delete_topic(topic)
        until(lambda: topic not in admin.topics(), 10)
        with pytest.raises(BrokerError, match="no topic"):
            admin.watermarks(topic)


def test_records_come_back_in_the_order_of_their_offsets(stack: Endpoints, topic: str) -> None:
    produce(stack, topic, 1000, partition=1)
    with Reader(stack, topic, "contract") as reader:
        reader.assign({1: 0})
        assert read_everything(reader, 1000) == [str(number).encode() for number in range(1000)]
        assert reader.positions == {1: 1000}
        assert reader.high_watermarks() == {1: 1000}


def test_watermarks_are_those_of_every_partition(stack: Endpoints, topic: str) -> None:
    produce(stack, topic, 5, partition=2)
    with BrokerAdmin(stack) as admin:
        assert admin.watermarks(topic) == {0: Watermarks(0, 0), 1: Watermarks(0, 0), 2: Watermarks(0, 5)}


def test_the_ends_are_behind_whatever_was_acknowledged(stack: Endpoints, topic: str) -> None:
    ends = LogEnds(stack)
    assert ends.of(topic, range(3)) == (3, {0: 0, 1: 0, 2: 0})
    for count in range(1, 31):
        produce(stack, topic, 1, partition=count % 3)
        assert sum(ends.of(topic, range(3))[1].values()) == count
    assert ends.of(topic, [2]) == (3, {2: 10})
    assert ends.of("nowhere", [0]) == (0, {})


def test_the_ends_of_a_kafka_that_is_gone_are_an_error(stack: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k2ctl.kafka.watermarks.ANSWER_TIMEOUT_S", 1.0)
    with pytest.raises(BrokerError):
        LogEnds(replace(stack, bootstrap_servers="127.0.0.1:1")).of("t", [0])


def test_keys_headers_and_timestamps_are_kept(stack: Endpoints, topic: str) -> None:
    produce(stack, topic, 1, key="BHP", headers={"k2-reason": "why"}, timestamp=SENT_MS)
    consumer = Consumer(consumer_config(stack, **{"group.id": "contract"}))
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(20)
    assert message is not None
    assert (message.key(), message.headers(), message.timestamp()[1]) == (
        b"BHP",
        [("k2-reason", b"why")],
        SENT_MS,
    )
    consumer.close()


def test_what_a_record_has_beside_its_value_is_read_where_it_is_asked_for(stack: Endpoints, topic: str) -> None:
    produce(stack, topic, 2, key="BHP", headers={"venue": "ASX"}, timestamp=SENT_MS)
    produce(stack, topic, 1, partition=1, timestamp=SENT_MS + 1)
    fetched, _, _ = read_between(stack, topic, {0: (0, 2), 1: (0, 1)}, 20, 10, tuple(BESIDE))
    by_partition = {
        partition: {name: column[at] for name, column in fetched.beside.items()}
        for at, partition in enumerate(fetched.partition.tolist())
    }
    assert by_partition == {
        0: {"kafka_timestamp": SENT_MS, "kafka_key": b"BHP", "kafka_headers": [("venue", b"ASX")]},
        1: {"kafka_timestamp": SENT_MS + 1, "kafka_key": None, "kafka_headers": None},
    }
    assert read_between(stack, topic, {0: (0, 2)}, 20, 10)[0].beside == {}


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_round_trips(stack: Endpoints, topic: str, codec: str) -> None:
    producer = Producer(producer_config(stack, **{"compression.type": codec}))
    producer.produce(topic, b"x" * 10_000, partition=0)
    assert producer.flush(20) == 0
    fetched, _, _ = read_between(stack, topic, {0: (0, 1)}, 20, 10)
    assert fetched.values == [b"x" * 10_000]


def test_a_record_without_a_value_arrives_as_an_empty_one(stack: Endpoints, topic: str) -> None:
    producer = Producer(producer_config(stack))
    producer.produce(topic, None, key="gone", partition=0)
    assert producer.flush(20) == 0
    fetched, _, _ = read_between(stack, topic, {0: (0, 1)}, 20, 10)
    assert fetched.values == [b""]


def test_a_bounded_read_ends_at_its_end_and_says_how_far_it_came(stack: Endpoints, topic: str) -> None:
    produce(stack, topic, 100)
    fetched, reached, holes = read_between(stack, topic, {0: (10, 60), 1: (0, 0)}, 20, 1000)
    assert [int(value) for value in fetched.values] == list(range(10, 60))
    assert reached == {0: 60, 1: 0}
    assert holes == []
    _, reached, _ = read_between(stack, topic, {0: (10, 60)}, 20, 20)
    assert reached[0] < 60


def test_a_bounded_read_ends_behind_a_transaction_too(stack: Endpoints, topic: str) -> None:
    config = producer_config(stack, **{"enable.idempotence": True, "transactional.id": topic})
    producer = Producer(config)
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, b"paid", partition=0)
    producer.commit_transaction(20)
    with BrokerAdmin(stack) as admin:
        # The mark of its end comes a moment after the commit; the embedded cluster writes none.
        until(lambda: stack.engine == "embedded" or admin.watermarks(topic)[0].high == 2, 10)
        end = admin.watermarks(topic)[0].high
    started_s = time.monotonic()
    fetched, reached, holes = read_between(stack, topic, {0: (0, end)}, 20.0, 1000)
    assert fetched.values == [b"paid"]
    assert reached == {0: end}
    assert holes == []
    assert time.monotonic() - started_s < 10


def test_records_that_are_gone_are_a_hole_and_reading_goes_on_behind_it(stack: Endpoints, topic: str) -> None:
    produce(stack, topic, 50)
    with BrokerAdmin(stack) as admin:
        admin.delete_records(topic, {0: 20})
        assert admin.watermarks(topic)[0] == Watermarks(20, 50)
    with Reader(stack, topic, "contract") as reader:
        reader.assign({0: 5})
        assert [int(value) for value in read_everything(reader, 30)] == list(range(20, 50))
        assert reader.holes() == [Hole(0, 5, 20)]


def test_what_came_before_a_hole_is_not_part_of_it(stack: Endpoints, topic: str) -> None:
    """A record was fetched already when retention took what follows it: both are handed over at once."""
    for _ in range(10):
        produce(stack, topic, 1, key=os.urandom(900))  # a message set each, of which one is fetched at a time
    little = {"queued.min.messages": 1, "fetch.message.max.bytes": 1000}
    with Reader(stack, topic, "contract", **little) as reader, BrokerAdmin(stack) as admin:
        reader.assign({0: 0})
        read_everything(reader, 1)
        time.sleep(0.5)
        admin.delete_records(topic, {0: 8})
        fetched = reader.fetch(100, 3.0)
        after = 1 + len(fetched)
        assert 1 < after < 8
        assert fetched.offset.tolist() == list(range(1, after))
        assert reader.holes() == [Hole(0, after, 8)]
        assert len(read_everything(reader, 2)) == 2
        assert reader.positions == {0: 10}


def test_an_offset_past_the_log_is_another_kafka_and_never_read_silently(stack: Endpoints, topic: str) -> None:
    produce(stack, topic, 5)
    with Reader(stack, topic, "contract") as reader:
        reader.assign({0: 50})
        with pytest.raises(BrokerError, match="before offset 50"):
            read_everything(reader, 1)


def test_offsets_of_a_group_are_kept_and_seen_by_others(stack: Endpoints, topic: str) -> None:
    produce(stack, topic, 10)
    with Reader(stack, topic, "contract-group") as reader:
        reader.assign({0: 0})
        read_everything(reader, 10)
        reader.advise({0: 10}, {0: 4})
    with BrokerAdmin(stack) as admin:
        until(lambda: admin.committed(topic, "contract-group")[0] is not None, 10)
        assert admin.committed(topic, "contract-group") == {0: 10, 1: None, 2: None}
        assert admin.needed_from(topic, "contract-group") == {0: 4, 1: None, 2: None}


def test_an_epoch_stays_the_same_while_kafka_lives(stack: Endpoints, topic: str) -> None:
    with BrokerAdmin(stack) as first, BrokerAdmin(stack) as second:
        assert first.epoch(topic) == second.epoch(topic) != ""


def test_dead_letters_carry_reason_and_identity(stack: Endpoints, topic: str) -> None:
    with BrokerAdmin(stack) as admin:
        admin.create_topic(dead_letter_topic(topic), 1)
    DeadLetters(stack, topic, "epoch-1").publish([DeadLetter(2, 7, None, "empty value", b"raw")])
    consumer = Consumer(consumer_config(stack, **{"group.id": "contract"}))
    consumer.assign([TopicPartition(dead_letter_topic(topic), 0, 0)])
    message = consumer.poll(20)
    assert message is not None
    headers = dict(message.headers() or [])
    assert message.value() == b"raw"
    assert (headers["k2-reason"], headers["k2-partition"], headers["k2-offset"]) == (b"empty value", b"2", b"7")
    consumer.close()


@pytest.mark.parametrize("size", [2_000_000, 4_190_000])
def test_a_dead_letter_of_any_size_is_published(stack: Endpoints, topic: str, size: int) -> None:
    """Kafka takes records of 4 MiB; what cannot be copied whole is cut, and says so."""
    with BrokerAdmin(stack) as admin:
        admin.create_topic(dead_letter_topic(topic), 1)
    value = os.urandom(size)
    dead_letters = DeadLetters(stack, topic, "epoch-1")
    dead_letters.publish(
        [DeadLetter(2, 7, None, "not a trade", b"small"), DeadLetter(2, 8, None, "not a trade", value)]
    )
    consumer = Consumer(consumer_config(stack, **{"group.id": "contract"}))
    consumer.assign([TopicPartition(dead_letter_topic(topic), 0, 0)])
    messages = [consumer.poll(20), consumer.poll(20)]
    consumer.close()
    found = {dict(m.headers() or [])["k2-offset"]: m for m in messages if m is not None}
    assert found[b"7"].value() == b"small"
    kept, whole = found[b"8"].value() or b"", dict(found[b"8"].headers() or [])["k2-bytes"]
    assert whole == str(size).encode()
    assert value.startswith(kept)
    assert len(kept) >= 900_000


def test_published_records_are_acknowledged(stack: Endpoints, topic: str) -> None:
    publish(stack, topic, [("BHP", b"reference")])
    with BrokerAdmin(stack) as admin:
        assert sum(mark.high for mark in admin.watermarks(topic).values()) == 1


def test_published_records_that_are_refused_are_an_error(local_stack: Endpoints, exchange: str) -> None:
    topic = f"narrow.{exchange.lower()}"
    with BrokerAdmin(local_stack) as admin:
        admin.create_topic(topic, 1, {"max.message.bytes": "1000"})
    with pytest.raises(BrokerError, match=r"1 records of narrow.* were not acknowledged: .*too large"):
        publish(local_stack, topic, [("BHP", os.urandom(5000))])
    with pytest.raises(BrokerError, match="too large"):
        publish(local_stack, topic, [("BHP", os.urandom(2_000_000))])


def test_the_probe_makes_the_round_trip(stack: Endpoints) -> None:
    round_trip(stack, 20)


def test_a_probe_waits_for_nothing_but_kafka(stack: Endpoints) -> None:
    def seconds() -> float:
        started_s = time.monotonic()
        round_trip(stack, 20)
        return time.monotonic() - started_s

    round_trip(stack, 20)  # makes the topic
    assert min(seconds() for _ in range(5)) < 0.4


def test_a_kafka_that_is_not_there_is_reported_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k2ctl.kafka.admin.ANSWER_TIMEOUT_S", 1.0)
    nowhere = Endpoints("embedded", "127.0.0.1:1", "sqlite://", "")
    started_s = time.monotonic()
    with BrokerAdmin(nowhere) as admin, pytest.raises(BrokerError, match="Kafka request failed") as caught:
        admin.topics()
    assert "k2ctl stack status" in caught.value.hint
    assert time.monotonic() - started_s < 10


def test_an_unknown_topic_is_an_error_with_the_command_that_makes_it(stack: Endpoints, exchange: str) -> None:
    with BrokerAdmin(stack) as admin, pytest.raises(BrokerError, match="no topic") as caught:
        admin.watermarks(f"nothing.{exchange}")
    assert "k2ctl load" in caught.value.hint


def test_a_record_too_large_is_refused_where_it_is_made(stack: Endpoints, topic: str) -> None:
    producer = Producer(producer_config(stack))
    with pytest.raises(Exception, match=r"MSG_SIZE_TOO_LARGE|too large") as caught:
        producer.produce(topic, b"x" * 2_000_000, partition=0)
    assert caught.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_a_group_gives_every_partition_out_and_one_that_leaves_returns_its_own(stack: Endpoints, topic: str) -> None:
    """One member more than partitions: the one that got nothing takes over when another leaves."""
    with BrokerAdmin(stack) as admin:
        everything = frozenset(admin.watermarks(topic))
    members = [GroupMember(stack, topic, f"{topic}-group", "", lambda: None) for _ in range(len(everything) + 1)]

    def shared() -> bool:
        for member in members:
            member.poll()
        held = [p for member in members if member.settled for p in member.partitions]
        return sorted(held) == sorted(everything)

    def assigned() -> list[frozenset[int]]:
        return [frozenset(member.partitions) for member in members]

    until(lambda: shared() and all(member.settled for member in members), 40, assigned)
    busy = next(member for member in members if member.partitions)
    members.remove(busy)
    busy.close()
    until(lambda: shared() and all(member.partitions for member in members), 40, assigned)
    for member in members:
        member.close()
