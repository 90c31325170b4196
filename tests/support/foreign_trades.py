"""Trades of foreign feeds: records decoded as a consumer does, and trades as one line each to compare."""

from collections.abc import Sequence

import numpy as np

from k2ctl.domain.conditions import unpack
from k2ctl.domain.decimals import as_text
from k2ctl.domain.texts import instant_text
from k2ctl.domain.trade import ACTIONS, ASSET_CLASSES, NEW, NO_SEQUENCE, SIDES, Decoded
from k2ctl.feeds.foreign import Foreign
from k2ctl.kafka.reader import Fetched
from k2ctl.profiles.feed import load_feed

RECEIVED_MS = 1_767_225_600_000
"""The timestamp of the records: 2026-01-01."""


def decoded(feed: str, values: Sequence[bytes | str]) -> Decoded:
    """The records of a topic, by a shipped feed or the path of one."""
    raw = [value.encode() if isinstance(value, str) else value for value in values]
    count = len(raw)
    fetched = Fetched(raw, np.zeros(count, np.int32), np.arange(count), RECEIVED_MS, RECEIVED_MS)
    return Foreign(load_feed(feed), ()).decode(fetched)


def lines(trades: np.ndarray) -> list[str]:
    """Each trade as `AAPL XNAS USD equities BUY 100 @ 1.5 at 2024-01-02T14:30:00Z #7 seq 8 [@ T] CANCEL`.

    What a trade has not is left out: currency, id, sequence number, conditions; the action NEW.
    """
    return [_line(trade) for trade in trades]


def _line(trade: np.void) -> str:
    sequence, conditions = int(trade["source_sequence"]), unpack(bytes(trade["trade_conditions"]))
    parts = [
        *(trade[name].decode() for name in ("symbol", "exchange", "currency")),
        ASSET_CLASSES[trade["asset_class"]],
        SIDES[trade["side"]],
        f"{as_text(trade['quantity'])} @ {as_text(trade['price'])}",
        f"at {instant_text(int(trade['event_ns']))}",
        f"#{trade['trade_id']}" if trade["trade_id"] else "",
        f"seq {sequence}" if sequence != NO_SEQUENCE else "",
        f"[{' '.join(conditions)}]" if conditions else "",
        ACTIONS[trade["action"]] if trade["action"] != NEW else "",
    ]
    return " ".join(part for part in parts if part)
