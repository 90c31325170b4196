"""Group commit on each kind of catalog: eight authors and two committers, as many threads, at once.

The topic between them loses, doubles and delays records; authors that were given up write on; one committer is slow
between the load of the table and its swap. Every offset is stored once, and the offsets are those of the rows.
"""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from k2ctl.clock import SystemClock
from k2ctl.domain.announcement import Announced, HeldOffers, NextStep
from k2ctl.domain.checkpoint import Checkpoints, Counts, OffsetDelta, TopicPartition
from k2ctl.domain.cut_records import CutDocuments, cut
from k2ctl.domain.offer_records import answer_document, answer_in, offer_in
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.writer import TableWriter
from k2ctl.lake.written_offer import Committed, WrittenOffer
from tests.made_trades import make_rows, make_trades
from tests.support.lake_commits import Opener

CLOCK = SystemClock()
AUTHORS, OFFERS, ROWS = 8, 6, 20
PIECE: Final = 700
"""Bytes of a record, so that an offer has some of them."""

SLOW = pytest.mark.slow
KINDS = ["sqlite", pytest.param("postgresql", marks=SLOW), pytest.param("rest", marks=SLOW)]


class FaultyTopic:
    """Records for all that read: some are lost, some come twice, and some later than others."""

    def __init__(self, seed: int) -> None:
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._records: list[bytes] = []

    def send(self, document: bytes) -> None:
        with self._lock:
            for record in cut(document, PIECE):
                how = self._random.random()
                copies = 0 if how < 0.03 else 2 if how < 0.18 else 1
                for _ in range(copies):
                    at = len(self._records) - self._random.choice([0, 0, 0, 1, 3])
                    self._records.insert(max(0, at), record)

    def read(self, at: int) -> list[bytes]:
        with self._lock:
            return self._records[at:]


class Reading:
    """One reader's place in a topic. Records that were delayed may be passed over, and are lost to it then."""

    def __init__(self, topic: FaultyTopic) -> None:
        self._topic, self._at, self._documents = topic, 0, CutDocuments()

    def documents(self) -> list[bytes]:
        records = self._topic.read(self._at)
        self._at += len(records)
        return [*self._documents.all_of([*records])]


class Author:
    """A consumer of one partition; two of them also have it where the other was given up."""

    def __init__(self, lake: Lake, number: int, announcements: FaultyTopic, answers: FaultyTopic) -> None:
        self._lake, self._at = lake, TopicPartition("t", "e", number)
        self._writer = TableWriter(lake, CLOCK)
        self._random = random.Random(number)
        self._announcements, self._answers = announcements, answers
        self._known = Checkpoints()
        self.results: list[Committed] = []

    def run(self) -> None:
        while self._start() < OFFERS * ROWS:
            written = self._offer()
            if self._random.random() < 0.2:  # given up, it writes the same range into another file, and announces it
                self._announcements.send(self._offer().document())
            self._know(self._asked(written))

    def _start(self) -> int:
        known = self._known.by_partition.get(self._at)
        return known.next_offset if known else 0

    def _offer(self) -> WrittenOffer:
        start, known = self._start(), self._known.by_partition.get(self._at)
        rows = make_rows(make_trades(ROWS, start + self._at.partition * 1_000_000), start)
        rows.partition[:] = self._at.partition
        delta = OffsetDelta(start, start + ROWS, Counts(seen=ROWS, stored=ROWS), known.commit_id if known else None)
        return self._writer.write([rows], {self._at: delta})

    def _asked(self, written: WrittenOffer) -> Committed:
        asked, answers = Announced(written.offer.id, written.offer.table, 0.6), Reading(self._answers)
        while True:
            step = asked.step(time.monotonic())
            if step is NextStep.STORED and asked.answer is not None:
                return written.stored_by(asked.answer, asked.times)
            if step is NextStep.COMMIT_DIRECTLY:
                return self._writer.commit_written(written)
            if step is NextStep.ANNOUNCE:
                self._announcements.send(written.document())
                asked = asked.announced(time.monotonic())
            for answer in filter(None, map(answer_in, answers.documents())):
                asked = asked.answered(answer)
            time.sleep(0.01)

    def _know(self, committed: Committed) -> None:
        self.results.append(committed)
        self._known = checkpoints_of(self._lake.table()) if committed.fenced else committed.checkpoints


class Committer:
    """Commits what it reads, until it is stopped."""

    def __init__(self, lake: Lake, announcements: FaultyTopic, answers: FaultyTopic, slow_s: float) -> None:
        self._writer = TableWriter(lake, CLOCK, SnapshotRetention(3, 0, 0))
        self._slowed(slow_s)
        self._announcements, self._answers = Reading(announcements), answers
        self.taken: list[int] = []
        self.attempts = self.commits = 0

    def _slowed(self, slow_s: float) -> None:
        swap: Any = self._writer._swap
        take, chance = swap.take, random.Random(1)

        def late(*arguments: Any) -> Checkpoints:
            time.sleep(chance.uniform(0.0, slow_s))
            found: Checkpoints = take(*arguments)
            return found

        swap.take = late

    def run(self, stop: threading.Event) -> None:
        held = HeldOffers(0.05)
        while not stop.is_set():
            for offer in filter(None, map(offer_in, self._announcements.documents())):
                held.add(offer, time.monotonic())
            due_s = held.due_s()
            if due_s is None or due_s > time.monotonic():
                time.sleep(0.01)
                continue
            done = self._writer.commit_offers(held.offers())
            self.taken.append(done.taken)
            self.attempts, self.commits = self.attempts + done.attempts, self.commits + 1
            held.answered([*done.answer.stored, *done.answer.refused])
            held.wait(time.monotonic(), CLOCK.now_us(), 0.1)
            if done.answer.says_something:
                self._answers.send(answer_document(done.answer))


@pytest.mark.parametrize("open_lake", KINDS, indirect=True)
def test_eight_authors_and_two_committers_store_every_offset_once(open_lake: Opener) -> None:
    announcements, answers, stop = FaultyTopic(1), FaultyTopic(2), threading.Event()
    open_lake().ensure_table()
    authors = [Author(open_lake(), number, announcements, answers) for number in range(AUTHORS)]
    committers = [Committer(open_lake(), announcements, answers, slow_s) for slow_s in (0.0, 0.3)]
    with ThreadPoolExecutor(AUTHORS + len(committers)) as pool:
        committing = [pool.submit(committer.run, stop) for committer in committers]
        try:
            for author in [pool.submit(author.run) for author in authors]:
                author.result(120)
        finally:
            stop.set()
        for committer in committing:
            committer.result(120)
    table = open_lake().table()
    found = table.scan(selected_fields=("kafka_partition", "kafka_offset")).to_arrow()
    rows = sorted(zip(found["kafka_partition"].to_pylist(), found["kafka_offset"].to_pylist(), strict=True))
    assert rows == [(partition, offset) for partition in range(AUTHORS) for offset in range(OFFERS * ROWS)]
    by_partition = checkpoints_of(table).by_partition
    counts = Counts(seen=OFFERS * ROWS, stored=OFFERS * ROWS)
    assert {at.partition: (known.next_offset, known.counts) for at, known in by_partition.items()} == dict.fromkeys(
        range(AUTHORS), (OFFERS * ROWS, counts)
    )
    taken = [taken for committer in committers for taken in committer.taken]
    assert max(taken) > 1, "some were committed together"
