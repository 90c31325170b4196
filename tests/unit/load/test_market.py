"""The synthetic market: seeded, dense, on the grid, and faulty only on request."""

import numpy as np
import pytest

from k2ctl.domain.checksums import checksums
from k2ctl.domain.decimals import DECIMAL_ONE, as_int
from k2ctl.domain.trade import CANCEL, CORRECT, NEW, NO_ID, TRADE
from k2ctl.domain.validity import invalid
from k2ctl.load.market import Faults, SyntheticMarket, reference_data
from k2ctl.profiles import load_profile
from k2ctl.profiles.universe import Universe

UNIVERSE = Universe(load_profile("laptop"))
NOW_US = 1_790_000_000_000_000


def played(count: int = 20_000, batches: int = 5, **arguments: object) -> np.ndarray:
    market = SyntheticMarket(UNIVERSE, "run", **arguments)  # type: ignore[arg-type]
    return np.concatenate([market.take(count // batches, NOW_US, NOW_US + 1000).trades for _ in range(batches)])


def test_the_same_seed_plays_the_same_market() -> None:
    assert played().tobytes() == played().tobytes()


def test_every_trade_is_valid_and_on_the_grid() -> None:
    trades = played()
    assert invalid(trades, NOW_US) == {}
    ticks = dict(zip(UNIVERSE.symbols, UNIVERSE.tick_sizes.tolist(), strict=True))
    for trade in trades[:500]:
        assert as_int(trade["price"]) % ticks[trade["symbol"].decode()] == 0
        assert as_int(trade["quantity"]) % DECIMAL_ONE == 0


def test_each_symbol_is_numbered_without_holes_and_ids_never_repeat() -> None:
    trades = played()
    for symbol in set(trades["symbol"].tolist()):
        numbers = trades["source_sequence"][trades["symbol"] == symbol]
        assert numbers.tolist() == list(range(1, len(numbers) + 1))
    assert len({bytes(i) for i in trades["message_id"].tolist()}) == len(trades)


def test_another_run_has_other_ids() -> None:
    one = SyntheticMarket(UNIVERSE, "one").take(100, NOW_US, NOW_US).trades["message_id"]
    two = SyntheticMarket(UNIVERSE, "two").take(100, NOW_US, NOW_US).trades["message_id"]
    assert not set(one.tolist()) & set(two.tolist())


def test_workers_share_the_symbols_and_the_trades() -> None:
    markets = [SyntheticMarket(UNIVERSE, "run", worker=n, workers=3) for n in range(3)]
    symbols = [set(m.take(5000, NOW_US, NOW_US).trades["symbol"].tolist()) for m in markets]
    assert not symbols[0] & symbols[1]
    assert not symbols[1] & symbols[2]
    edges = [edge for market in markets for edge in market.fraction]
    assert (edges[0], edges[-1]) == (0.0, 1.0)
    assert edges[1::2][:-1] == pytest.approx(edges[2::2])


def test_popular_symbols_trade_more() -> None:
    trades = played(count=50_000)
    names, counts = np.unique(trades["symbol"], return_counts=True)
    top = names[np.argmax(counts)]
    assert top == b"BHP"
    assert counts.max() / len(trades) == pytest.approx(UNIVERSE.weights[0], rel=0.3)


def test_a_batch_is_sorted_by_partition_and_says_where_each_ends() -> None:
    batch = SyntheticMarket(UNIVERSE, "run").take(3000, NOW_US, NOW_US)
    partition = UNIVERSE.partitioner().partitions_of(batch.trades["symbol"])
    assert (np.diff(partition) >= 0).all()
    assert np.bincount(partition, minlength=12).tolist() == batch.per_partition.tolist()


def test_duplicates_share_the_id_of_the_first() -> None:
    trades = played(faults=Faults(duplicates=0.1))
    ids = [bytes(i) for i in trades["message_id"].tolist()]
    assert len(ids) - len(set(ids)) == pytest.approx(2000, rel=0.2)


def test_gaps_leave_numbers_out_and_disorder_turns_neighbours_round() -> None:
    gappy = played(faults=Faults(gaps=0.1))
    assert len(gappy) == pytest.approx(18_000, rel=0.02)
    mixed = played(faults=Faults(out_of_order=0.2))
    assert len(mixed) == 20_000
    bhp = mixed["source_sequence"][mixed["symbol"] == b"BHP"].astype(np.int64)
    assert (np.diff(bhp) < 0).any()
    assert sorted(bhp.tolist()) == list(range(1, len(bhp) + 1))


def test_reference_data_names_every_symbol_with_its_tier() -> None:
    entries = reference_data(UNIVERSE, NOW_US)
    assert len(set(entries["symbol"].tolist())) == 500
    assert np.bincount(entries["tier"]).tolist() == [0, 10, 40, 200, 250]


def test_corrections_and_cancellations_refer_to_earlier_ids_of_their_symbol() -> None:
    trades = played(faults=Faults(corrections=0.05, cancels=0.02))
    for action, share in ((CORRECT, 0.05), (CANCEL, 0.02)):
        assert np.isclose((trades["action"] == action).mean(), share, atol=share / 3)
    events = trades[trades["action"] != NEW]
    assert not invalid(trades, int(trades["event_ns"].max()) // 1000)
    own, referred = (
        np.ascontiguousarray(events[name]).view(">u8").reshape(-1, 2) for name in ("message_id", "refers_to")
    )
    assert (own[:, 0] == referred[:, 0]).all()
    assert ((referred[:, 1] >= 1) & (referred[:, 1] < own[:, 1])).all()
    assert (trades["refers_to"][trades["action"] == NEW] == NO_ID).all()


@pytest.mark.parametrize("exchange", ["ASX", "A-LONG-NAME-OF-A-VENUE"])
def test_the_checksums_of_what_a_market_knows_of_its_trades_are_those_of_the_trades(exchange: str) -> None:
    profile = load_profile("laptop")
    market = profile.market.model_copy(update={"exchange": exchange})
    source = SyntheticMarket(Universe(profile.model_copy(update={"market": market})), "run", worker=1, workers=2)
    for count in (1, 5_000):
        batch = source.take(count, NOW_US, NOW_US + 1_000_000)
        assert batch.known is not None
        assert np.array_equal(batch.known.checksums(), checksums(batch.trades))


@pytest.mark.parametrize("field", ["message_id", "symbol", "price", "side", "event_ns", "received_ns", "currency"])
def test_a_trade_that_was_made_otherwise_than_a_market_knows_has_another_checksum(field: str) -> None:
    batch = SyntheticMarket(Universe(load_profile("laptop")), "run").take(100, NOW_US, NOW_US + 1_000_000)
    assert batch.known is not None
    at = (TRADE.message.fields or {})[field][1] + 8 * (field == "message_id")
    batch.trades.view(np.uint8).reshape(100, -1)[7, at] ^= 1
    pairs = zip(batch.known.checksums(), checksums(batch.trades), strict=True)
    assert np.flatnonzero(np.any([meant != made for meant, made in pairs], axis=0)).tolist() == [7]
