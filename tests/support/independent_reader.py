"""What Kafka and the table hold, read without k2ctl: confluent-kafka, pyiceberg and the documented formats alone.

An oracle that shares code with what it judges agrees with its mistakes. So nothing of `k2ctl` is imported here: the
wire format is unpacked field by field from its document (`stack/schemas/trade.xml`), the checkpoint is read as JSON.
"""

import json
import struct
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Consumer, KafkaError, TopicPartition
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from tests.support.independent_columns import copies_if_equal, is_plain

TRADES = "market_data.trades"
_SCHEMA = 7203
_BLOCK = struct.Struct("<4H16sQqqQqQqQ32s16s8s32s16sBBB5x")
"""Message header (block length, template, schema, version), then the block of a trade of version 1."""

_BLOCK_LENGTH = 192
_NO_SEQUENCE = 2**64 - 1
_SIDES = {0: "BUY", 1: "SELL", 2: "SELL_SHORT", 3: "UNKNOWN"}
_ASSET_CLASSES = {0: "equities", 1: "crypto", 2: "futures", 3: "options"}
_ACTIONS = {0: "NEW", 1: "CORRECT", 2: "CANCEL"}
_LATEST_ALIKE = uuid.UUID(bytes=b"\xff" * 16)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Identity(NamedTuple):
    """What two copies of a trade have in common."""

    message_id: uuid.UUID
    symbol: str
    exchange: str
    timestamp: datetime
    timestamp_nanos: int
    price: Decimal
    quantity: Decimal
    action: str
    refers_to: uuid.UUID | None


class Place(NamedTuple):
    """Where in Kafka a trade stands."""

    topic: str
    partition: int
    offset: int
    index: int


@dataclass(frozen=True)
class Sources:
    """How to reach Kafka and the table: librdkafka's settings, and pyiceberg's properties of catalog and file IO."""

    kafka: Mapping[str, str]
    catalog: Mapping[str, str]

    @classmethod
    def of(cls, endpoints: Any) -> "Sources":
        """From what `stack up` wrote: any object with its fields."""
        catalog = {**endpoints.storage, "uri": endpoints.catalog_uri, "warehouse": endpoints.warehouse}
        if endpoints.catalog_access:
            token = {"oauth2-server-uri": f"{endpoints.catalog_uri}/v1/oauth/tokens"}
            catalog = {**catalog, **token, **endpoints.catalog_access}
        return cls({**endpoints.kafka, "bootstrap.servers": endpoints.bootstrap_servers}, catalog)

    def table(self) -> Table | None:
        """The table with its newest metadata, or None."""
        kind = RestCatalog if self.catalog["uri"].startswith("http") else SqlCatalog
        catalog = kind("k2", **self.catalog)
        try:
            return catalog.load_table(TRADES)
        except NoSuchTableError:
            return None
        finally:
            catalog.close()

    def stored(self) -> pa.Table | None:
        """Every row of the current snapshot, in no order."""
        table = self.table()
        return None if table is None or table.current_snapshot() is None else table.scan().to_arrow()

    def rows(self) -> list[dict[str, Any]]:
        """The same, row by row."""
        stored = self.stored()
        return [] if stored is None else stored.to_pylist()

    def next_offsets(self) -> dict[tuple[str, str, int], int]:
        """(topic, epoch, partition) → the next offset to read, as the table's property says."""
        table = self.table()
        text = table.properties.get("k2.offsets") if table is not None else None
        by_partition = json.loads(text)["by_partition"] if text else []
        return {(topic, epoch, partition): following for topic, epoch, partition, following, *_ in by_partition}

    def records(self, topic: str) -> Iterable[tuple[int, int, bytes]]:
        """(partition, offset, value) of every record that Kafka still holds."""
        reader = Consumer({**self.kafka, "group.id": "independent", "enable.auto.commit": False})
        try:
            partitions = reader.list_topics(topic, 10).topics[topic].partitions
            ends = {}
            for number in partitions:
                low, high = reader.get_watermark_offsets(TopicPartition(topic, number), 10)
                if low < high:
                    ends[number] = (low, high)
            for number, (low, high) in ends.items():
                reader.assign([TopicPartition(topic, number, low)])
                yield from ((number, offset, value) for offset, value in _read(reader, high))
        finally:
            reader.close()


def _read(reader: Consumer, high: int) -> Iterable[tuple[int, bytes]]:
    """(offset, value) of the assigned partition up to `high`; marks of transactions take offsets and are no records."""
    while True:
        (position,) = reader.position(reader.assignment())
        if position.offset >= high:
            return
        for message in reader.consume(1000, 0.2):
            if message.error() is None:
                yield message.offset() or 0, message.value() or b""
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()


def trades_of(value: bytes) -> list[dict[str, Any]]:
    """The trades of one SBE record, in its order, by the names of the table's columns."""
    trades, position = [], 0
    while position < len(value):
        length, template, schema, _ = struct.unpack_from("<4H", value, position)
        assert (template, schema) == (1, _SCHEMA), f"template {template} of schema {schema}"
        assert length >= _BLOCK_LENGTH, length
        trades.append(_trade(_BLOCK.unpack_from(value, position)))
        position += 8 + length
    return trades


def _trade(found: tuple[Any, ...]) -> dict[str, Any]:
    message_id, trade_id, event_ns, received_ns, *amounts, sequence = found[4:13]
    symbol, exchange, currency = (text.rstrip(b"\0").decode() for text in found[13:16])
    conditions, refers_to, asset_class, side, action = found[16:]
    timestamp, timestamp_nanos = _instant(event_ns)
    ingested, ingested_nanos = _instant(received_ns)
    return {
        "message_id": uuid.UUID(bytes=message_id),
        "trade_id": trade_id,
        "symbol": symbol,
        "exchange": exchange,
        "asset_class": _ASSET_CLASSES[asset_class],
        "timestamp": timestamp,
        "timestamp_nanos": timestamp_nanos,
        "ingestion_timestamp": ingested,
        "ingestion_timestamp_nanos": ingested_nanos,
        "price": _decimal(*amounts[:2]),
        "quantity": _decimal(*amounts[2:]),
        "currency": currency,
        "side": _SIDES[side],
        "trade_conditions": [
            code for at in range(0, 32, 4) if (code := conditions[at : at + 4].rstrip(b"\0").decode())
        ],
        "action": _ACTIONS[action],
        "refers_to": uuid.UUID(bytes=refers_to) if any(refers_to) else None,
        "source_sequence": None if sequence == _NO_SEQUENCE else sequence,
    }


def _instant(nanoseconds: int) -> tuple[datetime, int]:
    """The microsecond, and the nanoseconds beyond it."""
    microseconds, beyond = divmod(nanoseconds, 1000)
    return _EPOCH + timedelta(microseconds=microseconds), beyond


def _decimal(low: int, high: int) -> Decimal:
    """Of a mantissa in two words, the upper one signed, and the constant exponent."""
    return Decimal((high << 64) + low).scaleb(-12, Context(prec=60))


def as_printed(row: Mapping[str, Any]) -> dict[str, Any]:
    """A stored row as it was sent, without what the consumer has marked in it.

    A reprint refers to its own id; a print that a condition makes a cancellation refers to the latest one alike.
    """
    if row["refers_to"] == _LATEST_ALIKE or (row["action"] == "NEW" and row["refers_to"] == row["message_id"]):
        return {**row, "action": "NEW", "refers_to": None}
    return dict(row)


def identity_of(row: Mapping[str, Any]) -> Identity:
    """The identity of a stored row or of a trade from Kafka."""
    return Identity(*(row[name] for name in Identity._fields))


def place_of(row: Mapping[str, Any]) -> Place:
    """Where in Kafka a stored row comes from."""
    return Place(*(row[f"kafka_{name}"] for name in Place._fields))


def assert_stored_once(sources: Sources, topic: str, epoch: str = "") -> int:
    """Every trade that Kafka holds is in the table exactly once, as one of its copies was sent, and nothing else is.

    For topics of which Kafka has deleted nothing and nothing is deferred; records that are no trades are passed over.
    With an epoch, rows of the topic's other epochs are passed over too: their Kafka is gone.
    Returns how many copies Kafka holds beside the trades.
    """
    records, table = list(sources.records(topic)), sources.stored()
    if table is not None:
        table = table.filter(pc.equal(table["kafka_topic"], topic))
        table = table.filter(pc.equal(table["kafka_epoch"], epoch)) if epoch else table
        plain = [record for record in records if is_plain(record[2]) or _whole(record[2])]
        copies = copies_if_equal(plain, table) if all(is_plain(value) for *_, value in plain) else None
        if copies is not None:
            return copies
    return row_by_row(records, [] if table is None else table.to_pylist(), topic)


def row_by_row(records: Iterable[tuple[int, int, bytes]], rows: Iterable[Mapping[str, Any]], topic: str) -> int:
    """Row by row, so that what is wrong is named. Returns how many copies there are."""
    sent: dict[Place, dict[str, Any]] = {}
    for partition, offset, value in records:
        for index, trade in enumerate(_whole(value)):
            sent[Place(topic, partition, offset, index)] = trade
    wanted = {identity_of(trade) for trade in sent.values()}
    stored = [as_printed(row) for row in rows]
    often = [identity for identity, count in Counter(map(identity_of, stored)).items() if count > 1]
    assert not often, f"{len(often)} trades are stored more than once, such as {often[0]}"
    missing = wanted - set(map(identity_of, stored))
    assert not missing, f"{len(missing)} of {len(wanted)} trades are missing, such as {min(missing)}"
    for row in stored:
        trade = sent.get(place_of(row))
        assert trade is not None, f"nothing that was sent stands where a row comes from: {row}"
        altered = {name: (value, row[name]) for name, value in trade.items() if row[name] != value}
        assert not altered, f"{identity_of(row)} differs (sent, stored): {altered}"
        assert row["committed_at"] is not None, f"{identity_of(row)} has no time of its commit"
        assert row["committed_at"] <= datetime.now(UTC), f"{identity_of(row)} was committed at {row['committed_at']}"
    return len(sent) - len(wanted)


def _whole(value: bytes) -> list[dict[str, Any]]:
    try:
        return _json_trades_of(value) if value[:1] in (b"{", b"[") else trades_of(value)
    except (AssertionError, struct.error, ValueError, KeyError):
        return []


def _json_trades_of(value: bytes) -> list[dict[str, Any]]:
    """The trades of one JSON record: an object, or an array of them, with whole microseconds or ISO 8601."""
    document = json.loads(value, parse_float=Decimal)
    trades = []
    for item in document if isinstance(document, list) else [document]:
        trade = {name: item[name] for name in ("trade_id", "symbol", "exchange", "asset_class", "currency")}
        for name in ("timestamp", "ingestion_timestamp"):
            trade[name], trade[f"{name}_nanos"] = _json_instant(item[name])
        trade |= {name: Decimal(item[name]) for name in ("price", "quantity")}
        refers_to = item.get("refers_to")
        trade |= {
            "message_id": uuid.UUID(item["message_id"]),
            "side": item.get("side", "UNKNOWN"),
            "trade_conditions": item.get("trade_conditions", []),
            "action": item.get("action", "NEW"),
            "refers_to": uuid.UUID(refers_to) if refers_to else None,
            "source_sequence": item.get("source_sequence"),
        }
        trades.append(trade)
    return trades


def _json_instant(value: int | str) -> tuple[datetime, int]:
    if isinstance(value, int):
        return _EPOCH + timedelta(microseconds=value), 0
    whole, _, digits = value.removesuffix("Z").partition(".")
    nanoseconds = int(digits.ljust(9, "0"))
    return datetime.fromisoformat(f"{whole}.{nanoseconds // 1000:06}+00:00"), nanoseconds % 1000


def assert_read_to_the_end(sources: Sources, topic: str, epoch: str) -> None:
    """The table's checkpoint stands at the end of every partition that holds records."""
    following = sources.next_offsets()
    reader = Consumer({**sources.kafka, "group.id": "independent"})
    try:
        for number in reader.list_topics(topic, 10).topics[topic].partitions:
            _, high = reader.get_watermark_offsets(TopicPartition(topic, number), 10)
            if high:
                assert following.get((topic, epoch, number)) == high, f"partition {number}"
    finally:
        reader.close()
