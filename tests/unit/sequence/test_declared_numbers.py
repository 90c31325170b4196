"""Numbers that a profile declares, each kind against a model that goes trade by trade over plain sets."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from k2ctl.clock import ManualClock
from k2ctl.profiles.model import SequenceSettings
from k2ctl.sequence.symbol_state import cut, restore
from k2ctl.sequence.tracker import SequenceTracker
from tests.made_trades import BASE_US, make_trades

MINUTE_US = 60_000_000
BY_SESSION = SequenceSettings(numbers="dense-per-symbol", session="message-id")
BY_EXCHANGE = SequenceSettings(numbers="dense-per-channel")
BY_PARTITION = SequenceSettings(numbers="dense-per-channel", channel="partition")
ORDERED = SequenceSettings(numbers="ordered")
NONE = SequenceSettings(numbers="none")


def follower(settings: SequenceSettings) -> SequenceTracker:
    return SequenceTracker(ManualClock(), settings=settings)


def trades_of(
    symbols: list[str], numbers: list[int], times_us: list[int], sessions: list[int] | None = None
) -> np.ndarray:
    trades = make_trades(len(numbers))
    trades["symbol"] = [symbol.encode() for symbol in symbols]
    trades["source_sequence"] = numbers
    trades["event_ns"] = (np.array(times_us, np.int64) + BASE_US) * 1000
    ids = np.empty((len(numbers), 2), ">u8")
    ids[:, 0], ids[:, 1] = [7] * len(numbers) if sessions is None else sessions, np.arange(len(numbers)) + 1_000_000
    trades["message_id"] = ids.view("V16")[:, 0]
    return trades


def missing_of(tracker: SequenceTracker) -> dict[tuple[str, str, str], set[int]]:
    found: dict[tuple[str, str, str], set[int]] = {}
    for channel, gap in tracker.gaps:
        found.setdefault(tracker.channels.name(channel), set()).update(range(gap.start, gap.after))
    return found


def holes(there: set[int], begin: int | None = None) -> set[int]:
    return set(range(min(there) if begin is None else begin, max(there) + 1)) - there


ARRIVAL = st.tuples(st.sampled_from(["A", "B/C"]), st.integers(1, 2), st.integers(1, 9), st.integers(-5, 2 * MINUTE_US))


@given(st.lists(st.lists(ARRIVAL, min_size=1, max_size=20), min_size=1, max_size=4))
def test_each_session_lacks_its_own_numbers_from_one_on(batches: list[list[tuple[str, int, int, int]]]) -> None:
    """Whatever the order and the times: a session begins at 1, and no number of one is a number of another."""
    tracker, there = follower(BY_SESSION), dict[tuple[str, str, str], set[int]]()
    copies = 0
    for batch in batches:
        symbols, sessions, numbers, times = map(list, zip(*batch, strict=True))
        tracker.step(trades_of(symbols, numbers, times, sessions))
        for symbol, session, number, _ in batch:
            own = there.setdefault(("ASX", symbol, f"{session:016x}"), set())
            copies += number in own
            own.add(number)
    expected = {name: holes(own, 1) for name, own in there.items()}
    assert missing_of(tracker) == {name: missing for name, missing in expected.items() if missing}
    counts = tracker.counts()
    assert (counts.resets, counts.unverified, counts.duplicates) == (0, 0, copies)


def test_yesterdays_late_number_fills_yesterdays_gap() -> None:
    tracker = follower(BY_SESSION)
    tracker.step(trades_of(["A"] * 3, [1, 2, 4], [0, 1, 2], [1] * 3))
    tracker.step(trades_of(["A"] * 2, [1, 2], [3 * MINUTE_US, 3 * MINUTE_US + 1], [2] * 2))
    tracker.step(trades_of(["A"], [3], [4 * MINUTE_US], [1]))
    counts = tracker.counts()
    assert (missing_of(tracker), counts.filled_gaps, counts.resets) == ({}, 1, 0)


@pytest.mark.parametrize("first", [3, 9])
def test_a_session_that_begins_above_one_lacks_its_first_ones(first: int) -> None:
    """Also where it begins at a higher number than the last one of the session before."""
    tracker = follower(BY_SESSION)
    tracker.step(trades_of(["A"] * 4, [1, 2, 3, 4], [0, 1, 2, 3], [1] * 4))
    tracker.step(trades_of(["A"], [first], [9], [2]))
    assert missing_of(tracker) == {("ASX", "A", f"{2:016x}"): set(range(1, first))}


def test_what_came_before_the_first_trade_that_is_known_is_not_guessed_until_all_are_known() -> None:
    tracker = SequenceTracker(ManualClock(), settings=BY_SESSION, knows_begin=False)
    tracker.step(trades_of(["A"], [5], [0]))
    assert (missing_of(tracker), tracker.counts().unverified) == ({}, 1)
    tracker.begin_sessions()
    assert [*missing_of(tracker).values()] == [{1, 2, 3, 4}]
    assert tracker.counts().unverified == 0


def test_a_session_goes_on_from_the_state_that_another_consumer_has_published() -> None:
    first, second = follower(BY_SESSION), follower(BY_SESSION)
    first.step(trades_of(["B/C"] * 2, [2, 4], [0, 1], [1, 1]), np.zeros(2, np.int32))
    restore(second, 0, cut(first)[0])
    second.step(trades_of(["B/C"] * 2, [3, 1], [2, 3], [1, 1]))
    assert missing_of(second) == {}


@pytest.mark.parametrize("settings", [SequenceSettings(), BY_SESSION, BY_EXCHANGE, ORDERED], ids=str)
@given(arrivals=st.lists(ARRIVAL, min_size=2, max_size=12), pause=st.integers(1, 11))
def test_a_consumer_goes_on_from_published_state_as_if_it_had_read_all_itself(
    settings: SequenceSettings, arrivals: list[tuple[str, int, int, int]], pause: int
) -> None:
    """Restarts of the count among them: what is known of the run before decides which late trades are of it."""
    symbols, sessions, numbers, times = (list(column) for column in zip(*arrivals, strict=True))
    trades, places = trades_of(symbols, numbers, times, sessions), np.zeros(len(arrivals), np.int32)
    alone, first, second = follower(settings), follower(settings), follower(settings)
    for part in (slice(pause), slice(pause, None)):
        alone.step(trades[part], places[part])
    first.step(trades[:pause], places[:pause])
    published = cut(first)
    restore(second, 0, published[0])
    second.step(trades[pause:], places[pause:])
    assert {**published[0], **cut(second).get(0, {})} == cut(alone)[0]


CHANNEL = st.lists(st.tuples(st.sampled_from(["A", "B"]), st.integers(0, 1)), min_size=2, max_size=40)


@given(feed=CHANNEL, there=st.lists(st.booleans(), min_size=40, max_size=40), size=st.integers(1, 50), data=st.data())
@pytest.mark.parametrize("settings", [BY_EXCHANGE, BY_PARTITION], ids=["exchange", "partition"])
def test_of_a_channel_over_many_symbols_what_no_symbol_has_is_missing(
    settings: SequenceSettings, feed: list[tuple[str, int]], there: list[bool], size: int, data: st.DataObject
) -> None:
    """Partitions are read one after the other, so the numbers of an exchange come in any order."""
    counters, numbered = dict[int, int](), []
    for at, (symbol, partition) in enumerate(feed):
        channel = 0 if settings.spans_partitions else partition
        counters[channel] = counters.get(channel, 0) + 1
        if there[at]:
            numbered.append((symbol, partition, counters[channel], at * 1000))
    if not numbered:
        return
    arriving = data.draw(st.permutations(numbered))
    tracker, seen = follower(settings), dict[str, set[int]]()
    for start in range(0, len(arriving), size):
        symbols, partitions, numbers, times = map(list, zip(*arriving[start : start + size], strict=True))
        tracker.step(trades_of(symbols, numbers, times), np.array(partitions, np.int32))
    for _, partition, number, _ in numbered:
        seen.setdefault("*" if settings.spans_partitions else f"*{partition}", set()).add(number)
    expected = {("ASX", scope, ""): holes(own) for scope, own in seen.items()}
    assert missing_of(tracker) == {name: missing for name, missing in expected.items() if missing}
    assert tracker.counts().resets == 0


@given(st.lists(st.lists(ARRIVAL, min_size=1, max_size=20), min_size=1, max_size=4))
def test_numbers_that_are_only_ordered_have_no_gaps(batches: list[list[tuple[str, int, int, int]]]) -> None:
    """The same number again is no fault; a lower one is late, or after a minute a restart."""
    tracker, runs = follower(ORDERED), dict[str, Ordered]()
    for batch in batches:
        symbols, _, numbers, times = map(list, zip(*batch, strict=True))
        tracker.step(trades_of(symbols, numbers, times))
        for symbol, _, number, at_us in batch:
            runs.setdefault(symbol, Ordered()).note(number, at_us)
    counts = tracker.counts()
    assert (missing_of(tracker), counts.lost_trades, counts.explained_by_reset, counts.unverified) == ({}, 0, 0, 0)
    assert counts.duplicates == 0
    assert counts.resets == sum(run.restarts for run in runs.values())
    assert counts.out_of_order == sum(run.late for run in runs.values())


@dataclass
class Ordered:
    """One symbol's numbers, and how the run before the present one ended."""

    high: int = -1
    latest: int = -(1 << 40)
    begun: int = -(1 << 40)
    past: tuple[int, int] = (-1, -(1 << 40))
    late: int = 0
    restarts: int = 0

    def note(self, number: int, at_us: int) -> None:
        if at_us < self.begun:
            if at_us <= self.past[1] or number > self.past[0]:
                self.late += 1
                return
            self.begun = at_us
        if number < self.high and at_us - self.latest >= MINUTE_US:
            self.restarts += 1
            self.past, self.begun = (self.high, self.latest), at_us
            self.high, self.latest = number, at_us
            return
        self.late += number < self.high
        self.high, self.latest = max(self.high, number), max(self.latest, at_us)


def test_a_thousand_restarts_of_ordered_numbers_cost_no_square_of_the_batch() -> None:
    numbers = [2 - at % 2 for at in range(20_000)]
    tracker = follower(ORDERED)
    tracker.step(trades_of(["A"] * 20_000, numbers, [at * 2 * MINUTE_US for at in range(20_000)]))
    assert tracker.counts().resets == 10_000


def test_numbers_that_say_nothing_are_not_followed() -> None:
    tracker = follower(NONE)
    tracker.step(trades_of(["A", "A"], [0, 0], [0, MINUTE_US]))
    counts = tracker.counts()
    assert (counts.untracked, counts.symbols, counts.resets) == (2, 0, 0)


def test_names_of_channels_keep_exchange_and_symbol_apart() -> None:
    trades = trades_of(["C", "B/C"], [1, 1], [0, 0])
    trades["exchange"] = [b"A/B", b"A"]
    channels = follower(SequenceSettings()).channels
    names = [channels.name(channel)[:2] for channel in channels.numbers_of(trades).tolist()]
    assert names == [("A/B", "C"), ("A", "B/C")]
    assert channels.symbol(1) == "B/C"


@pytest.mark.parametrize(
    "settings",
    [
        {"numbers": "dense"},
        {"numbers": "ordered", "channel": "exchange"},
        {"numbers": "none", "session": "message-id"},
        {"session": "day"},
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SequenceSettings.model_validate(settings)
