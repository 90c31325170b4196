"""How a topic's record values are written, and which times they may have: declared in the profile.

SBE is k2ctl's own format; JSON is for topics that others fill.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from k2ctl.domain.corrections import CANCEL_CODES, by_condition
from k2ctl.domain.json_trade import decode_json, encode_json, objects_of
from k2ctl.domain.topics import TimeUnit, WireFormat
from k2ctl.domain.trade import Decoded, decode, frames, messages_of
from k2ctl.domain.validity import EARLIEST_US, invalid

_UNITS_NS: Final[dict[TimeUnit, int]] = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


@dataclass(frozen=True)
class RecordFormat:
    """How the records of a topic are read and written."""

    wire: WireFormat = "sbe"
    # Of times that are whole numbers; SBE's are nanoseconds.
    time_unit: TimeUnit = "us"
    # No trade is older.
    earliest_us: int = EARLIEST_US
    # The conditions that make a print a cancellation.
    cancels: tuple[str, ...] = CANCEL_CODES

    def encode(self, trades: np.ndarray, per_frame: int) -> list[bytes]:
        """Trades (dtype `TRADE.message`) as record values of `per_frame` trades, the last one perhaps shorter."""
        if self.wire == "json":
            return encode_json(trades, per_frame, _UNITS_NS[self.time_unit])
        return frames(trades, per_frame)

    def decode(self, values: Sequence[bytes]) -> Decoded:
        """Decode a batch of record values; never raises for what a record may hold."""
        decoded = decode_json(values, _UNITS_NS[self.time_unit]) if self.wire == "json" else decode(values)
        trades = by_condition(decoded.trades, self.cancels)
        return decoded if trades is decoded.trades else replace(decoded, trades=trades)

    def invalid(self, trades: np.ndarray, now_us: int) -> dict[int, str]:
        """The trades whose values cannot be, with the reason, see `validity`."""
        return invalid(trades, now_us, self.earliest_us)

    def alone(self, value: bytes) -> list[bytes]:
        """Each trade of a record value that could be read, as its producer would have sent it alone."""
        return objects_of(value) if self.wire == "json" else messages_of(value)


SBE: Final = RecordFormat()
JSON: Final = RecordFormat("json")
