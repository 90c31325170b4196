"""Step 1: bytes to columns. What does not decode becomes a dead letter, and the rest of the batch goes on."""

from collections.abc import Callable

import numpy as np

from k2ctl.domain.checkpoint import Tally
from k2ctl.domain.corrections import by_condition
from k2ctl.domain.rows import Rows
from k2ctl.domain.topics import WireFormat
from k2ctl.domain.validity import AHEAD, invalid
from k2ctl.domain.wire import CODECS
from k2ctl.kafka.dead_letters import DeadLetter
from k2ctl.kafka.reader import Fetched


def decode_batch(
    fetched: Fetched,
    topic: str,
    epoch: str,
    now_us: int,
    tally: Tally,
    wire_format: WireFormat = "sbe",
    checked_us: Callable[[], int] | None = None,
) -> tuple[Rows, list[DeadLetter]]:
    """The good trades of n records, and the dead letters that the bad ones become.

    Counts `seen`, `dead_lettered` (trades) and `undecodable` (records) in `tally`.

    checked_us: the time by Kafka, asked for before any trade is refused as ahead of `now_us`.
    """
    codec = CODECS[wire_format]
    decoded = codec.decode(fetched.values)
    partition, offset = fetched.partition[decoded.record], fetched.offset[decoded.record]
    tally.add("seen", partition)
    dead_letters = [
        DeadLetter(int(fetched.partition[at]), int(fetched.offset[at]), None, reason, fetched.values[at])
        for at, reason in decoded.broken
    ]
    tally.add("undecodable", np.array([one.partition for one in dead_letters], np.int32))
    trades = by_condition(decoded.trades)
    rows = Rows.of(topic, epoch, trades, partition, offset, decoded.index)
    bad = invalid(trades, now_us)
    if checked_us is not None and any(AHEAD in reason for reason in bad.values()):
        bad = invalid(trades, max(now_us, checked_us()))
    if bad:
        where = np.array(sorted(bad))
        tally.add("dead_lettered", partition[where])
        alone = np.bincount(decoded.record, minlength=len(fetched))[decoded.record[where]] == 1
        for at, is_alone in zip(where.tolist(), alone.tolist(), strict=True):
            # The bytes as they came or, for one trade of several, what its producer would have sent for it alone.
            value = fetched.values[decoded.record[at]] if is_alone else codec.encode(decoded.trades[[at]], 1)[0]
            dead_letters.append(DeadLetter(int(partition[at]), int(offset[at]), int(decoded.index[at]), bad[at], value))
        good = np.ones(len(rows), np.bool_)
        good[where] = False
        rows = rows.take(good)
    return rows, dead_letters
