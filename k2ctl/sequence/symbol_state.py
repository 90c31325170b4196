"""The tracker's state of single symbols, out of its columns and back, or rebuilt from the rows of the table.

Packed, it takes 66 bytes, and 40 for each gap.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.domain.rows import trades_of
from k2ctl.errors import StateError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.readers import recent_rows, rows_in
from k2ctl.sequence.channels import Gap
from k2ctl.sequence.tracker import SequenceTracker

FORMAT: Final = 2

SYMBOL: Final = np.dtype(
    [
        ("format", "<u2"),
        ("gaps", "<u2"),
        ("past_gaps", "<u2"),
        ("run", "<u4"),
        ("first", "<i8"),
        ("highest", "<i8"),
        ("latest_us", "<i8"),
        ("seen_us", "<i8"),
        ("begun_us", "<i8"),
        ("past_highest", "<i8"),
        ("past_latest_us", "<i8"),
    ]
)
"""run: how often the counter has restarted. first, highest: numbers of this run. latest_us: the latest exchange time
in it. seen_us: when its last trade was sent to us. begun_us: when this run began; past: of the run before. Behind it
come the gaps of this run and those of the run before. All times are µs UTC."""

_GAP: Final = np.dtype(
    [("start", "<i8"), ("after", "<i8"), ("opened_us", "<i8"), ("before_us", "<i8"), ("event_us", "<i8")]
)


def pack(headers: np.ndarray, gaps: Sequence[Sequence[Gap]], past_gaps: Sequence[Sequence[Gap]]) -> list[bytes]:
    """n states as bytes. headers: structured array (dtype `SYMBOL`); gaps in order, then those of the run before."""
    headers = headers.copy()
    headers["format"] = FORMAT
    headers["gaps"] = [len(own) for own in gaps]
    headers["past_gaps"] = [len(own) for own in past_gaps]
    packed: list[bytes] = headers.view(f"V{SYMBOL.itemsize}").tolist()
    both = [[*own, *past] for own, past in zip(gaps, past_gaps, strict=True)]
    return [head + np.array(own, np.int64).tobytes() if own else head for head, own in zip(packed, both, strict=True)]


def unpack(values: Sequence[bytes]) -> tuple[np.ndarray, list[list[Gap]], list[list[Gap]]]:
    """The headers, the gaps and those of the run before, of n states.

    Raises:
        StateError: a value is damaged, or of a format that is not ours.
    """
    if any(len(value) < SYMBOL.itemsize for value in values):
        raise StateError("A symbol's state is too short.")
    headers = np.frombuffer(b"".join(value[: SYMBOL.itemsize] for value in values), SYMBOL)
    if len(headers) and not (headers["format"] == FORMAT).all():
        raise StateError("A symbol's state is of an unknown format.")
    found, past_found = [], []
    for value, count, past in zip(values, headers["gaps"].tolist(), headers["past_gaps"].tolist(), strict=True):
        if len(value) != SYMBOL.itemsize + (count + past) * _GAP.itemsize:
            raise StateError("A symbol's state has another length than its header says.")
        rows = np.frombuffer(value, _GAP, count + past, SYMBOL.itemsize).tolist() if count + past else []
        gaps = [Gap(*row) for row in rows]
        found.append(gaps[:count])
        past_found.append(gaps[count:])
    return headers, found, past_found


_COLUMNS = ("run", "first", "highest", "latest_us", "seen_us", "begun_us", "past_highest", "past_latest_us")


def cut(tracker: SequenceTracker) -> dict[int, dict[bytes, bytes]]:
    """What has changed since the last cut: partition → `exchange/symbol` → packed state."""
    channels = tracker.channels
    changed = np.flatnonzero(channels.dirty[: len(channels)])
    channels.dirty[changed] = False
    headers = np.zeros(len(changed), SYMBOL)
    for name in _COLUMNS:
        headers[name] = getattr(channels, name)[changed]
    numbers = changed.tolist()
    gaps, past_gaps = ([kept.of(number) for number in numbers] for kept in (tracker.gaps, tracker.past_gaps))
    packed = pack(headers, gaps, past_gaps)
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
    headers, gaps, past_gaps = unpack(list(values.values()))
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
        tracker.past_gaps.restore(number, past_gaps[at])
    tracker.has_restarts |= bool(headers["run"].any())


TOGETHER_ROWS: Final = 1_000_000


def rebuild(
    lake: Lake,
    topic: str,
    partitions: Collection[int],
    since_us: int,
    tracker: SequenceTracker,
    epoch: str = "",
    covered: Mapping[int, int] | None = None,
) -> None:
    """Sequence state as if the consumer had just read the rows that the table holds.

    since_us: rows from before it are not remembered. covered: per partition the offset of `epoch` up to which the
    tracker knows the rows already, from the state store.
    """
    table, known, tracker.knows_begin = lake.table(), 0, False
    for columns in _in_time_order(recent_rows(table, since_us, topic, partitions)):
        for rows in columns.combine_chunks().to_batches():
            note_stored(tracker, rows, epoch, covered or {})
            known += len(rows)
    tracker.knows_begin = True
    if known == rows_in(table):
        tracker.begin_sessions()
    tracker.start_counting()


def _in_time_order(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of several files in the order of time, some `TOGETHER_ROWS` at once.

    A commit has parts of partitions, so no order of the files gives every symbol its trades in order: where
    later trades came first, the earlier ones would look like trades from before the symbol was followed.
    """
    held: list[pa.Table] = []
    for columns in tables:
        held.append(columns)
        if sum(map(len, held)) >= TOGETHER_ROWS:
            yield _sorted(held)
            held = []
    if held:
        yield _sorted(held)


def _sorted(tables: list[pa.Table]) -> pa.Table:
    rows = pa.concat_tables(tables).unify_dictionaries()
    return rows.sort_by([("timestamp", "ascending"), ("kafka_offset", "ascending")])


def note_stored(tracker: SequenceTracker, rows: pa.RecordBatch, epoch: str, covered: Mapping[int, int]) -> None:
    """Let the tracker know the stored rows, with `RECENT_COLUMNS`, that the state store did not cover."""
    trades, partition = trades_of(rows), rows["kafka_partition"].to_numpy()
    if covered and len(partition):
        up_to = np.full(int(partition.max()) + 1, -1, np.int64)
        for number, offset in covered.items():
            if number < len(up_to):
                up_to[number] = offset
        # Of a covered partition only what this epoch has added since: older epochs came before.
        of_epoch = pc.equal(rows["kafka_epoch"].cast(pa.string()), epoch).to_numpy(zero_copy_only=False)
        unknown = (up_to[partition] < 0) | (of_epoch & (rows["kafka_offset"].to_numpy() >= up_to[partition]))
        trades, partition = trades[unknown], partition[unknown]
    tracker.step(trades, partition)
