"""Which trades count as copies, on every way that a trade can take: id, symbol, venue and time must all be the same."""

import threading
import uuid
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.domain.days import BarLength
from k2ctl.domain.rows import nanoseconds
from k2ctl.endpoints import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.profiles import Profile
from k2ctl.query.session import Session
from k2ctl.query.sql import sql
from k2ctl.query.stream import KafkaStream
from tests.made_trades import make_trades, produce_values
from tests.support.platforms import catch_up

pytestmark = pytest.mark.parametrize("kind", ["sequenced", "random"])

Key = tuple[str, str, str, int]


def look_alikes(kind: str) -> np.ndarray:
    """A hundred trades, and three more with the id of each: of another symbol, venue, or nanosecond."""
    one = make_trades(100)
    if kind == "random":
        one["message_id"] = np.array([uuid.uuid4().bytes for _ in one], "V16")
    symbol, venue, moment = one.copy(), one.copy(), one.copy()
    symbol["symbol"], venue["exchange"] = b"OTHER", b"NYSE"
    moment["event_ns"] += 1
    return np.concatenate([one, symbol, venue, moment])


def keys_of(trades: np.ndarray) -> Counter[Key]:
    return Counter(
        (
            bytes(trade["message_id"]).hex(),
            trade["symbol"].decode(),
            trade["exchange"].decode(),
            int(trade["event_ns"]),
        )
        for trade in trades
    )


def keys_in(rows: list[dict[str, Any]]) -> Counter[Key]:
    return Counter((uuid.UUID(str(row["message_id"])).hex, row["symbol"], row["exchange"], row["ns"]) for row in rows)


def produce(endpoints: Endpoints, topic: str, trades: np.ndarray, frame: int) -> None:
    values = [trades[at : at + frame].tobytes() for at in range(0, len(trades), frame)]
    produce_values(endpoints, topic, ((0, value) for value in values))


def consume(endpoints: Endpoints, profile: Profile) -> tuple[int, int]:
    """Everything; (stored, duplicate)."""
    consumer = catch_up(endpoints, profile)
    counts = consumer.counts()
    assert counts.balanced
    return counts.stored, counts.duplicate


def stored(endpoints: Endpoints) -> Counter[Key]:
    """What the table holds, as pyiceberg reads it."""
    columns = ("message_id", "symbol", "exchange", "timestamp", "timestamp_nanos")
    with Lake.at(endpoints) as lake:
        rows = lake.table().scan(selected_fields=columns).to_arrow().to_pylist()
    for row in rows:
        row["message_id"] = row["message_id"].hex() if isinstance(row["message_id"], bytes) else row["message_id"]
        row["ns"] = round(row["timestamp"].timestamp() * 1_000_000) * 1000 + row["timestamp_nanos"]
    return keys_in(rows)


@pytest.mark.parametrize("frame", [1, 400])
def test_a_consumer_drops_copies_and_no_trade_that_is_like_another(
    endpoints: Endpoints, profile: Profile, topic: str, kind: str, frame: int
) -> None:
    trades = look_alikes(kind)
    once = keys_of(trades)
    # Within the batch, against what is stored by then, and by a consumer that starts again.
    produce(endpoints, topic, np.concatenate([trades, trades]), frame)
    assert consume(endpoints, profile) == (400, 400)
    later = look_alikes(kind) if kind == "random" else trades.copy()
    later["event_ns"] += 2000
    produce(endpoints, topic, np.concatenate([trades, later]), frame)
    assert consume(endpoints, profile) == (800, 800)
    assert stored(endpoints) == once + keys_of(later)


def test_a_copy_is_found_among_what_is_on_its_way_to_the_table(
    endpoints: Endpoints, profile: Profile, topic: str, kind: str
) -> None:
    slow = profile.model_copy(update={"consumer": profile.consumer.model_copy(update={"commit_interval_s": 3600})})
    trades = look_alikes(kind)
    consumer = Consumer(endpoints, ConsumerPlan(slow))
    stop = threading.Event()
    due = {0: trades[:150], 150: trades}

    def on_tick() -> None:
        """The next part once the one before is pending; the end once all is."""
        part = due.pop(consumer.totals.trades, None)
        if part is not None:
            produce(endpoints, topic, part, 1)
        elif consumer.totals.trades == 550:
            stop.set()

    consumer.run(stop, on_tick)
    assert (consumer.counts().stored, consumer.counts().duplicate) == (400, 150)
    assert stored(endpoints) == keys_of(trades)


def test_lake_and_stream_are_united_by_all_that_makes_a_copy(
    endpoints: Endpoints, profile: Profile, topic: str, kind: str
) -> None:
    trades = look_alikes(kind)
    produce(endpoints, topic, trades[:250], 1)
    consume(endpoints, profile)
    produce(endpoints, topic, np.concatenate([trades[200:], trades[300:]]), 1)
    with Session(Lake.at(endpoints), KafkaStream(endpoints, topic)) as session:
        recent = session.recent(None).table
        query = "SELECT message_id, symbol, exchange, epoch_us(timestamp) * 1000 + timestamp_nanos AS ns FROM trades"
        with sql(session, query) as answer:
            by_sql = answer.rows.read_all().to_pylist()
        symbols = sorted(set(recent["symbol"].to_pylist()))
        bars = session.bars(symbols, BarLength(us=60_000_000)).table
    times = nanoseconds(recent["timestamp"], recent["timestamp_nanos"])
    by_recent = recent.append_column("ns", pa.array(times)).to_pylist()
    assert keys_in([{**row, "message_id": as_text(row["message_id"])} for row in by_recent]) == keys_of(trades)
    assert keys_in([{**row, "message_id": as_text(row["message_id"])} for row in by_sql]) == keys_of(trades)
    assert sum(bars["trades"].to_pylist()) == len(trades)


def as_text(message_id: bytes | uuid.UUID | str) -> str:
    return message_id.hex() if isinstance(message_id, bytes) else str(message_id)
