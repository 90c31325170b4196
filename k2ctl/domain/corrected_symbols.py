"""Which symbols have corrections or cancellations in the table, as one property of it.

So a query of any other symbol looks for none. The property is a set of bits, one for each hash of a symbol, and only
grows: with a thousand corrected symbols one symbol in eight of the others is looked up for nothing. Every commit that
stores an event sets its bit in the same transaction.
"""

import base64
import binascii
import zlib
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import refer

CORRECTED_PROPERTY: Final = "k2.corrected-symbols"
NONE_CORRECTED: Final = ""
_BITS: Final = 8192


def symbols_of_events(batches: Iterable[Rows]) -> set[bytes]:
    """The symbols of the rows that correct or cancel a trade."""
    found = set[bytes]()
    for rows in batches:
        events = refer(rows.trades)
        if events.any():
            found |= set(np.unique(rows.trades["symbol"][events]).tolist())
    return found


def with_symbols(text: str | None, symbols: Iterable[bytes]) -> str | None:
    """The property with some symbols added. None, where it was removed, stays: every symbol may be corrected then."""
    bits = _bits(text)
    if bits is None:
        return None
    for symbol in symbols:
        at = _bit(symbol)
        bits[at >> 3] |= 1 << (at & 7)
    return base64.b64encode(bits).decode() if any(bits) else NONE_CORRECTED


def may_be_corrected(text: str | None, symbols: Sequence[str] | None) -> bool:
    """Whether one of `symbols` (None: any) may have events in the table."""
    bits = _bits(text)
    if bits is None:
        return True
    if symbols is None:
        return any(bits)
    return any(bits[at >> 3] >> (at & 7) & 1 for at in (_bit(symbol.encode()) for symbol in symbols))


def _bit(symbol: bytes) -> int:
    return zlib.crc32(symbol) % _BITS


def _bits(text: str | None) -> bytearray | None:
    """None: the property is not there, or was written by another program."""
    if text == NONE_CORRECTED:
        return bytearray(_BITS // 8)
    try:
        bits = bytearray(base64.b64decode(text or "", validate=True))
    except (binascii.Error, ValueError):
        return None
    return bits if len(bits) == _BITS // 8 else None
