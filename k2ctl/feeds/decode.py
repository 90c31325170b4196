"""Step 1: bytes to columns. What does not decode becomes a dead letter, and the rest of the batch goes on."""

from collections.abc import Callable, Sequence

import numpy as np

from k2ctl.domain.checkpoint import Tally
from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import Decoded, RefusedTrade
from k2ctl.domain.validity import AHEAD
from k2ctl.feeds.records import SBE, Decoder
from k2ctl.kafka.dead_letters import DeadLetter
from k2ctl.kafka.reader import Fetched


def decode_batch(
    fetched: Fetched,
    topic: str,
    epoch: str,
    now_us: int,
    tally: Tally,
    decoder: Decoder = SBE,
    checked_us: Callable[[], int] | None = None,
) -> tuple[Rows, list[DeadLetter]]:
    """The good trades of n records, and the dead letters that the bad ones become.

    Counts `seen`, `dead_lettered` (trades), `undecodable` (records) and `filtered` in `tally`.

    checked_us: the time by Kafka, asked for before any trade is refused as ahead of `now_us`.
    """
    decoded = decoder.decode(fetched)
    partition, offset = fetched.partition[decoded.record], fetched.offset[decoded.record]
    tally.add("seen", partition)
    tally.add("filtered", fetched.partition[decoded.filtered])
    dead_letters = [_dead_letter(fetched, at, None, reason, fetched.values[at]) for at, reason in decoded.broken]
    tally.add("undecodable", np.array([one.partition for one in dead_letters], np.int32))
    rows = Rows.of(topic, epoch, decoded.trades, partition, offset, decoded.index)
    bad = decoder.invalid(decoded.trades, now_us)
    if checked_us is not None and any(AHEAD in reason for reason in bad.values()):
        bad = decoder.invalid(decoded.trades, max(now_us, checked_us()))
    refused = [
        *decoded.refused,
        *(RefusedTrade(int(decoded.record[at]), int(decoded.index[at]), bad[at]) for at in sorted(bad)),
    ]
    if refused:
        of_trades = _of_trades(fetched, decoded, refused, decoder)
        tally.add("seen", fetched.partition[[one.record for one in decoded.refused]])
        tally.add("dead_lettered", np.array([one.partition for one in of_trades], np.int32))
        dead_letters += of_trades
    if bad:
        rows = rows.take(np.delete(np.arange(len(rows)), list(bad)))
    return rows, dead_letters


def _of_trades(
    fetched: Fetched, decoded: Decoded, refused: Sequence[RefusedTrade], decoder: Decoder
) -> list[DeadLetter]:
    """The dead letters of single trades: the record as it came or, of one with more trades, those of the trade."""
    records = np.concatenate([decoded.record, np.array([one.record for one in decoded.refused], np.int64)])
    trades_of = np.bincount(records, minlength=len(fetched))
    alone = {record: decoder.alone(fetched.values[record]) for record in {one.record for one in refused}}
    found = []
    for one in refused:
        parts = alone[one.record] if trades_of[one.record] > 1 else None
        value = fetched.values[one.record] if parts is None else parts[one.index]
        found.append(_dead_letter(fetched, one.record, one.index, one.reason, value))
    return found


def _dead_letter(fetched: Fetched, at: int, index: int | None, reason: str, value: bytes) -> DeadLetter:
    """Of a record, with what was fetched beside its value: the feed needs it again when the record is sent again."""
    beside = {name: column[at] for name, column in fetched.beside.items()}
    return DeadLetter(
        int(fetched.partition[at]),
        int(fetched.offset[at]),
        index,
        reason,
        value,
        key=beside.get("kafka_key"),
        headers=tuple(beside.get("kafka_headers") or ()),
        timestamp_ms=beside.get("kafka_timestamp"),
    )
