"""Whatever a trade may have comes back as it was: through the wire, the table's columns, Parquet and spill files."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given

from k2ctl.deferred.spill_files import decode_spill, encode_spill
from k2ctl.domain.rows import Rows, arrow_schema, trades_of
from k2ctl.domain.validity import invalid
from k2ctl.domain.wire import JSON, SBE, RecordFormat
from k2ctl.kafka.reader import Fetched
from tests.made_trades import make_rows
from tests.support.any_trades import NOW_US, any_trades
from tests.support.decoders import decoder_for

FORMATS = [SBE, JSON, RecordFormat("json", "s"), RecordFormat("json", "ns")]


def as_stored(rows: Rows) -> pa.Table:
    return rows.to_arrow(NOW_US).cast(arrow_schema())


def back(table: pa.Table) -> bytes:
    return b"".join(trades_of(batch).tobytes() for batch in table.to_batches())


@given(trades=any_trades())
def test_every_value_within_the_limits_is_valid(trades: np.ndarray) -> None:
    assert invalid(trades, NOW_US) == {}


@pytest.mark.parametrize("written", FORMATS, ids=["sbe", "json", "json-s", "json-ns"])
@given(trades=any_trades())
def test_trades_come_back_from_the_wire(written: RecordFormat, trades: np.ndarray) -> None:
    for per_frame in (1, 4):
        decoded = decoder_for(written).decode(Fetched.of_values(written.encode(trades, per_frame)))
        assert (decoded.broken, decoded.refused) == ([], [])
        assert decoded.trades.tobytes() == trades.tobytes()


@given(trades=any_trades())
def test_each_trade_of_a_frame_is_what_its_producer_would_have_sent_alone(trades: np.ndarray) -> None:
    for written in (SBE, JSON):
        (frame,) = written.encode(trades, len(trades))
        assert decoder_for(written).alone(frame) == written.encode(trades, 1)


@given(trades=any_trades())
def test_trades_come_back_from_the_tables_columns_and_from_parquet(trades: np.ndarray) -> None:
    table = as_stored(make_rows(trades))
    sink = io.BytesIO()
    pq.write_table(table, sink)
    assert back(table) == trades.tobytes()
    assert back(pq.read_table(io.BytesIO(sink.getvalue())).cast(arrow_schema())) == trades.tobytes()


@given(trades=any_trades())
def test_trades_come_back_from_a_slice_of_the_columns(trades: np.ndarray) -> None:
    for at in range(len(trades)):
        assert back(as_stored(make_rows(trades)).slice(at, 1)) == trades[at : at + 1].tobytes()


@given(trades=any_trades())
def test_trades_come_back_from_a_spill_file(trades: np.ndarray) -> None:
    rows, intact = decode_spill(encode_spill(make_rows(trades)), "t", "e")
    assert intact
    assert rows.trades.tobytes() == trades.tobytes()
