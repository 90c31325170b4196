"""A trade's conditions: on the wire up to 8 codes of up to 4 characters, one behind the other; elsewhere a list."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from k2ctl.domain.texts import Texts, codes_of
from k2ctl.domain.trade import CONDITION_BYTES, CONDITION_CODES, TRADE

CONDITIONS_TYPE = pa.list_(pa.field("element", pa.string(), nullable=False))


def pack(codes: Sequence[str]) -> bytes:
    """The field of a trade with these conditions.

    Raises:
        ValueError: there are too many, or one is empty, too long or not printable ASCII without spaces.
    """
    if len(codes) > CONDITION_CODES:
        raise ValueError(f"trade_conditions has {len(codes)} codes, more than {CONDITION_CODES}")
    for code in codes:
        if not code or len(code) > CONDITION_BYTES:
            raise ValueError(f"trade_conditions has the code {code[:20]!r}, not of 1 to {CONDITION_BYTES} characters")
        if not all("!" <= character <= "~" for character in code):
            raise ValueError(f"trade_conditions has the code {code[:20]!r}, not printable ASCII")
    return b"".join(code.encode().ljust(CONDITION_BYTES, b"\0") for code in codes)


def unpack(field: bytes) -> list[str]:
    """The conditions that a trade's field holds."""
    parts = (field[at : at + CONDITION_BYTES].rstrip(b"\0") for at in range(0, len(field), CONDITION_BYTES))
    return [part.decode("ascii", "replace") for part in parts if part]


def lists(column: np.ndarray | Texts) -> pa.ListArray:
    """The fields of n trades as lists of texts."""
    codes, distinct = codes_of(column)
    if len(distinct) == 1 and not distinct[0]:
        return pa.ListArray.from_arrays(np.zeros(len(codes) + 1, np.int32), pa.array([], pa.string()), CONDITIONS_TYPE)
    known = pa.array([unpack(field) for field in distinct.tolist()], CONDITIONS_TYPE)
    return known.take(pa.array(codes))


def packed(column: pa.Array) -> np.ndarray:
    """The fields of n trades, of lists of texts; of a list that no trade can have, bytes that no trade has."""
    kind = TRADE.message["trade_conditions"]
    if not len(column.flatten()):
        return np.zeros(len(column), kind)
    encoded = column.cast(pa.list_(pa.string()))
    texts = [tuple(codes) for codes in encoded.to_pylist()]
    distinct = {codes: _packed(codes) for codes in set(texts)}
    return np.array([distinct[codes] for codes in texts], kind)


def _packed(codes: Sequence[str]) -> bytes:
    try:
        return pack(codes)
    except ValueError:
        return b"\xff" * CONDITION_BYTES * CONDITION_CODES
