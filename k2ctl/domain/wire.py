"""How `k2ctl load` writes trades into a topic: declared in the profile. How they are read: `k2ctl.feeds`."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from k2ctl.domain.json_trade import encode_json
from k2ctl.domain.topics import TimeUnit, WireFormat
from k2ctl.domain.trade import frames

_UNITS_NS: Final[dict[TimeUnit, int]] = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


@dataclass(frozen=True)
class RecordFormat:
    """SBE, or K2's JSON."""

    wire: WireFormat = "sbe"
    # Of JSON's times that are whole numbers; SBE's are nanoseconds.
    time_unit: TimeUnit = "us"

    def encode(self, trades: np.ndarray, per_frame: int) -> list[bytes]:
        """Trades (dtype `TRADE.message`) as record values of `per_frame` trades, the last one perhaps shorter."""
        if self.wire == "json":
            return encode_json(trades, per_frame, _UNITS_NS[self.time_unit])
        return frames(trades, per_frame)


SBE: Final = RecordFormat()
JSON: Final = RecordFormat("json")
