"""What events make of trades, by hand and against a plain model."""

import random
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from k2ctl.domain.conditions import pack
from k2ctl.domain.corrections import EVENTS_SCHEMA, by_condition, resolve
from k2ctl.domain.decimals import of_text
from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import CANCEL, CORRECT, LATEST_ALIKE, NEW, TRADE
from k2ctl.domain.validity import invalid
from tests.made_trades import make_trades

ALIKE = LATEST_ALIKE.tobytes()


def id_of(number: int) -> bytes:
    return uuid.uuid5(uuid.NAMESPACE_OID, str(number)).bytes


@dataclass(frozen=True)
class Event:
    """One row; the place in Kafka is its position in the list of a test."""

    id: int
    action: int
    refers_to: int | bytes
    price: str = "1"
    quantity: str = "10"
    symbol: str = "BHP"
    time_s: int = 0
    conditions: tuple[str, ...] = ()


def events_of(events: list[Event], *, partition: int = 0, committed_us: int | None = None) -> pa.Table:
    trades = TRADE.empty(len(events))
    for trade, event in zip(trades, events, strict=True):
        refers_to = event.refers_to if isinstance(event.refers_to, bytes) else id_of(event.refers_to)
        trade["message_id"], trade["refers_to"] = np.void(id_of(event.id)), np.void(refers_to)
        trade["action"], trade["symbol"], trade["exchange"] = event.action, event.symbol.encode(), b"ASX"
        trade["price"], trade["quantity"] = of_text(event.price), of_text(event.quantity)
        trade["event_ns"] = (1_700_000_000 + event.time_s) * 1_000_000_000
        trade["trade_conditions"] = pack(event.conditions)
    at = np.arange(len(events))
    rows = Rows.of("t", "e", trades, np.full(len(at), partition, np.int32), at, at.astype(np.int32) * 0)
    return rows.to_arrow(committed_us).select(EVENTS_SCHEMA.names).cast(EVENTS_SCHEMA)


def changes_of(table: pa.Table, alike: pa.Table | None = None) -> dict[tuple[str, bytes], str]:
    """Symbol and trade → its price and quantity, or `cancelled`."""
    found = {}
    for change in resolve(table, alike).changes.to_pylist():
        message_id = change["message_id"]
        key = message_id.bytes if isinstance(message_id, uuid.UUID) else message_id
        amount = f"{_plain(change['price'])} × {_plain(change['quantity'])}" if change["place"] is not None else ""
        found[change["symbol"], key] = "cancelled" if change["cancelled"] else amount
    return found


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def of(found: dict[tuple[str, bytes], str], number: int, symbol: str = "BHP") -> str | None:
    return found.get((symbol, id_of(number)))


def test_a_correction_gives_its_trade_the_whole_new_print() -> None:
    found = changes_of(events_of([Event(2, CORRECT, 1, "9.5", "7")]))
    assert found == {("BHP", id_of(1)): "9.5 × 7"}


def test_of_several_corrections_the_latest_stands_whichever_id_they_name() -> None:
    by_trade = [Event(2, CORRECT, 1, "2"), Event(3, CORRECT, 1, "3")]
    by_correction = [Event(2, CORRECT, 1, "2"), Event(3, CORRECT, 2, "3")]
    for events in (by_trade, by_correction):
        assert of(changes_of(events_of(events)), 1) == "3 × 10"


def test_a_correction_may_come_before_the_correction_that_it_refers_to() -> None:
    assert of(changes_of(events_of([Event(3, CORRECT, 2, "3"), Event(2, CORRECT, 1, "2")])), 1) == "2 × 10"


def test_a_cancelled_trade_stays_cancelled() -> None:
    events = [Event(2, CORRECT, 1, "2"), Event(3, CANCEL, 2), Event(4, CORRECT, 1, "4"), Event(5, CORRECT, 3, "5")]
    assert changes_of(events_of(events)) == {("BHP", id_of(1)): "cancelled"}


def test_an_id_is_another_one_in_another_symbol() -> None:
    found = changes_of(events_of([Event(2, CANCEL, 1), Event(2, CORRECT, 1, "3", symbol="RIO")]))
    assert (of(found, 1), of(found, 1, "RIO")) == ("cancelled", "3 × 10")


def test_a_chain_of_ten_thousand_corrections_has_one_trade() -> None:
    chain = [Event(number + 1, CORRECT, number, str(number + 2)) for number in range(10_000)]
    assert changes_of(events_of(chain)) == {("BHP", id_of(0)): "10001 × 10"}


def test_corrections_that_refer_to_each_other_change_no_trade_but_their_own_ids() -> None:
    found = changes_of(events_of([Event(1, CORRECT, 2), Event(2, CORRECT, 1), Event(4, CANCEL, 3)]))
    assert of(found, 3) == "cancelled"
    assert set(found) <= {("BHP", id_of(number)) for number in (1, 2, 3)}


def test_a_reprint_counts_in_the_order_of_kafka() -> None:
    found = changes_of(events_of([Event(1, NEW, 1, "2"), Event(5, CORRECT, 1, "3"), Event(1, NEW, 1, "4")]))
    assert of(found, 1) == "4 × 10"


def test_of_two_logs_the_one_that_was_stored_first_comes_first() -> None:
    newer = events_of([Event(3, CORRECT, 1, "3")], partition=0, committed_us=2)
    older = events_of([Event(9, CANCEL, 8), Event(2, CORRECT, 1, "2")], partition=1, committed_us=1)
    assert of(changes_of(pa.concat_tables([newer, older])), 1) == "3 × 10"
    tail = events_of([Event(4, CORRECT, 1, "4")], partition=2)
    assert of(changes_of(pa.concat_tables([tail, newer, older])), 1) == "4 × 10"


def test_a_cancellation_without_an_id_takes_the_latest_earlier_trade_alike() -> None:
    prints = events_of([Event(number, NEW, b"", "5", time_s=number) for number in (1, 2, 3)])
    later = Event(9, NEW, b"", "5", time_s=30)
    cancel = Event(7, CANCEL, ALIKE, "5", "-10", time_s=20)
    table = events_of([*[Event(0, CANCEL, 100)] * 3, cancel])
    alike = pa.concat_tables([_new(prints), _new(events_of([*[later] * 5])).slice(4)])
    found = changes_of(table, alike)
    assert (of(found, 3), of(found, 1), of(found, 9)) == ("cancelled", None, None)


def test_as_many_cancellations_without_an_id_take_as_many_trades() -> None:
    prints = _new(events_of([Event(number, NEW, b"", "5", time_s=number) for number in (1, 2, 3)]))
    cancels = [Event(0, CANCEL, 100)] * 3 + [Event(number, CANCEL, ALIKE, "5", time_s=20) for number in (7, 8)]
    found = changes_of(events_of(cancels), prints)
    assert [of(found, number) for number in (1, 2, 3)] == [None, "cancelled", "cancelled"]


def test_a_cancellation_without_an_id_finds_its_trade_in_another_partition_by_time() -> None:
    cancellation = events_of([Event(9, CANCEL, ALIKE, time_s=5)], partition=0)
    trades = _new(events_of([Event(1, NEW, 0), Event(2, NEW, 0, time_s=6)], partition=1))
    found = changes_of(cancellation, trades)
    assert of(found, 1) == "cancelled"
    assert of(found, 2) is None


def test_a_cancellation_without_an_id_takes_a_trade_by_what_it_was_corrected_to() -> None:
    prints = _new(events_of([Event(1, NEW, b"", "5"), Event(2, NEW, b"", "6")]))
    padding = [Event(0, CANCEL, 100)] * 2
    events = [*padding, Event(3, CORRECT, 2, "5.5"), Event(4, CANCEL, ALIKE, "6"), Event(5, CANCEL, ALIKE, "5.5")]
    found = changes_of(events_of(events), prints)
    assert (of(found, 2), of(found, 1)) == ("cancelled", None)


def test_a_condition_makes_a_new_print_a_cancellation_and_leaves_others_alone() -> None:
    trades = TRADE.empty(3)
    trades["trade_conditions"] = [pack(["CANC"]), pack(["@", "CANC"]), pack(["CAN"])]
    assert by_condition(trades)["action"].tolist() == [CANCEL, CANCEL, NEW]
    assert by_condition(trades)["refers_to"].tolist() == [ALIKE, ALIKE, bytes(16)]
    assert trades["action"].tolist() == [NEW, NEW, NEW]
    plain = trades[2:]
    assert by_condition(plain) is plain


def _new(table: pa.Table) -> pa.Table:
    """The same prints, which refer to nothing."""
    at = table.schema.get_field_index("refers_to")
    return table.set_column(at, EVENTS_SCHEMA.field("refers_to"), pa.nulls(len(table), pa.uuid()))


@pytest.mark.parametrize("seed", range(30))
def test_any_events_come_out_as_a_plain_model_says(seed: int) -> None:
    rng = random.Random(seed)
    events: list[Event] = []
    expected: dict[int, Any] = {}
    belongs = {number: number for number in range(8)}
    for number in range(100, 100 + rng.randrange(1, 60)):
        target = rng.choice([*belongs])
        trade = belongs[target]
        if rng.random() < 0.2:
            events.append(Event(number, CANCEL, target))
            expected[trade] = "cancelled"
        else:
            reprint = rng.random() < 0.3
            price = str(rng.randrange(1, 1000))
            events.append(Event(trade, NEW, trade, price) if reprint else Event(number, CORRECT, target, price))
            if expected.get(trade) != "cancelled":
                expected[trade] = f"{price} × 10"
        if events[-1].action != NEW:
            belongs[number] = trade
    table = events_of(events)
    shuffled = table.take(pa.array(rng.sample(range(len(table)), len(table))))
    found = changes_of(pa.concat_tables([shuffled, shuffled.slice(0, rng.randrange(len(table)))]))
    assert found == {("BHP", id_of(trade)): what for trade, what in expected.items()}


def test_an_event_names_a_trade_a_new_print_none_and_only_a_cancellation_is_negative() -> None:
    trades = make_trades(6)
    trades["action"] = [NEW, NEW, CORRECT, CORRECT, CANCEL, NEW]
    trades["refers_to"][[1, 3, 4]] = trades["message_id"][0]
    trades["quantity"][4:] = of_text("-5")
    reasons = invalid(trades, int(trades["received_ns"].max()) // 1000)
    assert sorted(reasons) == [1, 2, 5]
    assert (reasons[2], reasons[5]) == ("refers_to is missing", "quantity is -5, negative")
    named = uuid.UUID(bytes=trades["message_id"][0].tobytes())
    assert reasons[1] == f"refers_to is {named}, though action is NEW, which refers to no trade"
