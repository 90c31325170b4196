"""What a dead letter holds: the bytes that came, in the format of its topic, so that they can be sent again."""

import numpy as np
import pytest

from k2ctl.domain.checkpoint import Tally
from k2ctl.domain.topics import WireFormat
from k2ctl.domain.wire import CODECS
from k2ctl.feeds import decode_batch
from k2ctl.kafka.reader import Fetched
from tests.made_trades import BASE_US, make_trades


def dead_letters_of(values: list[bytes], wire_format: WireFormat) -> list[bytes]:
    count = len(values)
    fetched = Fetched(values, np.zeros(count, np.int32), np.arange(count), 0, 0)
    _, dead_letters = decode_batch(fetched, "t", "e", BASE_US + 10**9, Tally(), wire_format)
    return [dead_letter.value for dead_letter in dead_letters]


@pytest.mark.parametrize("wire_format", ["sbe", "json"])
def test_a_record_of_one_trade_is_kept_as_it_came(wire_format: WireFormat) -> None:
    trades = make_trades(2)
    trades["received_ns"] = BASE_US * 1000
    trades["event_ns"][1] += 10**13
    values = CODECS[wire_format].encode(trades, 1)
    if wire_format == "json":
        values = [b" " + value for value in values]
    assert dead_letters_of(values, wire_format) == values[1:]


@pytest.mark.parametrize("wire_format", ["sbe", "json"])
def test_of_a_frame_only_what_is_bad_is_kept_in_the_format_of_the_topic(wire_format: WireFormat) -> None:
    trades = make_trades(3)
    trades["received_ns"] = BASE_US * 1000
    trades["event_ns"][1] += 10**13
    codec = CODECS[wire_format]
    assert dead_letters_of(codec.encode(trades, 3), wire_format) == codec.encode(trades[[1]], 1)
