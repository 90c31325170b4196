"""Trades made for tests: small, seeded, every id known; and getting them into Kafka and out of the table."""

import time
from collections.abc import Iterable

import numpy as np
from confluent_kafka import Producer

from k2ctl.domain.conditions import pack
from k2ctl.domain.decimals import DECIMAL_LIMIT, DECIMAL_ONE, of_int, of_int64, of_text
from k2ctl.domain.rows import ENRICHMENT_SKIPPED, Rows
from k2ctl.domain.trade import CANCEL, CORRECT, REFERENCE, TRADE, frames
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.clients import producer_config
from k2ctl.lake.catalog import Lake
from k2ctl.profiles import Profile, load_profile
from k2ctl.profiles.model import ConsumerSettings

SYMBOLS = np.array([f"S{number:02d}".encode() for number in range(20)])
PARTITIONS = 4
BASE_US = 1_700_000_000_000_000


def make_trades(count: int, start: int = 0, session: int = 7) -> np.ndarray:
    """`count` trades numbered from `start`: symbol by number, dense sequence per symbol, ids of (symbol, sequence)."""
    number = np.arange(start, start + count)
    trades = TRADE.empty(count)
    code = number % len(SYMBOLS)
    trades["symbol"], trades["exchange"], trades["currency"] = SYMBOLS[code], b"ASX", b"AUD"
    trades["event_ns"] = (BASE_US + number * 1000) * 1000
    trades["received_ns"] = time.time_ns() // 1000 * 1000
    trades["price"] = of_int64((1000 + number % 97) * (DECIMAL_ONE // 100))
    trades["quantity"] = of_int64((1 + number % 13) * DECIMAL_ONE)
    trades["trade_id"] = number
    sequence = number // len(SYMBOLS) + 1
    trades["source_sequence"] = sequence
    ids = np.empty((count, 2), ">u8")
    ids[:, 0], ids[:, 1] = session * 1000 + code, sequence
    trades["message_id"] = ids.view("V16")[:, 0]
    return trades


NEWEST = 30


def newest_trades(symbol: bytes) -> np.ndarray:
    """`NEWEST` trades of one symbol, a second apart up to now."""
    trades, number = make_trades(NEWEST, session=9), np.arange(NEWEST)
    trades["symbol"], trades["source_sequence"] = symbol, number + 1
    trades["event_ns"] = time.time_ns() - (NEWEST - number) * 1_000_000_000
    return trades


def make_varied(count: int, start: int = 0) -> np.ndarray:
    """Made trades with what only some trades have: nanoseconds, extreme decimals, conditions, references to others."""
    trades, number = make_trades(count, start), np.arange(start, start + count)
    trades["event_ns"] += number * 7 % 1000
    trades["received_ns"] += number * 3 % 1000
    extremes = np.array([of_int(1), of_int(DECIMAL_LIMIT), of_int(DECIMAL_LIMIT - 1)])
    for name, of in (("price", 5), ("quantity", 7)):
        wide = number % of < len(extremes)
        trades[name][wide] = extremes[(number % of)[wide]]
    conditions = [b"", pack(["XT"]), pack(["@", "F", "T", "I", "1234", "CNCL", "Z9", "~"])]
    trades["trade_conditions"] = np.array(conditions)[number % 3]
    refers = np.isin(number % 10, (3, 7)) & (number >= len(SYMBOLS))
    trades["action"][refers] = np.where(number % 10 == 3, CORRECT, CANCEL)[refers]
    before = make_trades(count, max(0, start - len(SYMBOLS)))["message_id"]
    trades["refers_to"][refers] = before[number[refers] - len(SYMBOLS) - max(0, start - len(SYMBOLS))]
    return trades


def varied_trades(count: int, start: int = 0) -> np.ndarray:
    """Made trades with nanoseconds, decimals that leave 64 bits, and among them corrections and cancellations."""
    trades = make_trades(count, start)
    number, ids = trades["trade_id"].astype(np.int64), trades["message_id"].copy().view(">u8").reshape(-1, 2)
    trades["event_ns"] += number % 1000
    trades["price"][number % 7 == 0] = of_text("0.000006984")
    trades["quantity"][number % 7 == 0] = of_text("23640926208.000000000001")
    ids[:, 1] -= 1  # the trade before it of its symbol
    events = (number % 50 == 49) & (ids[:, 1] > 0)
    trades["action"][events] = np.where(number[events] % 100 == 99, CANCEL, CORRECT)
    trades["refers_to"][events] = ids[events].view("V16")[:, 0]
    return trades


def partition_of_made(trades: np.ndarray, partitions: int = PARTITIONS) -> np.ndarray:
    """The partition of each made trade: by the symbol's number."""
    return np.array([int(symbol[1:]) % partitions for symbol in trades["symbol"].tolist()], np.int32)


def make_rows(trades: np.ndarray, offset: int = 0, topic: str = "t", epoch: str = "e") -> Rows:
    """Made trades as rows of partition 0, one per offset."""
    count = len(trades)
    return Rows(
        topic,
        epoch,
        trades,
        np.zeros(count, np.int32),
        np.arange(offset, offset + count, dtype=np.int64),
        np.zeros(count, np.int32),
        np.full(count, ENRICHMENT_SKIPPED, np.int32),
        REFERENCE.empty(0),
    )


_PRODUCERS: dict[str, Producer] = {}


def producer_of(endpoints: Endpoints) -> Producer:
    """One for all tests, to a Kafka that they share: a real one takes 0.2 s to number a new one. Else one for once."""
    if endpoints.engine not in ("embedded", "local"):
        return Producer(producer_config(endpoints, **{"linger.ms": 1}))
    address = endpoints.bootstrap_servers
    if address not in _PRODUCERS:
        if len(_PRODUCERS) >= 4:  # of Kafkas that are gone
            _PRODUCERS.clear()
        _PRODUCERS[address] = Producer(producer_config(endpoints, **{"linger.ms": 1}))
    return _PRODUCERS[address]


def produce_values(endpoints: Endpoints, topic: str, values: Iterable[tuple[int, bytes]]) -> None:
    """(partition, value) pairs into Kafka, all acknowledged."""
    producer = producer_of(endpoints)
    producer.list_topics(topic, timeout=10)
    for partition, value in values:
        producer.produce(topic, value, partition=partition)
    assert producer.flush(20) == 0


def produce_trades(
    endpoints: Endpoints, topic: str, trades: np.ndarray, frame: int = 1, partitions: int = PARTITIONS
) -> None:
    """Made trades into Kafka, each symbol's in order, `frame` to a record."""
    partition = partition_of_made(trades, partitions)
    by_partition = ((number, trades[partition == number]) for number in range(partitions))
    produce_values(endpoints, topic, ((number, value) for number, own in by_partition for value in frames(own, frame)))


def stored_ids(endpoints: Endpoints) -> list[bytes]:
    """The message ids in the table, sorted, as often as they are stored."""
    with Lake.at(endpoints) as lake:
        table = lake.find_table()
        if table is None or table.metadata.current_snapshot() is None:
            return []
        column = table.scan(selected_fields=("message_id",)).to_arrow()["message_id"]
        return sorted(value if isinstance(value, bytes) else value.bytes for value in column.to_pylist())


def ids_of(trades: np.ndarray) -> list[bytes]:
    """The message ids of trades, sorted."""
    return sorted(bytes(value) for value in trades["message_id"].tolist())


MEMORY_MB = 8_000
"""What a consumer of the tests' process may take: the memory of all tests does not press it."""


def quick_profile(**consumer: object) -> Profile:
    """The laptop profile, committing every 50 ms."""
    profile = load_profile("laptop")
    quick = {"commit_interval_s": 0.05, "memory_limit_mb": MEMORY_MB}
    changed = ConsumerSettings.model_validate({**profile.consumer.model_dump(), **quick, **consumer})
    topic = profile.topic.model_copy(update={"partitions": PARTITIONS, "critical_partitions": 1})
    return profile.model_copy(update={"consumer": changed, "topic": topic})
