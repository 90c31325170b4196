"""Numbers at the edge of what the table holds: the wire's are unsigned, the table's signed."""

import numpy as np
import pytest

from k2ctl.domain.topics import WireFormat, dead_letter_topic
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.reader import read_between
from k2ctl.lake.catalog import Lake
from tests.made_trades import make_trades, produce_values
from tests.support.platforms import catch_up, empty_market

LARGEST = 2**63 - 1


def consume(endpoints: Endpoints, exchange: str, trades: np.ndarray, wire_format: WireFormat) -> str:
    """One record a trade, consumed; returns the topic."""
    profile, topic = empty_market(endpoints, exchange)
    written = profile.topic.model_copy(update={"format": wire_format})
    produce_values(endpoints, topic, ((0, value) for value in written.written.encode(trades, 1)))
    catch_up(endpoints, profile.model_copy(update={"topic": written}))
    return topic


def stored(endpoints: Endpoints, field: str) -> list[int]:
    with Lake.at(endpoints) as lake:
        return sorted(lake.table().scan(selected_fields=(field,)).to_arrow()[field].to_pylist())


@pytest.mark.parametrize("wire_format", ["sbe", "json"])
@pytest.mark.parametrize("field", ["trade_id", "source_sequence"])
def test_the_largest_number_is_stored_as_it_is_and_the_next_one_is_a_dead_letter(
    endpoints: Endpoints, exchange: str, field: str, wire_format: WireFormat
) -> None:
    trades = make_trades(3)
    trades[field] = [5, LARGEST, LARGEST + 1]
    topic = consume(endpoints, exchange, trades, wire_format)
    assert stored(endpoints, field) == [5, LARGEST]
    dead_letters, _, _ = read_between(endpoints, dead_letter_topic(topic), {0: (0, 1)}, 10.0, 10)
    assert len(dead_letters) == 1
