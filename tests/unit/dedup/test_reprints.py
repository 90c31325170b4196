"""The same id with another price: what is a copy, what is a reprint, and that a reprint is stored and marked."""

import numpy as np
import pytest

from k2ctl.clock import ManualClock
from k2ctl.dedup.chunk_plan import ChunkPlan
from k2ctl.dedup.deduplicator import HybridDeduplicator, Memory
from k2ctl.domain.checkpoint import Tally
from k2ctl.domain.checksums import checksums
from k2ctl.domain.copies import CopyIndex
from k2ctl.domain.decimals import of_text
from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import CANCEL, LATEST_ALIKE, NO_ID, TRADE
from k2ctl.lake.stored_lookup import Stored
from tests.made_trades import make_rows, make_trades


class Table:
    """The rows that are stored, asked as the lake is."""

    def __init__(self) -> None:
        self.trades = TRADE.empty(0)

    def find(self, rows: Rows) -> Stored:
        met = CopyIndex(self.trades).met(CopyIndex(rows.trades))
        return Stored(met.copies, np.zeros(len(rows), np.bool_), met.reprints)


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def deduplicator(table: Table) -> HybridDeduplicator:
    plan = ChunkPlan(window_us=24 * 3_600_000_000, ids=1000, error_rate=0.001, limit=10)
    return HybridDeduplicator(Memory.empty(plan), table, ManualClock())


def printed(*prices: str) -> np.ndarray:
    """One trade, printed with each of these prices."""
    trades = make_trades(1).repeat(len(prices))
    for trade, price in zip(trades, prices, strict=True):
        trade["price"] = of_text(price)
    return trades


def marks(rows: Rows) -> list[bool]:
    return [refers == own for refers, own in zip(rows.trades["refers_to"], rows.trades["message_id"], strict=True)]


def test_within_a_batch_a_reprint_is_marked_and_a_copy_of_either_dropped(deduplicator: HybridDeduplicator) -> None:
    tally = Tally()
    new = deduplicator.step(make_rows(printed("100", "10", "100", "10", "11")), tally)
    assert new.offset.tolist() == [0, 1, 4]
    assert marks(new) == [False, True, True]


@pytest.mark.parametrize("stored", [False, True])
def test_a_reprint_of_an_earlier_batch_is_marked(deduplicator: HybridDeduplicator, table: Table, stored: bool) -> None:
    first = deduplicator.step(make_rows(printed("100")), Tally())
    assert marks(first) == [False]
    if stored:
        deduplicator.seal()
        deduplicator.publish()
        table.trades = first.trades
    later = deduplicator.step(make_rows(printed("10", "100"), offset=5), Tally())
    assert (later.offset.tolist(), marks(later)) == ([5], [True])
    table.trades = np.concatenate([table.trades, later.trades])
    assert len(deduplicator.step(make_rows(printed("10"), offset=9), Tally())) == 0


def test_a_cancellation_with_the_id_of_its_trade_is_no_copy_and_keeps_its_reference(
    deduplicator: HybridDeduplicator,
) -> None:
    trades = printed("100", "100")
    trades["action"][1], trades["refers_to"][1] = CANCEL, trades["message_id"][1]
    new = deduplicator.step(make_rows(trades), Tally())
    assert new.trades["action"].tolist() == [0, CANCEL]


def test_the_same_id_of_another_symbol_is_neither(deduplicator: HybridDeduplicator) -> None:
    trades = printed("100", "10")
    trades["symbol"][1] = b"OTHER"
    assert marks(deduplicator.step(make_rows(trades), Tally())) == [False, False]


def test_marks_leave_the_checksum_as_it_was_sent() -> None:
    sent = make_trades(5)
    stored = sent.copy()
    stored["refers_to"][1] = stored["message_id"][1]
    stored["action"][3], stored["refers_to"][3] = CANCEL, LATEST_ALIKE
    assert np.array_equal(checksums(stored), checksums(sent))
    stored["refers_to"][2] = stored["message_id"][1]
    assert not np.array_equal(checksums(stored).content, checksums(sent).content)
    assert (sent["refers_to"] == NO_ID).all()
