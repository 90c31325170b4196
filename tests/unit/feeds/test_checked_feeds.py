"""What a check says of records: trades beside what they are of, failures by cause, ids and numbers."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from k2ctl.clock import ManualClock
from k2ctl.domain.decimals import as_text
from k2ctl.errors import ProfileError
from k2ctl.feeds.check.check import FeedCheck
from k2ctl.feeds.check.checked import Checked
from k2ctl.feeds.check.topic_parts import part_of, text_of
from k2ctl.feeds.foreign import Foreign
from k2ctl.kafka.reader import Fetched
from k2ctl.profiles.feed import DeclaredFeed, feed_of
from k2ctl.views.feed import check_document, check_panel

NOW_US = 1_767_225_600_000_000

FEED = """
description: d
source:
  format: json
  columns: [id, symbol, time, price, size, kind]
  time_unit: us
trade:
  symbol: symbol
  exchange: "'ASX'"
  asset_class: "'equities'"
  timestamp: time
  ingestion_timestamp: time
  price: price
  quantity: size
  trade_id: id
  source_sequence: id
identity: [id]
sequence: {numbers: dense-per-symbol}
where: kind IS DISTINCT FROM 'status'
"""


def declared(text: str = FEED) -> DeclaredFeed:
    return feed_of("mine", "mine.yaml", text)


def record(number: int, **values: Any) -> dict[str, Any]:
    of_all = {"id": number, "symbol": "BHP", "time": NOW_US - 1_000_000 + number, "price": "1.50", "size": 100}
    return {**of_all, **values}


def checked(*records: dict[str, Any] | bytes, feed: str = FEED, shown: int = 5, most: int = 1_000) -> Checked:
    values = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in records]
    decoder = Foreign(declared(feed), ())
    parts = (part_of(Fetched.of_values(values[at : at + 50]), decoder, NOW_US) for at in range(0, len(values), 50))
    return FeedCheck(declared(feed), "trades.raw", shown, ManualClock()).run(parts, most)


def test_the_first_trades_stand_beside_their_records() -> None:
    found = checked(*(record(number, price=f"{number}.25") for number in range(9)), shown=2)
    assert [(origin.place, trade["trade_id"], as_text(trade["price"])) for origin, trade in found.first] == [
        ("0:0", 0, "0.25"),
        ("0:1", 1, "1.25"),
    ]
    assert json.loads(found.first[1][0].text) == record(1, price="1.25")
    assert (found.records, found.trades, found.passes) == (9, 9, True)


def test_what_fails_is_counted_by_cause_with_the_first_of_each() -> None:
    broken = [record(3, price="abc"), b"not json", record(4, price="def"), record(5, symbol=None)]
    found = checked(record(1), record(2), *broken)
    causes = {one.cause: (one.count, one.origin.place) for one in found.failures}
    assert causes["price: not a decimal"] == (2, "0:2")
    assert causes["symbol is missing"] == (1, "0:5")
    assert (found.trades, found.failed, found.passes) == (2, 4, False)
    assert '"abc"' in next(one for one in found.failures if one.count == 2).reason


def test_values_that_cannot_be_fail_as_they_do_in_a_consumer() -> None:
    found = checked(record(1), record(2, time=NOW_US + 10**9), record(3, time=1000))
    assert sorted(one.cause.partition(":")[0] for one in found.failures) == ["timestamp", "timestamp"]
    assert found.trades == 1


def test_what_the_feed_leaves_out_does_not_fail() -> None:
    found = checked(record(1), {"kind": "status"})
    assert (found.trades, found.filtered, found.failed, found.passes) == (1, 1, 0, True)


def test_nothing_that_is_a_trade_does_not_pass() -> None:
    assert not checked({"kind": "status"}).passes


def test_no_more_is_looked_at_than_was_asked_for() -> None:
    found = checked(*(record(number) for number in range(200)), most=100)
    assert (found.records, found.is_part) == (100, True)


def test_copies_reprints_and_shared_ids_are_distinguished() -> None:
    at = NOW_US - 5_000_000
    alike = [record(1, time=at), record(1, time=at), record(1, time=at, price="2"), record(1, time=at + 1)]
    found = checked(record(0), *alike)
    assert (found.ids.distinct, found.ids.copies, found.ids.reprints, found.ids.shared) == (2, 1, 1, 1)
    assert any("identity says too little" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("step", "remark"), [(1, ""), (7, "sequence says dense-per-symbol, and the numbers look ordered")]
)
def test_numbers_that_are_not_what_the_feed_says_are_remarked_upon(step: int, remark: str) -> None:
    found = checked(*(record(step * number) for number in range(1, 40)))
    assert found.numbers is not None
    assert found.numbers.found == ("dense-per-symbol" if step == 1 else "ordered")
    assert [remark in one for one in found.remarks] == ([True] if remark else [])


def test_two_numbers_say_nothing_of_what_the_others_are() -> None:
    assert checked(record(1), record(9)).remarks == ()


def test_dense_numbers_that_are_declared_otherwise_are_remarked_upon() -> None:
    text = FEED.replace("dense-per-symbol", "ordered")
    found = checked(*(record(number) for number in range(40)), feed=text)
    assert any("gaps in them are found" in remark for remark in found.remarks)


def test_a_venue_that_a_guess_did_not_know_is_remarked_upon() -> None:
    found = checked(record(1), feed=FEED.replace("'ASX'", "'VENUE'"))
    assert any("trade.exchange is VENUE" in remark for remark in found.remarks)


def test_an_expression_that_does_not_fit_is_named_with_its_line() -> None:
    with pytest.raises(ProfileError, match=r"mine\.yaml:\d+: trade\.price: .*cost"):
        checked(record(1), feed=FEED.replace("price: price", "price: cost"))


def test_bytes_that_are_no_text_are_shown_as_hexadecimal() -> None:
    assert text_of(b"\x00\xff") == "00 ff"
    assert text_of(b"a" * 5_000).endswith("a…")


def test_the_document_has_trades_as_json() -> None:
    document = check_document(checked(record(1), record(2, price="abc")))
    assert document["first"][0]["trade"]["price"] == "1.5"
    assert document["first"][0]["trade"]["timestamp"] == "2025-12-31T23:59:59.000001Z"
    assert (document["passes"], document["failures"][0]["count"]) == (False, 1)
    json.dumps(document, default=list)


def test_the_screen_fits_eighty_columns() -> None:
    canvas = Console(width=80, file=io.StringIO())
    with canvas.capture() as captured:
        canvas.print(check_panel(checked(record(1), record(2, price="x" * 500))))
    shown = captured.get()
    assert max(map(len, shown.splitlines())) <= 80
    assert "0:0" in shown
    assert "1.5 × 100" in shown
    assert "1 record of trades.raw would be refused" in shown


def test_symbols_are_counted_the_most_frequent_first() -> None:
    found = checked(*(record(at, symbol=symbol) for at, symbol in enumerate(["BHP", "CBA", "CBA", *"DEFGH"])))
    assert found.symbols[0] == ("CBA", 2)
    assert (len(found.symbols), found.symbol_count) == (5, 7)
