"""What corrections and cancellations make of trades. The table holds every event as it was printed; this is the view.

An event changes the trade that it refers to: by the trade's message_id, or by the id of an earlier correction of it; of
the same symbol and exchange. Three kinds of rows are events: CORRECT, which carries the whole new print; CANCEL; and a
NEW print that is marked as the reprint of a trade (`k2ctl.domain.copies`). A CANCEL that refers to `LATEST_ALIKE` is
that of a venue which names no id: it cancels the latest earlier trade of its symbol and exchange that then had its
price and its quantity, whatever the sign.

- The order of events is Kafka's, for all events of a symbol come through one partition. Of events from several
  partitions or epochs, those of the log that was stored first come first.
- The latest correction stands. It gives the trade price, quantity, side and conditions; id, time and place stay, so
  that the trade stays in its bar.
- A cancelled trade stays cancelled, whatever is corrected later: a venue that means otherwise sends a new trade.
- An event may come before its trade, or years after it. Of one whose trade never comes nothing is seen but in `gaps`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.domain.conditions import CONDITIONS_TYPE
from k2ctl.domain.decimals import DECIMAL_TYPE, from_arrow
from k2ctl.domain.rows import arrow_schema, identity_numbers, ids_of, nanoseconds
from k2ctl.domain.texts import fixed_binary
from k2ctl.domain.trade import CANCEL, CONDITION_BYTES, LATEST_ALIKE, NEW

CANCEL_CODES: Final = ("CANC",)
"""The conditions that make a print a cancellation, where a market declares no others."""

EVENT_COLUMNS: Final = (
    "message_id", "symbol", "exchange", "timestamp", "timestamp_nanos", "price", "quantity", "side", "trade_conditions",
    "action", "refers_to", "kafka_topic", "kafka_epoch", "kafka_partition", "kafka_offset", "kafka_index",
    "committed_at",
)  # fmt: skip
EVENTS_SCHEMA: Final = pa.schema([arrow_schema().field(name) for name in EVENT_COLUMNS])
NO_EVENTS: Final = EVENTS_SCHEMA.empty_table()
CORRECTED_COLUMNS: Final = ("price", "quantity", "side", "trade_conditions")
LOG_COLUMNS: Final = ("kafka_topic", "kafka_epoch", "kafka_partition")

CHANGES_SCHEMA: Final = pa.schema(
    [
        ("message_id", pa.uuid()),
        ("symbol", pa.string()),
        ("exchange", pa.string()),
        ("cancelled", pa.bool_()),
        ("price", DECIMAL_TYPE),
        ("quantity", DECIMAL_TYPE),
        ("side", pa.string()),
        ("trade_conditions", CONDITIONS_TYPE),
        *((name, arrow_schema().field(name).type) for name in LOG_COLUMNS),
        ("place", pa.int64()),
        ("first_reprint", pa.int64()),
    ]
)
"""One row for each trade that is changed. place: of the correction that stands, in the log that is named; null where
there is none. first_reprint: the place of the first marked print of the trade's own id; null where there is none."""


def by_condition(trades: np.ndarray, codes: tuple[str, ...] = CANCEL_CODES) -> np.ndarray:
    """The trades, those new prints among them that a condition makes cancellations as such: they refer to no id."""
    words = trades["trade_conditions"][:, None].view(np.uint32)
    wanted = [np.frombuffer(code.encode().ljust(CONDITION_BYTES, b"\0"), np.uint32)[0] for code in codes]
    cancels = np.zeros(len(trades), np.bool_)
    for column in words.T:
        if not column.any():
            break  # codes stand one behind the other
        for code in wanted:
            cancels |= column == code
    cancels &= trades["action"] == NEW
    if not cancels.any():
        return trades
    marked = trades.copy()
    marked["action"][cancels], marked["refers_to"][cancels] = CANCEL, LATEST_ALIKE
    return marked


def alike_of(events: np.ndarray) -> np.ndarray:
    """Those of some events (dtype `TRADE.message`) that name no id."""
    return events.take(np.flatnonzero(events["refers_to"] == LATEST_ALIKE))


def are_alike(trades: np.ndarray, cancellations: np.ndarray) -> np.ndarray:
    """bool[n]: the new prints of any of the symbols of some cancellations, which these may mean."""
    return np.asarray((trades["action"] == NEW) & np.isin(trades["symbol"], cancellations["symbol"]))


@dataclass(frozen=True)
class Resolved:
    """n events in their order, each once, and the trades that they change.

    events: as `EVENTS_SCHEMA`. trade: int64[n], a number of the trade that each refers to in the end; ids: V16, the
    trades' ids by number. Whether there is such a trade is not known here.
    """

    events: pa.Table
    trade: np.ndarray
    ids: np.ndarray

    @cached_property
    def cancels(self) -> np.ndarray:
        """bool[n]: which are cancellations."""
        return np.asarray(_actions(self.events) == "CANCEL")

    @property
    def referred(self) -> pa.Table:
        """message_id, symbol and exchange of the trade of each event, and `event`, its position."""
        ids = pa.ExtensionArray.from_storage(pa.uuid(), fixed_binary(self.ids[self.trade]))
        columns = [ids, self.events["symbol"], self.events["exchange"], pa.array(np.arange(len(self.trade)))]
        return pa.table(columns, names=["message_id", "symbol", "exchange", "event"])

    @cached_property
    def changes(self) -> pa.Table:
        """What stands of each trade that is referred to, as `CHANGES_SCHEMA`."""
        if not len(self.events):
            return CHANGES_SCHEMA.empty_table()
        place = _places(self.events)
        trades, first_at = np.unique(self.trade, return_index=True)
        row = np.searchsorted(trades, self.trade)
        cancelled = np.zeros(len(trades), np.bool_)
        cancelled[row[self.cancels]] = True
        stands = np.full(len(trades), -1, np.int64)
        contents = np.flatnonzero(~self.cancels)
        stands[row[contents]] = contents  # the latest is written last
        reprint = np.full(len(trades), np.iinfo(np.int64).max)
        marked = np.flatnonzero(_actions(self.events) == "NEW")
        np.minimum.at(reprint, row[marked], place[marked])
        takes = pa.array(stands, mask=stands < 0)
        kept = {name: self.events[name].take(takes) for name in (*CORRECTED_COLUMNS, *LOG_COLUMNS)}
        columns = {
            "message_id": pa.ExtensionArray.from_storage(pa.uuid(), fixed_binary(self.ids[trades])),
            **{name: self.events[name].take(pa.array(first_at)) for name in ("symbol", "exchange")},
            "cancelled": pa.array(cancelled),
            **kept,
            "place": pa.array(np.where(stands < 0, 0, place[stands]), mask=stands < 0),
            "first_reprint": pa.array(reprint, mask=reprint == np.iinfo(np.int64).max),
        }
        return pa.table([columns[name] for name in CHANGES_SCHEMA.names], schema=CHANGES_SCHEMA)


def resolve(events: pa.Table, alike: pa.Table | None = None) -> Resolved:
    """Find the trade of each event. events: as `EVENTS_SCHEMA`, in any order, copies among them.

    alike: new prints, as `EVENTS_SCHEMA`, among which trades are looked for that cancellations without an id may mean.
    """
    every = _in_order(events)
    first, numbers, ids = _numbered(every)
    kept = every.take(pa.array(first)).combine_chunks()
    own, referred = numbers[0][first], numbers[1][first]
    action = _actions(kept)
    following = np.arange(len(ids))
    linked = (action != "NEW") & (own != referred) & ~_names_no_id(kept)
    following[own[linked]] = referred[linked]
    trade = _ends(following)[referred]
    found = Resolved(kept, trade, ids)
    return found if alike is None or not len(alike) else _with_alike(found, alike)


def _in_order(events: pa.Table) -> pa.Table:
    """In the order of their places; of logs, the one that was stored first comes first, and what is not stored last."""
    logs = _codes([events[name] for name in LOG_COLUMNS])
    never = np.iinfo(np.int64).max
    stored = events["committed_at"].cast(pa.int64()).fill_null(never).to_numpy()
    first = np.full(int(logs.max(initial=-1)) + 1, never)
    np.minimum.at(first, logs, stored)
    return events.take(pa.array(np.lexsort((_places(events), logs, first[logs])))).combine_chunks()


def _numbered(events: pa.Table) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The positions of all but copies; numbers of the events' own ids and of those referred to; the ids by number.

    An id is another one in another symbol or exchange.
    """
    count = len(events)
    owner = _codes([events["symbol"], events["exchange"]]).astype(np.uint64)
    named = [ids_of(events[name]) for name in ("message_id", "refers_to")]
    both = np.concatenate(named)
    keys = np.column_stack([np.tile(owner, 2), both.view(np.uint64).reshape(-1, 2)])
    _, first, numbers = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    own, referred = numbers.reshape(-1)[:count], numbers.reshape(-1)[count:]
    times = nanoseconds(events["timestamp"], events["timestamp_nanos"])
    amounts = [
        from_arrow(events[name].combine_chunks()).view(np.int64).reshape(-1, 2) for name in ("price", "quantity")
    ]
    printed = np.column_stack([own, referred, times, *amounts, _codes([events["action"]])])
    _, once = np.unique(printed, axis=0, return_index=True)
    return np.sort(once), (own, referred), both[first]


def _ends(following: np.ndarray) -> np.ndarray:
    """Where each chain ends: pointers are doubled, so that a long one takes few rounds. A circle ends nowhere, and so
    somewhere in it."""
    for _ in range(len(following).bit_length() + 1):
        further = following[following]
        if (further == following).all():
            break
        following = further
    return following


def _with_alike(found: Resolved, alike: pa.Table) -> Resolved:
    """Give each cancellation without an id the trade that it means.

    Events and candidates are gone through in the order of their times, and of their places where these are the same,
    with the price and quantity that each trade has by then.
    """
    without = _names_no_id(found.events)
    wanted = set(_owners(found.events.filter(pa.array(without))))
    numbered = found.events.append_column("event", pa.array(np.arange(len(found.events))))
    every = _in_order(pa.concat_tables([numbered, alike.append_column("event", pa.nulls(len(alike), pa.int64()))]))
    # A foreign topic may have a trade and its cancellation in two partitions: only their times say which is earlier.
    times = nanoseconds(every["timestamp"], every["timestamp_nanos"])
    every = every.take(pa.array(np.argsort(times, kind="stable")))
    own = [each.tobytes() for each in ids_of(every["message_id"])]
    amounts = zip(every["price"].to_pylist(), map(abs, every["quantity"].to_pylist()), strict=True)
    times = nanoseconds(every["timestamp"], every["timestamp_nanos"]).tolist()
    trade, ids, added = found.trade.copy(), found.ids, list[bytes]()
    histories: dict[_Owner, _Prints] = {owner: _Prints() for owner in wanted}
    rows = zip(_owners(every), own, amounts, times, every["event"].to_pylist(), strict=True)
    for owner, message_id, amount, time_ns, event in rows:
        prints = histories.get(owner)
        if prints is None:
            continue
        if event is None:
            prints.print(message_id, amount, time_ns, new=True)
        elif not without[event]:
            changed = ids[trade[event]].tobytes()
            if found.cancels[event]:
                prints.cancelled.add(changed)
            else:
                prints.print(changed, amount, time_ns, new=False)
        elif (meant := prints.latest(amount, time_ns)) is not None:
            prints.cancelled.add(meant)
            trade[event] = len(ids) + len(added)
            added.append(meant)
    return Resolved(found.events, *_renumbered(found.events, trade, np.concatenate([ids, np.array(added, "V16")])))


_Owner = tuple[str, str]
_Amount = tuple[Decimal, Decimal]


class _Prints:
    """The trades of one symbol at one exchange, by what they were printed with."""

    def __init__(self) -> None:
        self.cancelled: set[bytes] = set()
        self._amounts: dict[bytes, _Amount] = {}
        self._prints: dict[_Amount, list[tuple[int, int, bytes]]] = {}

    def print(self, trade: bytes, amount: _Amount, time_ns: int, *, new: bool) -> None:
        """A trade is printed. new: it is not corrected by that; a correction may have come before it."""
        if new:
            self._amounts.setdefault(trade, amount)
        else:
            self._amounts[trade] = amount
        prints = self._prints.setdefault(amount, [])
        prints.append((time_ns, len(prints), trade))

    def latest(self, amount: _Amount, time_ns: int) -> bytes | None:
        """The latest trade up to a time that has this price and quantity now, and is not cancelled."""
        alike = (
            printed
            for printed in self._prints.get(amount, ())
            if printed[0] <= time_ns and printed[2] not in self.cancelled and self._amounts[printed[2]] == amount
        )
        found = max(alike, default=None)
        return None if found is None else found[2]


def _renumbered(events: pa.Table, trade: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of which each trade has one, and the ids by number."""
    owner = _codes([events["symbol"], events["exchange"]]).astype(np.uint64)
    keys = np.column_stack([owner, np.ascontiguousarray(ids[trade]).view(np.uint64).reshape(-1, 2)])
    _, first, numbers = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return numbers.reshape(-1), ids[trade][first]


def _owners(table: pa.Table) -> list[_Owner]:
    return list(zip(table["symbol"].to_pylist(), table["exchange"].to_pylist(), strict=True))


def _actions(events: pa.Table) -> np.ndarray:
    return np.asarray(events["action"].to_numpy(), object)


def _names_no_id(events: pa.Table) -> np.ndarray:
    """bool[n]: cancellations that refer to the latest trade alike."""
    return np.asarray(ids_of(events["refers_to"]) == LATEST_ALIKE)


def without_id(events: pa.Table) -> pa.Table:
    """The cancellations that refer to the latest trade alike."""
    return events.filter(pa.array(_names_no_id(events)))


def _places(events: pa.Table) -> np.ndarray:
    return identity_numbers(events["kafka_offset"].to_numpy(), events["kafka_index"].to_numpy())


def _codes(columns: Sequence[pa.ChunkedArray]) -> np.ndarray:
    """int64[n]: alike where all columns are."""
    numbers = [column.combine_chunks().dictionary_encode().indices.to_numpy() for column in columns]
    _, codes = np.unique(np.column_stack(numbers), axis=0, return_inverse=True)
    return np.asarray(codes.reshape(-1))
