"""What identifies a trade of a feed: 128 bits of what the trade is, never of the file or the moment it came in.

- One whole number: exchange and symbol make the first half, the session, and the number is the second. Such ids are
  dense, so that deduplication holds them as intervals.
- Anything else: a digest (MD5; nothing is to be kept secret) of exchange, symbol and the texts, as a UUID of version 8,
  RFC 9562, which is above all ids of session and number.
- Nothing: a digest of every field, and of what tells true look-alikes apart: of a file all its columns and how many
  equal rows are before it, of a topic the record's place.
"""

import hashlib
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.domain.rows import ids_of
from k2ctl.domain.texts import codes_of
from k2ctl.domain.trade import ACTIONS, CANCEL, LATEST_ALIKE, NEW, NO_ID
from k2ctl.feeds.mapping.fields import MISSING, Made, Selected, shown, uuid_of

_VERSION: Final = np.uint64(0xFFFF_FFFF_FFFF_0FFF)
_VERSION_8: Final = np.uint64(0x8000)


def identify(result: Selected, made: Made) -> None:
    """Give the trades their ids by the columns `identity_number` and `identity_digest`."""
    ids, there = _ids("identity", result, made.trades)
    made.refuse(~there, lambda _: f"identity {MISSING}")
    made.trades["message_id"] = ids


def refer(result: Selected, made: Made) -> None:
    """Give corrections and cancellations what they refer to. A cancellation that says none means the latest alike."""
    if "refers_to_text" in result:
        ids, there = _of_uuids(result.column("refers_to_text"), made)
    elif "refers_to_digest" in result:
        ids, there = _ids("refers_to", result, made.trades)
    else:
        ids, there = np.zeros(len(result), "V16"), np.zeros(len(result), np.bool_)
    trades = made.trades
    events = trades["action"] != NEW
    trades["refers_to"][there] = ids[there]
    if events.any():
        trades["refers_to"][~there & (trades["action"] == CANCEL)] = LATEST_ALIKE
        made.refuse(
            ~there & events & (trades["action"] != CANCEL),
            lambda at: f"refers_to {MISSING}, though action is {ACTIONS[trades['action'][at]]}",
        )


def without_reference(trades: np.ndarray) -> None:
    """New prints refer to nothing, whatever a record says beside."""
    trades["refers_to"][trades["action"] == NEW] = NO_ID


def _ids(name: str, result: Selected, trades: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V16[n], and bool[n]: which there are."""
    numbered = np.zeros(len(trades), np.bool_)
    ids = np.zeros(len(trades), "V16")
    if f"{name}_number" in result:
        numbered = ~result.nulls(f"{name}_number")
        if numbered.any():
            ids = numbered_ids(trades, result.integers(f"{name}_number").astype(np.uint64))
    if numbered.all():
        return ids, numbered
    digests = result.column(f"{name}_digest")
    digested = ~result.nulls(f"{name}_digest")
    return np.where(numbered, ids, _version_8(ids_of(digests))), numbered | digested


def numbered_ids(trades: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """V16[n] of trades with a number each (uint64[n]), whose exchange and symbol are there."""
    words = np.empty((len(trades), 2), np.uint64)
    words[:, 0] = _sessions(trades).byteswap()
    words[:, 1] = numbers.byteswap()
    return np.asarray(words.view("V16")[:, 0])


def _version_8(digests: np.ndarray) -> np.ndarray:
    """V16[n] of 128 bits each, as they come."""
    words = np.ascontiguousarray(digests).view(">u8").reshape(-1, 2).astype(np.uint64)
    words[:, 0] = words[:, 0] & _VERSION | _VERSION_8
    words[:, 1] = words[:, 1] >> np.uint64(2) | np.uint64(1 << 63)
    return np.asarray(words.byteswap().view("V16")[:, 0])


def _sessions(trades: np.ndarray) -> np.ndarray:
    """uint64[n]: one of each exchange and symbol."""
    exchange, exchanges = codes_of(trades["exchange"])
    symbol, symbols = codes_of(trades["symbol"])
    pairs, code = np.unique(exchange.astype(np.int64) * len(symbols) + symbol, return_inverse=True)
    found = [_session(bytes(exchanges[pair // len(symbols)]), bytes(symbols[pair % len(symbols)])) for pair in pairs]
    return np.asarray(np.array(found, np.uint64)[code])


@lru_cache(65_536)
def _session(exchange: bytes, symbol: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(exchange + b"\n" + symbol, digest_size=8).digest(), "big")


def _of_uuids(column: pa.Array, made: Made) -> tuple[np.ndarray, np.ndarray]:
    """What the texts of ids refer to; a text that is no UUID refuses its trade."""
    there = ~np.asarray(column.is_null().to_numpy(zero_copy_only=False))
    ids, failed = np.zeros(len(column), "V16"), np.zeros(len(column), np.bool_)
    for at in np.flatnonzero(there).tolist():
        read = uuid_of(column[at].as_py())
        failed[at] = read is None
        ids[at] = np.void(read or bytes(16))
    made.refuse(failed, lambda at: f"refers_to is {shown(column[at].as_py())}, not a UUID")
    return ids, there & ~failed
