"""Cursors: what goes out comes back, and what is not ours is refused."""

import base64

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.errors import UsageError
from k2ctl.query.page import Page, Place
from tests.made_trades import make_rows, make_trades

whole = st.integers(0, 2**61)


@given(
    st.dictionaries(st.integers(0, 63), whole),
    st.none() | st.tuples(whole, whole, whole, whole, st.text()),
    st.none() | whole,
)
def test_a_cursor_comes_back_as_it_went(
    ends: dict[int, int], after: tuple[int, int, int, int, str] | None, since: int
) -> None:
    page = Page({("topic", "epoch"): ends}, after and Place(*after), since)
    assert Page.decode(page.encode()) == page


FORGED = [
    None,
    1,
    [],
    [[["t", "e", [[0, -1]]]], None, None],
    [[["t", "e", [[0, 1]]]], [1, 2], None],
    [[["t", "e", [[70000, 1]]]], None, None],
    [[["t", "e", [[0, True]]]], None, None],
    [[["t", "e", [[0, 1]]]], None, "x"],
    [[["t", [[0, 1]]]], None, None],
]


@pytest.mark.parametrize("document", FORGED)
def test_a_forged_cursor_is_refused(document: object) -> None:
    with pytest.raises(UsageError):
        Page.decode(base64.urlsafe_b64encode(orjson.dumps(document)).decode())


@pytest.mark.parametrize("text", ["", "%%%", "é", "A" * 17_000, "AAAA"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Page.decode(text)


def test_a_page_takes_what_comes_after_and_was_there() -> None:
    rows = make_rows(make_trades(10))
    page = Page({("t", "e"): {0: 8}}, Place(int(rows.trades["event_ns"][5]), 0, 5, 0, rows.topic))
    seen = page.select(rows)
    assert seen.offset.tolist() == [0, 1, 2, 3, 4, 5]
    assert page.behind(seen.to_arrow()).tolist() == [True] * 5 + [False]
    twin = seen.to_arrow().slice(0, 6)
    twin = twin.set_column(twin.schema.names.index("kafka_topic"), "kafka_topic", pa.array(["zz"] * len(twin)))
    assert page.behind(twin)[5]  # of the same place in another topic
    assert len(Page({("t", "another"): {0: 8}}).select(rows)) == 0
