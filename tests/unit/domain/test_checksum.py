"""The checksum of a trade: any altered byte, and whatever changed places, changes the sum."""

import numpy as np
import pytest

from k2ctl.domain.checksums import checksums
from k2ctl.domain.trade import HEADER, TRADE
from tests.made_trades import make_trades

CONTENT = [name for name in TRADE.message.names or () if name not in (*(HEADER.names or ()), "reserved")]
BLOCK_BYTES = TRADE.block_length - 16
"""What follows the message id."""


def total(trades: np.ndarray) -> int:
    return int(checksums(trades).content.sum())


def test_every_flipped_bit_changes_the_sum_but_for_header_session_and_time_of_sending() -> None:
    trades = make_trades(8)
    before, fields = total(trades), TRADE.message.fields or {}
    unseen = {
        *range(HEADER.itemsize + 8),
        *range(fields["received_ns"][1], fields["received_ns"][1] + 8),
    }
    for bit in range((fields["reserved"][1]) * 8):
        flipped = trades.copy()
        flipped.view(np.uint8).reshape(8, -1)[3, bit // 8] ^= np.uint8(1 << bit % 8)
        assert (total(flipped) == before) == (bit // 8 in unseen), f"bit {bit}"


@pytest.mark.parametrize("field", [name for name in CONTENT if name not in ("message_id", "received_ns")])
def test_a_field_that_two_trades_exchanged_changes_the_sum(field: str) -> None:
    rng = np.random.default_rng(1)
    trades = make_trades(4000)
    trades.view(np.uint8).reshape(4000, -1)[:, HEADER.itemsize + 16 :] = rng.integers(
        0, 256, (4000, BLOCK_BYTES), np.uint8
    )
    swapped = trades.copy()
    swapped[field][0::2], swapped[field][1::2] = trades[field][1::2], trades[field][0::2]
    pairs = [checksums(part).content.reshape(-1, 2).sum(axis=1) for part in (trades, swapped)]
    differ = trades[field][0::2] != trades[field][1::2]
    assert differ.any()
    assert ((pairs[0] != pairs[1]) == differ).all()


def test_every_flipped_bit_of_the_time_of_sending_changes_the_sum_of_times() -> None:
    trades = make_trades(8)
    before = int(checksums(trades).times.sum())
    for bit in range(63):
        changed = trades.copy()
        changed["received_ns"][3] ^= 1 << bit
        assert int(checksums(changed).times.sum()) != before


def test_times_that_two_trades_exchanged_change_the_sum_of_times() -> None:
    trades = make_trades(2)
    trades["received_ns"] = 1, 2
    swapped = trades.copy()
    swapped["received_ns"] = 2, 1
    assert checksums(trades).times.sum() != checksums(swapped).times.sum()


def test_the_order_does_not_matter_and_what_is_in_the_sum_does() -> None:
    trades = make_trades(500)
    assert total(trades[::-1]) == total(trades)
    assert total(trades[:-1]) != total(trades)
    assert total(np.append(trades, trades[:1])) != total(trades)
