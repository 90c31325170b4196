"""Records of Avro for `k2ctl bench consume`: K2's own `TradeV2` with its schema, and what answers for a registry."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import numpy as np

from k2ctl.domain.decimals import as_text
from k2ctl.domain.trade import ASSET_CLASSES, NO_SEQUENCE, SIDES
from k2ctl.home import shipped

_NUMBER: Final = 1
_HEAD: Final = b"\0" + _NUMBER.to_bytes(4, "big")
_MICROS: Final = {"type": "long", "logicalType": "timestamp-micros"}
_PLACES: Final = 8
_DECIMAL: Final = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": _PLACES}
_FIELDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("message_id", "trade_id", "symbol", "exchange"), "string"),
    "asset_class": {"type": "enum", "name": "AssetClass", "symbols": ASSET_CLASSES},
    "timestamp": _MICROS,
    "price": _DECIMAL,
    "quantity": _DECIMAL,
    "currency": "string",
    "side": {"type": "enum", "name": "TradeSide", "symbols": SIDES},
    "trade_conditions": {"type": "array", "items": "string"},
    "source_sequence": ["null", "long"],
    "ingestion_timestamp": _MICROS,
    "platform_sequence": ["null", "long"],
    "vendor_data": ["null", {"type": "map", "values": "string"}],
}
SCHEMA: Final = json.dumps(
    {
        "type": "record",
        "name": "TradeV2",
        "namespace": "com.k2.marketdata",
        "fields": [{"name": name, "type": kind} for name, kind in _FIELDS.items()],
    }
)


def as_avro(trades: np.ndarray) -> list[bytes]:
    """Trades as `TradeV2` records behind the number of their schema, about 120 bytes each."""
    return [_record(trade) for trade in trades]


def _record(trade: Any) -> bytes:
    exchange, sequence = bytes(trade["exchange"]), int(trade["source_sequence"])
    return b"".join(
        (
            _HEAD,
            _bytes(str(uuid.UUID(bytes=bytes(trade["message_id"]))).encode()),
            _bytes(b"%s-%d" % (exchange, trade["trade_id"])),
            _bytes(bytes(trade["symbol"])),
            _bytes(exchange),
            _long(int(trade["asset_class"])),
            _long(int(trade["event_ns"]) // 1000),
            _decimal(trade["price"]),
            _decimal(trade["quantity"]),
            _bytes(bytes(trade["currency"])),
            _long(int(trade["side"])),
            b"\0",  # no conditions
            b"\0" if sequence == NO_SEQUENCE else b"\x02" + _long(sequence),
            _long(int(trade["received_ns"]) // 1000),
            b"\0\0",  # neither a number of the platform nor data of the vendor
        )
    )


def _long(number: int) -> bytes:
    left = number << 1 if number >= 0 else (~number << 1) | 1
    found = bytearray()
    while left > 127:
        found.append(left & 127 | 128)
        left >>= 7
    return bytes([*found, left])


def _bytes(value: bytes) -> bytes:
    return _long(len(value)) + value


def _decimal(value: Any) -> bytes:
    mantissa = int(Decimal(as_text(value)).scaleb(_PLACES))
    return _bytes(mantissa.to_bytes(mantissa.bit_length() // 8 + 1, "big", signed=True))


class _Answers(BaseHTTPRequestHandler):
    """A registry with one schema; of anything else it knows nothing."""

    def do_GET(self) -> None:
        """Answer as Confluent's API does."""
        known = self.path.partition("?")[0] == f"/schemas/ids/{_NUMBER}"
        answer = {"schema": SCHEMA} if known else {"error_code": 40403, "message": "not here"}
        body = json.dumps(answer).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def avro_feed(folder: Path) -> Iterator[str]:
    """The shipped feed with the address of a registry that answers as long as this is open."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    path = folder / "k2-avro.yaml"
    shipped_text = (shipped("profiles") / "feeds" / "k2-avro.yaml").read_text()
    path.write_text(shipped_text.replace("http://localhost:8081", f"http://127.0.0.1:{server.server_port}"))
    try:
        yield str(path)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
