"""Spill files: what is damaged is noticed, and what is not damaged is kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.deferred import spill_files as spill
from k2ctl.deferred.spill_files import MAGIC, decode_spill, encode_spill, what_is_wrong
from k2ctl.domain.rows import Rows
from tests.made_trades import BASE_US, make_rows, make_trades


def rows_of(count: int) -> Rows:
    """Made rows that are the same whenever they are made."""
    trades = make_trades(count)
    trades["received_ns"] = BASE_US * 1000
    return make_rows(trades)


@pytest.fixture(scope="module")
def content() -> bytes:
    """Five frames of a hundred rows."""
    before, spill.FRAME_ROWS = spill.FRAME_ROWS, 100  # type: ignore[misc]
    try:
        return encode_spill(rows_of(500))
    finally:
        spill.FRAME_ROWS = before  # type: ignore[misc]


def test_rows_come_back_with_their_identity(content: bytes) -> None:
    rows, intact = decode_spill(content, "t", "e")
    expected = rows_of(500)
    assert intact
    for name in ("partition", "offset", "index"):
        assert getattr(rows, name).tolist() == getattr(expected, name).tolist()
    assert rows.trades["message_id"].tolist() == expected.trades["message_id"].tolist()
    assert rows.trades["price"].tolist() == expected.trades["price"].tolist()


def test_a_torn_file_keeps_its_whole_frames(content: bytes) -> None:
    last = content.rindex(MAGIC)
    rows, intact = decode_spill(content[: last + 50], "t", "e")
    assert len(rows) == 400
    assert not intact


def test_a_flipped_frame_is_passed_over_and_its_neighbours_are_kept(content: bytes) -> None:
    second = content.index(MAGIC, 10)
    flipped = bytearray(content)
    flipped[second + 200] ^= 1
    rows, intact = decode_spill(bytes(flipped), "t", "e")
    assert len(rows) == 400
    assert not intact
    assert set(range(100, 200)).isdisjoint(rows.offset.tolist())


@given(st.data())
def test_no_damage_makes_a_wrong_row(data: st.DataObject) -> None:
    content = encode_spill(rows_of(40))
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        damaged[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(content)))
    rows, intact = decode_spill(bytes(damaged[:cut]), "t", "e")
    good = rows_of(40)
    assert not intact or len(rows) in (0, 40)
    assert np.isin(rows.trades["message_id"], good.trades["message_id"]).all()


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing(content: bytes) -> None:
    rows, intact = decode_spill(content, "t", "e")
    assert len(rows) == 0
    assert intact == (not content)


def test_a_file_of_another_version_gives_no_row_and_is_named_as_such(content: bytes) -> None:
    older = content.replace(MAGIC, b"K2SPILL2")
    rows, intact = decode_spill(older, "t", "e")
    assert (len(rows), intact) == (0, False)
    assert "written by another version of k2ctl" in what_is_wrong(older)
