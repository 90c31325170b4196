"""Trades as the records that the peers read: JSON in K2's names and in a vendor's, Avro, and SBE."""

import io
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import fastavro
import numpy as np
import orjson

from k2ctl.domain.decimals import DECIMAL_ONE
from k2ctl.domain.trade import ASSET_CLASSES, NO_SEQUENCE, SIDES, frames
from tests.peers.settings import COLUMNS
from tests.support.avro import framed

_DECIMAL: Final = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 8}
# Connect knows no finer ones of Avro.
_TIME: Final = {"type": "long", "logicalType": "timestamp-millis"}
_KINDS: Final[dict[str, Any]] = {
    "trade_id": "long",
    "timestamp": _TIME,
    "ingestion_timestamp": _TIME,
    "price": _DECIMAL,
    "quantity": _DECIMAL,
    "source_sequence": ["null", "long"],
}
AVRO_SCHEMA: Final = {
    "type": "record",
    "name": "Trade",
    "namespace": "io.k2ctl.peers",
    "fields": [{"name": name, "type": _KINDS.get(name, "string")} for name in COLUMNS],
}

VENDOR_NAMES: Final = {
    "message_id": "id", "trade_id": "tid", "symbol": "sym", "exchange": "ex", "asset_class": "cls", "timestamp": "ts",
    "ingestion_timestamp": "rts", "price": "p", "quantity": "q", "currency": "ccy", "side": "s",
    "trade_conditions": "c", "source_sequence": "seq",
}  # fmt: skip
"""The names that a vendor has for the columns."""


def _values(trades: np.ndarray) -> Iterator[dict[str, Any]]:
    """Each trade as values by column; times in ISO 8601 and decimals as texts, which every peer reads exactly."""
    ids = trades["message_id"].tobytes()
    columns: dict[str, Any] = {name: trades[name].tolist() for name in ("trade_id", "source_sequence")}
    columns["message_id"] = [uuid.UUID(bytes=ids[at : at + 16]) for at in range(0, len(ids), 16)]
    for name in ("symbol", "exchange", "currency"):
        columns[name] = [text.decode() for text in trades[name].tolist()]
    for name, numbers, names in (("asset_class", "asset_class", ASSET_CLASSES), ("side", "side", SIDES)):
        columns[name] = [names[number] for number in trades[numbers].tolist()]
    for name, field in (("timestamp", "event_ns"), ("ingestion_timestamp", "received_ns")):
        moments = (trades[field].astype(np.int64) // 1000).astype("M8[us]")
        columns[name] = [f"{text}Z" for text in np.datetime_as_string(moments, unit="us").tolist()]
    for name in ("price", "quantity"):
        columns[name] = [_decimal(mantissa) for mantissa in trades[name]["low"].tolist()]
    columns["trade_conditions"] = [""] * len(trades)
    columns["source_sequence"] = [None if each == NO_SEQUENCE else each for each in columns["source_sequence"]]
    return (dict(zip(COLUMNS, row, strict=True)) for row in zip(*(columns[name] for name in COLUMNS), strict=True))


def _decimal(mantissa: int) -> str:
    """What the market makes is above zero and far below 2^63."""
    whole, part = divmod(mantissa, DECIMAL_ONE)
    return f"{whole}.{part:012d}".rstrip("0").rstrip(".")


def as_json(trades: np.ndarray) -> list[bytes]:
    """An object of 13 fields each, some 320 bytes."""
    return [orjson.dumps(row) for row in _values(trades)]


def as_vendor_json(trades: np.ndarray) -> list[bytes]:
    """The same in a vendor's names, with one field more that says what the object is."""
    renamed = ({VENDOR_NAMES[name]: value for name, value in row.items()} for row in _values(trades))
    return [orjson.dumps({"e": "trade", **row}) for row in renamed]


def as_avro(trades: np.ndarray, number: int = 1) -> list[bytes]:
    """Records in Confluent's wire format, of the schema with that number in the registry."""
    schema, found = fastavro.parse_schema(AVRO_SCHEMA), []
    for row, trade in zip(_values(trades), trades, strict=True):
        for name, field in (("timestamp", "event_ns"), ("ingestion_timestamp", "received_ns")):
            row[name] = int(trade[field]) // 1_000_000
        for name in ("price", "quantity"):
            mantissa = int(trade[name]["low"]) // 10_000
            row[name] = mantissa.to_bytes(mantissa.bit_length() // 8 + 1, "big", signed=True)
        written = io.BytesIO()
        fastavro.schemaless_writer(written, schema, {**row, "message_id": str(row["message_id"])})
        found.append(framed(number, written.getvalue()))
    return found


@dataclass(frozen=True)
class Form:
    """A kind of records."""

    name: str
    # Trades as such records.
    encode: Callable[[np.ndarray], list[bytes]]
    # Whether a record has its symbol as key, as topics of others do.
    has_keys: bool = True
    # The YAML of the feed by which k2ctl reads them, a registry's address in {registry}; None of its own records.
    feed: str | None = None


def _feed(head: str, columns: dict[str, str]) -> str:
    mapped = "\n".join(f"  {name}: {column}" for name, column in columns.items())
    return f"description: Trades of a benchmark\n{head}\ntrade:\n{mapped}\nidentity: message-id\n"


_VENDOR: Final = _feed(
    f"source:\n  format: json\n  columns: {json.dumps(['e', *VENDOR_NAMES.values()])}\nwhere: e = 'trade'",
    VENDOR_NAMES,
)
_AVRO: Final = _feed("source:\n  format: avro\n  registry: {registry}", dict(zip(COLUMNS, COLUMNS, strict=True)))

FORMS: Final = {
    form.name: form
    for form in (
        Form("json", as_json),
        Form("feed-json", as_vendor_json, feed=_VENDOR),
        Form("avro", as_avro, feed=_AVRO),
        Form("sbe", lambda trades: frames(trades, 1), has_keys=False),
        Form("sbe100", lambda trades: frames(trades, 100), has_keys=False),
    )
}
