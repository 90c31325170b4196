"""Consumers that crash between any two steps, over a store that forgets, falls back and fails, against one plain model.

The model is a list: the topic. The table is its beginning. Whatever happened, a consumer that starts knows exactly what
a tracker makes of the table, and a store that names a fence holds exactly what one makes of the table up to it.
"""

import copy
from collections.abc import Sequence

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from k2ctl.clock import ManualClock
from k2ctl.errors import StateError
from k2ctl.sequence.state_store import Fence, MemoryStateStore, Update
from k2ctl.sequence.state_sync import SequenceCut, StateSync
from k2ctl.sequence.symbol_state import cut
from k2ctl.sequence.tracker import SequenceTracker
from tests.made_trades import BASE_US, make_trades

CLOCK = ManualClock(4_000_000_000_000_000)
TRADE = st.tuples(st.integers(0, 1), st.integers(1, 9), st.integers(-2, 3))


class FragileStore(MemoryStateStore):
    """A store that can be out of reach, before or after it has done what was asked, and lose what it had."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = self.fails_after = False
        self.kept: list[dict[int, tuple[Fence, dict[bytes, bytes]]]] = []

    @property
    def kind(self) -> str:
        return "redis"

    def publish(self, updates: Sequence[Update]) -> dict[int, Fence | None]:
        if self.fails:
            raise StateError("out of reach")
        self.kept.append(copy.deepcopy(self._partitions))
        refused = super().publish(updates)
        if self.fails_after:
            raise StateError("the answer is lost")
        return refused

    def fall_back(self, steps: int) -> None:
        self._partitions = self.kept[-min(steps, len(self.kept))] if self.kept else {}
        self.kept = []

    def forget(self) -> None:
        self._partitions = {}


class Consumers(RuleBasedStateMachine):
    """One consumer after the other, of one partition."""

    @initialize()
    def begin(self) -> None:
        self.topic, self.store = make_trades(0), FragileStore()
        self.committed, self.commit_id, self.commits = 0, "", 0
        self.start()

    def start(self) -> None:
        self.tracker, self.position = SequenceTracker(CLOCK), self.committed
        self.in_flight: tuple[int, SequenceCut] | None = None
        self.state_sync = StateSync(self.store, self.tracker, CLOCK, background=False)
        fence = Fence("e", self.committed, self.commit_id)
        covered = self.state_sync.restore({0: fence}, 0)
        self.tracker.step(self.topic[covered.get(0, 0) : self.committed])
        assert known(self.tracker) == known(self.whole(self.committed))
        self.state_sync.begin()

    def whole(self, end: int) -> SequenceTracker:
        tracker = SequenceTracker(CLOCK)
        tracker.step(self.topic[:end])
        return tracker

    @rule(batch=st.lists(TRADE, min_size=1, max_size=8))
    def produce(self, batch: list[tuple[int, int, int]]) -> None:
        trades = make_trades(len(batch))
        trades["symbol"] = [f"X{symbol}".encode() for symbol, _, _ in batch]
        trades["source_sequence"] = [number for _, number, _ in batch]
        trades["event_ns"] = np.array([BASE_US + len(self.topic) + after for _, _, after in batch]) * 1000
        trades["received_ns"] = (BASE_US + len(self.topic)) * 1000
        self.topic = np.concatenate([self.topic, trades])

    @rule(count=st.integers(1, 10))
    def read(self, count: int) -> None:
        self.tracker.step(self.topic[self.position : self.position + count])
        self.position = min(len(self.topic), self.position + count)

    @precondition(lambda self: self.in_flight is None)
    @rule()
    def submit(self) -> None:
        self.in_flight = (self.position, self.state_sync.cut())

    @precondition(lambda self: self.in_flight is not None)
    @rule(crash=st.booleans())
    def commit(self, crash: bool) -> None:
        assert self.in_flight is not None
        end, sequence_cut = self.in_flight
        self.commits += 1
        self.committed, self.commit_id, self.in_flight = end, f"c{self.commits}", None
        if crash:
            self.start()
        else:
            self.state_sync.committed(sequence_cut, {0: Fence("e", self.committed, self.commit_id)})

    @rule(fails=st.booleans(), fails_after=st.booleans())
    def publish(self, fails: bool, fails_after: bool) -> None:
        self.store.fails, self.store.fails_after = fails, fails_after
        self.state_sync.publish()
        self.store.fails = self.store.fails_after = False

    @rule()
    def crash(self) -> None:
        self.start()

    @rule(steps=st.integers(1, 3))
    def lose_the_last_writes(self, steps: int) -> None:
        self.store.fall_back(steps)

    @rule()
    def lose_everything(self) -> None:
        self.store.forget()

    @rule()
    def catch_up(self) -> None:
        """Commit what is in hand; two rounds bring any store to the table."""
        if self.in_flight is None:
            self.submit()
        self.commit(crash=False)
        self.state_sync.publish()
        self.state_sync.publish()
        found = self.store.load([0])
        assert found[0].fence.same_commit(Fence("e", self.committed, self.commit_id))
        assert self.state_sync.snapshot().behind_symbols == 0

    @invariant()
    def the_store_holds_what_its_fence_says(self) -> None:
        for state in self.store.load([0]).values():
            assert state.fence.offset <= self.committed
            assert dict(state.values) == known(self.whole(state.fence.offset))


def known(tracker: SequenceTracker) -> dict[bytes, bytes]:
    """Everything that a tracker knows of its symbols; it does not forget that it was cut."""
    before = tracker.channels.dirty.copy()
    tracker.channels.dirty[: len(tracker.channels)] = True
    found = {name: value for values in cut(tracker).values() for name, value in values.items()}
    tracker.channels.dirty[:] = before
    return found


TestConsumers = Consumers.TestCase
TestConsumers.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
