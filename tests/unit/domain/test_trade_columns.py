"""The fields of trades in one piece each: what the trades have, however many there are and wherever they stand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2ctl.domain.columns import TradeColumns
from k2ctl.domain.decimals import DECIMAL_LIMIT, beyond_limit, negative, of_int
from k2ctl.domain.texts import Texts, codes_of
from k2ctl.domain.trade import TRADE

COUNTS = st.sampled_from([0, 1, 63, 64, 65, 511, 512, 513, 1_100])


def any_trades(count: int, seed: int) -> np.ndarray:
    """Trades of any bytes."""
    return np.random.default_rng(seed).integers(0, 256, count * TRADE.message.itemsize, np.uint8).view(TRADE.message)


@settings(max_examples=30)
@given(count=COUNTS, step=st.sampled_from([1, 2]), seed=st.integers(0, 1_000))
def test_each_field_is_that_of_the_trades(count: int, step: int, seed: int) -> None:
    trades = any_trades(count * step, seed)[::step]
    columns = TradeColumns(trades)
    for name in ("trade_id", "event_ns", "received_ns", "source_sequence"):
        assert columns.number(name).dtype == trades[name].dtype
        assert columns.number(name).tolist() == trades[name].tolist()
    for name in ("asset_class", "side", "action"):
        assert columns.code(name).tolist() == trades[name].tolist()
    for name in ("symbol", "exchange", "currency", "trade_conditions"):
        assert columns.text(name).whole().tolist() == trades[name].tolist()
    for name in ("price", "quantity"):
        low, high = columns.words(name)
        assert low.tolist() == trades[name]["low"].tolist()
        assert high.view(np.int64).tolist() == trades[name]["high"].tolist()


@settings(max_examples=30)
@given(
    found=st.lists(st.sampled_from([b"", b"A", b"AB", b"12345678", b"123456789", b"ZZZZZZZZZZZZZZZZZ"]), max_size=4),
    copies=st.sampled_from([1, 16, 65, 300]),
)
def test_texts_are_kept_apart_word_by_word_as_they_are_in_trades(found: list[bytes], copies: int) -> None:
    texts = found * copies
    trades = TRADE.empty(len(texts))
    trades["symbol"] = texts
    for column in (trades["symbol"], TradeColumns(trades).text("symbol"), np.array(texts, "S17")):
        codes, distinct = codes_of(column)
        assert [distinct[code] for code in codes.tolist()] == texts
        assert sorted(distinct.tolist()) == sorted(set(texts)) or not texts


@pytest.mark.parametrize("mantissa", [0, 1, -1, DECIMAL_LIMIT, DECIMAL_LIMIT + 1, -DECIMAL_LIMIT, -DECIMAL_LIMIT - 1])
def test_a_mantissa_is_compared_with_zero_and_the_limit_by_its_words(mantissa: int) -> None:
    words = of_int(mantissa)[None].view(np.uint64).reshape(2, 1)
    assert negative(words).tolist() == [mantissa < 0]
    assert beyond_limit(words).tolist() == [abs(mantissa) > DECIMAL_LIMIT]


def test_texts_of_no_trades_have_no_codes() -> None:
    codes, distinct = codes_of(Texts(np.zeros((2, 0), np.uint64), np.dtype("S16")))
    assert (len(codes), len(distinct)) == (0, 0)
