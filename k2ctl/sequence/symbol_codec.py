"""The state of one symbol, packed: 40 bytes, and 40 for each open gap."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from k2ctl.errors import StateError

FORMAT: Final = 1

SYMBOL: Final = np.dtype(
    [
        ("format", "<u2"),
        ("gaps", "<u2"),
        ("run", "<u4"),
        ("first", "<i8"),
        ("highest", "<i8"),
        ("latest_us", "<i8"),
        ("seen_us", "<i8"),
    ]
)
"""run: how often the counter has restarted. first, highest: numbers of this run. latest_us: the latest exchange time
in it. seen_us: when its last trade was sent to us. All times are µs UTC."""

_GAP: Final = np.dtype(
    [("start", "<i8"), ("after", "<i8"), ("opened_us", "<i8"), ("before_us", "<i8"), ("event_us", "<i8")]
)


class Gap(NamedTuple):
    """Missing numbers [start, after) of a symbol's present run."""

    start: int
    after: int
    # When the gap was noticed.
    opened_us: int
    # The latest exchange time before the gap, and that of the trade that revealed it.
    before_us: int
    event_us: int

    @property
    def missing(self) -> int:
        """How many numbers."""
        return self.after - self.start


def pack(headers: np.ndarray, gaps: Sequence[Sequence[Gap]]) -> list[bytes]:
    """n states as bytes. headers: structured array (dtype `SYMBOL`); gaps: the open gaps of each, in order."""
    headers = headers.copy()
    headers["format"] = FORMAT
    headers["gaps"] = [len(own) for own in gaps]
    packed: list[bytes] = headers.view(f"V{SYMBOL.itemsize}").tolist()
    return [head + np.array(own, np.int64).tobytes() if own else head for head, own in zip(packed, gaps, strict=True)]


def unpack(values: Sequence[bytes]) -> tuple[np.ndarray, list[list[Gap]]]:
    """The headers and the gaps of n states.

    Raises:
        StateError: a value is damaged, or of a format that is not ours.
    """
    if any(len(value) < SYMBOL.itemsize for value in values):
        raise StateError("A symbol's state is too short.")
    headers = np.frombuffer(b"".join(value[: SYMBOL.itemsize] for value in values), SYMBOL)
    if len(headers) and not (headers["format"] == FORMAT).all():
        raise StateError("A symbol's state is of an unknown format.")
    found = []
    for value, count in zip(values, headers["gaps"].tolist(), strict=True):
        if len(value) != SYMBOL.itemsize + count * _GAP.itemsize:
            raise StateError("A symbol's state has another length than its header says.")
        rows = np.frombuffer(value, _GAP, count, SYMBOL.itemsize).tolist() if count else []
        found.append([Gap(*row) for row in rows])
    return headers, found
