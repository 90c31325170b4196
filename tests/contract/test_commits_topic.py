"""The topic of announcements and answers, on the embedded cluster and on Apache Kafka: records go through, and it may
vanish."""

import time
import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from k2ctl.clock import SystemClock
from k2ctl.domain.topics import COMMITS
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.clients import producer_config
from k2ctl.kafka.commits import ANNOUNCEMENTS, ANSWERS, SHORT_REST_S, CommitReader, CommitSender, make_commits_topic

LARGE = b"x" * 200_000


@pytest.fixture
def table() -> str:
    """The uuid of a table that no other test has."""
    return str(uuid.uuid4())


@pytest.fixture
def sender(stack: Endpoints) -> Iterator[CommitSender]:
    made = CommitSender(stack)
    yield made
    made.close()


@pytest.fixture
def reader(stack: Endpoints, table: str) -> Iterator[CommitReader]:
    made = CommitReader(stack, ANNOUNCEMENTS, table, SystemClock())
    yield made
    made.close()


def received(reader: CommitReader, count: int, within_s: float = 20.0) -> list[bytes]:
    """So many records, or those that come in time; after an error a reader begins again."""
    found, until_s = list[bytes](), time.monotonic() + within_s
    while len(found) < count and time.monotonic() < until_s:
        try:
            found += reader.fetch(0.1)
        except BrokerError:
            with suppress(BrokerError):
                reader.begin(30.0)
    return found


def test_records_as_large_as_they_may_be_come_in_their_order(
    sender: CommitSender, reader: CommitReader, table: str
) -> None:
    records = [b"%d" % number + LARGE for number in range(8)]
    reader.begin()
    sender.send(ANNOUNCEMENTS, table, records, 10.0)
    assert received(reader, 8) == records


def test_a_topic_that_was_just_made_has_no_leader_for_a_moment(
    reader: CommitReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.NOT_LEADER_FOR_PARTITION]

    class Early(Consumer):
        def get_watermark_offsets(self, *asked: object, **how: object) -> tuple[int, int]:
            if answers:
                raise KafkaException(KafkaError(answers.pop()))
            found: tuple[int, int] = super().get_watermark_offsets(*asked, **how)
            return found

    monkeypatch.setattr("k2ctl.kafka.commits.Consumer", Early)
    reader.begin()
    assert not answers


def test_who_begins_reads_what_comes_and_who_looks_back_what_came(
    sender: CommitSender, reader: CommitReader, table: str
) -> None:
    sender.send(ANNOUNCEMENTS, table, [b"before"], 10.0)
    sender.send(ANSWERS, table, [b"an answer"], 10.0)
    reader.begin()
    sender.send(ANNOUNCEMENTS, table, [b"after"], 10.0)
    assert received(reader, 1) == [b"after"]
    reader.begin(30.0)
    assert received(reader, 2) == [b"before", b"after"]


def test_who_rests_reads_nothing_and_can_begin_again(sender: CommitSender, reader: CommitReader, table: str) -> None:
    reader.begin()
    reader.rest()
    sender.send(ANNOUNCEMENTS, table, [b"one"], 10.0)
    assert reader.fetch(0.3) == []
    reader.begin()
    sender.send(ANNOUNCEMENTS, table, [b"two"], 10.0)
    assert received(reader, 2) == [b"one", b"two"], "after a short rest it goes on where it was"
    reader.rest()
    time.sleep(SHORT_REST_S)
    sender.send(ANNOUNCEMENTS, table, [b"three"], 10.0)
    reader.begin()
    sender.send(ANNOUNCEMENTS, table, [b"four"], 10.0)
    assert received(reader, 1) == [b"four"]


def test_who_begins_after_a_short_rest_does_not_wait_for_its_last_fetch(
    sender: CommitSender, reader: CommitReader, table: str
) -> None:
    reader.begin()
    sender.send(ANNOUNCEMENTS, table, [b"first"], 10.0)
    assert received(reader, 1) == [b"first"]
    taken_s = []
    for number in range(5):  # the quickest counts: others may want the processors
        reader.fetch(0.05)
        reader.rest()
        started_s = time.monotonic()
        reader.begin()
        sender.send(ANNOUNCEMENTS, table, [b"%d" % number], 10.0)
        assert received(reader, 1) == [b"%d" % number]
        taken_s.append(time.monotonic() - started_s)
    assert min(taken_s) < 0.3


def test_what_is_of_other_tables_or_programs_is_passed_over(
    stack: Endpoints, sender: CommitSender, reader: CommitReader, table: str
) -> None:
    make_commits_topic(stack)
    reader.begin()
    producer = Producer(producer_config(stack))
    for key, value in (("k", b"x"), (None, b"y"), (table, None)):
        producer.produce(COMMITS, value, key, partition=ANNOUNCEMENTS)
    producer.flush(10)
    sender.send(ANNOUNCEMENTS, str(uuid.uuid4()), [b"another table's"], 10.0)
    sender.send(ANNOUNCEMENTS, table, [b"ours"], 10.0)
    assert received(reader, 1) == [b"ours"]


def test_a_topic_that_was_deleted_is_made_again(
    stack: Endpoints, sender: CommitSender, reader: CommitReader, table: str
) -> None:
    reader.begin()
    sender.send(ANNOUNCEMENTS, table, [b"before"], 10.0)
    assert received(reader, 1) == [b"before"]
    with BrokerAdmin(stack) as admin:
        admin.delete_topic(COMMITS)
    found, until_s = list[bytes](), time.monotonic() + 40
    while b"after" not in found and time.monotonic() < until_s:  # as the author of an offer does
        with suppress(BrokerError):
            sender.send(ANNOUNCEMENTS, table, [b"after"], 2.0)
        found = received(reader, 1, 1.0)
    assert b"after" in found
    with BrokerAdmin(stack) as admin:
        assert admin.topics()[COMMITS] >= 2


def test_a_topic_that_was_emptied_is_read_on(
    stack: Endpoints, sender: CommitSender, reader: CommitReader, table: str
) -> None:
    sender.send(ANNOUNCEMENTS, table, [b"before"], 10.0)
    reader.begin(30.0)
    with BrokerAdmin(stack) as admin:
        admin.delete_records(COMMITS, {ANNOUNCEMENTS: admin.watermarks(COMMITS)[ANNOUNCEMENTS].high})
    sender.send(ANNOUNCEMENTS, table, [b"after"], 10.0)
    found, until_s = list[bytes](), time.monotonic() + 20
    while b"after" not in found and time.monotonic() < until_s:
        found += received(reader, 1, 1.0)
    assert b"after" in found
