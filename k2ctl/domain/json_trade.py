"""K2's own trades as JSON: an object per trade, or an array of them as one frame.

Fields are named as the table's columns. `message_id` and `refers_to` are UUIDs; prices and quantities are texts of
decimals; times are whole numbers in the unit that the topic declares, or ISO 8601 where that is not fine enough. How
they are read, the shipped feed k2-json says.
"""

import uuid
from typing import Final

import numpy as np
import orjson

from k2ctl.domain.conditions import unpack
from k2ctl.domain.decimals import as_text
from k2ctl.domain.texts import instant_text
from k2ctl.domain.trade import ACTIONS, ASSET_CLASSES, NEW, NO_SEQUENCE, SIDES

_TEXTS: Final = ("symbol", "exchange", "currency")
_TIMES: Final = {"timestamp": "event_ns", "ingestion_timestamp": "received_ns"}
MICROSECOND: Final = 1_000


def encode_json(trades: np.ndarray, per_frame: int, unit_ns: int = MICROSECOND) -> list[bytes]:
    """Cut an array of trades (dtype `TRADE.message`) into JSON record values of `per_frame` trades."""
    objects = [_object(trade, unit_ns) for trade in trades]
    if per_frame == 1:
        return [orjson.dumps(item) for item in objects]
    return [orjson.dumps(objects[at : at + per_frame]) for at in range(0, len(objects), per_frame)]


def _object(trade: np.void, unit_ns: int) -> dict[str, object]:
    sequence = int(trade["source_sequence"])
    item = {
        "message_id": uuid.UUID(bytes=bytes(trade["message_id"])),
        "trade_id": int(trade["trade_id"]),
        **{name: trade[name].decode() for name in _TEXTS},
        "asset_class": ASSET_CLASSES[trade["asset_class"]],
        **{name: _time(int(trade[field]), unit_ns) for name, field in _TIMES.items()},
        "price": as_text(trade["price"]),
        "quantity": as_text(trade["quantity"]),
        "side": SIDES[trade["side"]],
        "trade_conditions": unpack(trade["trade_conditions"]),
        "source_sequence": None if sequence == NO_SEQUENCE else sequence,
    }
    if trade["action"] != NEW:
        item |= {"action": ACTIONS[trade["action"]], "refers_to": uuid.UUID(bytes=bytes(trade["refers_to"]))}
    return item


def _time(nanoseconds: int, unit_ns: int) -> int | str:
    """A whole number where the unit is fine enough."""
    return instant_text(nanoseconds) if nanoseconds % unit_ns else nanoseconds // unit_ns
