"""Trades that nothing identifies: which of them are the same."""

import numpy as np
import pyarrow as pa

from k2ctl.feeds.foreign import Foreign
from k2ctl.feeds.mapping.mapping import Mapping, Prepared
from k2ctl.kafka.reader import Fetched
from k2ctl.profiles.feed import DeclaredFeed, feed_of

FEED = """
description: no ids
source: {%s}
trade: {symbol: symbol, exchange: "'X'", asset_class: "'equities'", timestamp: time, price: price, quantity: size}
identity: look-alikes
"""
COLUMNS = ("symbol", "time", "price", "size", "buyer")
PRINT = ("ABC", "2024-01-02T00:00:00Z", "1.5", "100", "7")


def of_files() -> DeclaredFeed:
    return feed_of("mine", "mine.yaml", FEED % f"format: csv, columns: [{', '.join(COLUMNS)}]")


def ids(rows: list[tuple[str, ...]], alike: list[int], file: str = "a.csv") -> list[bytes]:
    """Of the rows of a file, each behind as many of its like."""
    count = len(rows)
    table = pa.table(
        {
            "_record": np.arange(count),
            "_index": np.zeros(count, np.int32),
            "_bad": np.zeros(count, np.bool_),
            "_alike": np.array(alike),
            "file_name": [file] * count,
            "line": np.arange(count),
            **{name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)},
        }
    )
    mapped = Mapping(of_files()).trades(Prepared(table))
    assert not mapped.refused
    return [bytes(one) for one in mapped.trades["message_id"]]


def test_lines_that_differ_in_a_column_that_is_no_field_of_a_trade_are_two_trades() -> None:
    other_buyer = (*PRINT[:-1], "8")
    assert len(set(ids([PRINT, other_buyer], [0, 0]))) == 2


def test_true_look_alikes_of_a_file_are_as_many_trades_as_lines() -> None:
    assert len(set(ids([PRINT, PRINT, PRINT], [0, 1, 2]))) == 3


def test_a_line_is_the_same_trade_under_another_name_of_the_file_and_in_another_place_of_it() -> None:
    earlier = ("ABC", "2024-01-01T00:00:00Z", "1.5", "100", "7")
    assert ids([PRINT], [0]) == ids([earlier, PRINT], [0, 0], "again.csv")[1:]


def test_records_of_a_topic_are_known_by_their_place() -> None:
    declared = feed_of("mine", "mine.yaml", FEED % "format: json, columns: [symbol, time, price, size]")
    value = b'{"symbol":"ABC","time":"2024-01-02T00:00:00Z","price":"1.5","size":"100"}'

    def of(offsets: list[int]) -> list[bytes]:
        fetched = Fetched([value] * len(offsets), np.zeros(len(offsets), np.int32), np.array(offsets), 0, 0)
        return [bytes(one) for one in Foreign(declared, ()).decode(fetched).trades["message_id"]]

    assert len(set(of([5, 6]))) == 2
    assert of([5, 6])[1:] == of([6])
