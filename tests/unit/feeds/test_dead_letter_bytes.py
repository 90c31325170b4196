"""What a dead letter holds: the bytes that came, so that they can be sent again."""

import json

import numpy as np
import pytest

from k2ctl.domain.checkpoint import Tally
from k2ctl.domain.trade import TRADE
from k2ctl.domain.wire import JSON, SBE, RecordFormat
from k2ctl.feeds.decode import decode_batch
from k2ctl.kafka.dead_letters import DeadLetter
from k2ctl.kafka.reader import Fetched
from tests.made_trades import BASE_US, make_trades
from tests.support.decoders import decoder_for

FORMATS = pytest.mark.parametrize("written", [SBE, JSON], ids=["sbe", "json"])


def received(count: int) -> np.ndarray:
    trades = make_trades(count)
    trades["received_ns"] = BASE_US * 1000
    return trades


def made(count: int) -> np.ndarray:
    """Trades of which the second one is far ahead of the clock."""
    trades = received(count)
    trades["event_ns"][1] += 10**13
    return trades


def decoded(values: list[bytes], written: RecordFormat) -> tuple[list[int], list[DeadLetter], Tally]:
    """The numbers of the good trades, the dead letters, and the counts."""
    count, tally = len(values), Tally()
    fetched = Fetched(values, np.zeros(count, np.int32), np.arange(count), 0, 0)
    rows, dead_letters = decode_batch(fetched, "t", "e", BASE_US + 10**9, tally, decoder_for(written))
    return rows.trades["trade_id"].tolist(), dead_letters, tally


def spaced(trades: np.ndarray) -> bytes:
    """An array of trades as no encoder of ours writes it."""
    return ("[ " + " ,\n".join(spaced_objects(trades)) + "\n]").encode()


def spaced_objects(trades: np.ndarray) -> list[str]:
    return [json.dumps(json.loads(value), indent=1) for value in JSON.encode(trades, 1)]


@FORMATS
def test_a_record_of_one_trade_is_kept_as_it_came(written: RecordFormat) -> None:
    values = [b" " + value if written is JSON else value for value in written.encode(made(2), 1)]
    _, dead_letters, _ = decoded(values, written)
    assert [one.value for one in dead_letters] == values[1:]


@FORMATS
def test_of_a_frame_only_what_is_bad_is_kept_in_the_format_of_the_topic(written: RecordFormat) -> None:
    numbers, (one,), _ = decoded(written.encode(made(3), 3), written)
    assert numbers == [0, 2]
    assert (one.index, one.value) == (1, written.encode(made(3)[[1]], 1)[0])


def test_of_an_array_the_bytes_of_the_bad_trade_are_kept() -> None:
    _, (one,), _ = decoded([spaced(made(3))], JSON)
    assert one.value.decode() == spaced_objects(made(3))[1]


def test_of_a_frame_of_a_newer_version_the_whole_longer_message_is_kept() -> None:
    trades = made(3)
    wide = np.ones(3, TRADE.with_block_length(TRADE.block_length + 24))
    for name in wide.dtype.names or ():
        wide[name] = trades[name]
    wide["block_length"], wide["version"] = TRADE.block_length + 24, 2
    value, size = wide.tobytes(), wide.dtype.itemsize
    _, (one,), _ = decoded([value], SBE)
    assert one.value == value[size : 2 * size]


def test_of_an_array_only_the_trades_that_cannot_be_read_are_refused_and_all_are_counted() -> None:
    one, two, three = (json.loads(value) for value in JSON.encode(received(3), 1))
    two["price"] = "1e16"
    three["timestamp"] = "yesterday"
    numbers, dead_letters, tally = decoded([json.dumps([one, two, three]).encode()], JSON)
    assert numbers == [0]
    assert [(one.index, json.loads(one.value)) for one in dead_letters] == [(1, two), (2, three)]
    assert 'price is "1e16", beyond 10^15' in dead_letters[0].reason
    counts = tally.of(0)
    assert (counts.seen, counts.dead_lettered, counts.undecodable) == (3, 2, 0)


@pytest.mark.parametrize("depth", [500, 1000])
def test_an_array_with_a_field_of_great_depth_gives_the_bad_trade_alone(depth: int) -> None:
    good, bad = (json.loads(value) for value in JSON.encode(received(2), 1))
    bad["price"] = "x"
    value = (json.dumps([good, bad])[:-2] + ', "more": ' + "[" * depth + "]" * depth + "}]").encode()
    _, dead_letters, _ = decoded([value], JSON)
    assert [one.value for one in dead_letters] == [value[value.index(b", {") + 2 : -1]]
