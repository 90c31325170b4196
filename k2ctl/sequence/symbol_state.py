"""The tracker's state of single symbols, out of its columns and back."""

from collections.abc import Mapping

import numpy as np

from k2ctl.sequence.symbol_codec import SYMBOL, pack, unpack
from k2ctl.sequence.tracker import SequenceTracker

_COLUMNS = ("run", "first", "highest", "latest_us", "seen_us")


def cut(tracker: SequenceTracker) -> dict[int, dict[bytes, bytes]]:
    """What has changed since the last cut: partition → `exchange/symbol` → packed state."""
    channels = tracker.channels
    changed = np.flatnonzero(channels.dirty[: len(channels)])
    channels.dirty[changed] = False
    headers = np.zeros(len(changed), SYMBOL)
    for name in _COLUMNS:
        headers[name] = getattr(channels, name)[changed]
    numbers = changed.tolist()
    packed = pack(headers, [tracker.gaps.of(number) for number in numbers])
    result: dict[int, dict[bytes, bytes]] = {}
    for number, partition, value in zip(numbers, channels.partition[changed].tolist(), packed, strict=True):
        result.setdefault(partition, {})[channels.names[number]] = value
    return result


def restore(tracker: SequenceTracker, partition: int, values: Mapping[bytes, bytes]) -> None:
    """Give the tracker state that was cut by another consumer.

    Where a producer has moved a symbol from one partition to another, the state with the higher number counts.

    Raises:
        StateError: a value is damaged; the tracker is as before.
    """
    if not values:
        return
    headers, gaps = unpack(list(values.values()))
    channels = tracker.channels
    numbers = channels.number_all(list(values))
    further = (headers["run"] > channels.run[numbers]) | (
        (headers["run"] == channels.run[numbers]) & (headers["highest"] > channels.highest[numbers])
    )
    numbers, headers = numbers[further], headers[further]
    for name in _COLUMNS:
        getattr(channels, name)[numbers] = headers[name]
    channels.partition[numbers] = partition
    for number, at in zip(numbers.tolist(), np.flatnonzero(further).tolist(), strict=True):
        tracker.gaps.restore(number, gaps[at])
