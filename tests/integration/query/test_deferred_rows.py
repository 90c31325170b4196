"""What was deferred is in the answer when it is asked for, from Kafka and from spill files alike."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from k2ctl.clock import SystemClock
from k2ctl.deferred.spill_files import SUFFIX, encode_spill
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.ledger import DeferredRange, LedgerChange
from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import Window
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.side_folder import SPILL, SideFolder
from k2ctl.lake.writer import TableWriter
from k2ctl.query.session import Session
from k2ctl.query.stream import KafkaStream
from tests.made_trades import BASE_US, PARTITIONS, make_rows, make_trades, partition_of_made, produce_trades
from tests.support.platforms import with_lake


@pytest.fixture
def endpoints(embedded_stack: Endpoints, home: Path) -> Endpoints:
    return with_lake(embedded_stack, home)


@dataclass(frozen=True)
class Deferred:
    """Of 400 trades partition 0 is stored, 1 half shed, 2 spilled, 3 not read yet."""

    endpoints: Endpoints
    topic: str
    epoch: str
    spilled: DeferredRange
    rows: Rows

    @property
    def file(self) -> Path:
        return Path(self.spilled.spill.removeprefix("file://"))

    def note_backfilled(self) -> None:
        """Store what was spilled and delete its file, as a backfill does."""
        with Lake.at(self.endpoints) as lake:
            partition = TopicPartition(self.topic, self.epoch, 2)
            checkpoint = checkpoints_of(lake.table()).by_partition[partition]
            delta = OffsetDelta(checkpoint.next_offset, checkpoint.next_offset, Counts(0, 100, spilled=-100))
            change = LedgerChange(resolved=((self.spilled, None),))
            assert not TableWriter(lake, SystemClock()).commit([self.rows], {partition: delta}, change).fenced
        self.file.unlink()


@pytest.fixture
def deferred(endpoints: Endpoints, exchange: str) -> Deferred:
    topic = f"market.equities.trades.{exchange.lower()}"
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, PARTITIONS)
        epoch = admin.epoch(topic)
    made = make_trades(400)
    produce_trades(endpoints, topic, made)
    partition = partition_of_made(made)
    rows = [
        replace(make_rows(made[partition == p], 0, topic, epoch), partition=np.full(100, p, np.int32)) for p in range(4)
    ]
    first, last = BASE_US, BASE_US + 400_000
    with Lake.at(endpoints) as lake:
        table = lake.ensure_table()
        file = SideFolder(table).write(SPILL, encode_spill(rows[2]), SUFFIX)
        shed = DeferredRange(topic, epoch, 1, 50, 100, 0b1000, "policy", 2, 50, first, last)
        spilled = DeferredRange(topic, epoch, 2, 0, 100, 0b0100, "policy", 3, 100, first, last, file)
        deltas = {
            TopicPartition(topic, epoch, 0): OffsetDelta(0, 100, Counts(100, 100)),
            TopicPartition(topic, epoch, 1): OffsetDelta(0, 100, Counts(100, 50, shed=50)),
            TopicPartition(topic, epoch, 2): OffsetDelta(0, 100, Counts(100, 0, spilled=100)),
        }
        stored = [rows[0], rows[1].take(np.arange(50))]
        TableWriter(lake, SystemClock()).commit(stored, deltas, LedgerChange(added=(shed, spilled)))
    return Deferred(endpoints, topic, epoch, spilled, rows[2])


def test_shed_and_spilled_trades_are_read_when_asked_for(deferred: Deferred) -> None:
    with Session(Lake.at(deferred.endpoints), KafkaStream(deferred.endpoints, deferred.topic)) as session:
        without = session.recent(None)
        assert len(without.table) == 250
        assert "150 trades" in without.evidence.missing[0]
        whole = session.recent(None, deferred=True)
        assert whole.table.column("trade_id").to_pylist() == list(range(399, -1, -1))
        assert whole.evidence.complete
        assert Counter(whole.table.column("kafka_partition").to_pylist()) == dict.fromkeys(range(4), 100)
        assert len(session.recent("S02", Window(BASE_US + 200_000), deferred=True).table) == 10
        deferred.file.write_bytes(b"damaged")
        damaged = session.recent(None, deferred=True)
        assert len(damaged.table) == 300
        assert damaged.evidence.missing == ("a spill file cannot be read as a whole",)


def test_what_is_backfilled_while_it_is_asked_for_is_in_the_answer(deferred: Deferred) -> None:
    class GivenBackMeanwhile(KafkaStream):
        """The stream is asked after the snapshot was pinned, whose ledger names the spill file."""

        def watermarks(self) -> dict[int, tuple[int, int]]:
            if deferred.file.exists():
                deferred.note_backfilled()
            return super().watermarks()

    stream = GivenBackMeanwhile(deferred.endpoints, deferred.topic)
    with Session(Lake.at(deferred.endpoints), stream) as session:
        answer = session.recent(None, deferred=True)
    assert not deferred.file.exists()
    assert answer.table.column("trade_id").to_pylist() == list(range(399, -1, -1))
    assert answer.evidence.missing == ()
