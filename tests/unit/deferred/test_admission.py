"""Admission: the policy table, over batches."""

import numpy as np
import pytest

from k2ctl.deferred.admission import ACTIONS, SHED, SPILL, Admission, by_partition, mask_of
from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import CANCEL
from k2ctl.profiles import load_profile
from k2ctl.profiles.universe import PRIORITIES, Universe
from tests.made_trades import make_rows, make_trades

PROFILE = load_profile("laptop")
UNIVERSE = Universe(PROFILE)
LEVELS = PROFILE.degradation.levels


def rows_of(*symbols: str) -> Rows:
    trades = make_trades(len(symbols))
    trades["symbol"] = [symbol.encode() for symbol in symbols]
    return make_rows(trades)


def of_priority(priority: str) -> str:
    return UNIVERSE.symbols[int(np.argmax(UNIVERSE.tiers == PRIORITIES.index(priority) + 1))]


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_every_row_meets_the_action_that_the_policy_names(level: object) -> None:
    admission = Admission(UNIVERSE, can_shed=True)
    rows = rows_of(*(of_priority(priority) for priority in PRIORITIES), "NOBODY")
    admitted = admission.step(rows, admission.actions(level))
    parts = {"process": admitted.process, "spill": admitted.spill, "shed": admitted.shed}
    for priority in (*PRIORITIES, None):
        symbol = of_priority(priority) if priority else "NOBODY"
        action = getattr(level, priority or "NORMAL")
        assert symbol.encode() in parts[action].trades["symbol"].tolist()
    assert admitted.counts.sum() == len(rows) == sum(map(len, parts.values()))
    assert admitted.counts[PRIORITIES.index("CRITICAL"), ACTIONS.index("process")] == 1


def test_where_kafka_does_not_hold_trades_they_are_spilled_and_where_the_disk_fails_they_are_shed() -> None:
    level = LEVELS[3]
    assert SHED not in Admission(UNIVERSE, can_shed=False).actions(level)
    assert SPILL not in Admission(UNIVERSE, can_shed=True).actions(level, spill_works=False)
    # Neither Kafka nor the disk: the rows wait for the disk, they are not thrown away.
    assert SHED not in Admission(UNIVERSE, can_shed=False).actions(level, spill_works=False)


def test_an_edited_policy_has_another_name() -> None:
    tiers = PROFILE.market.tiers.model_copy(update={"critical": 11})
    market = PROFILE.market.model_copy(update={"tiers": tiers})
    edited = Universe(PROFILE.model_copy(update={"market": market}))
    assert Admission(UNIVERSE, can_shed=True).policy == Admission(UNIVERSE, can_shed=False).policy
    assert Admission(UNIVERSE, can_shed=True).policy != Admission(edited, can_shed=True).policy


def test_shed_ranges_cover_the_batch_and_count_its_trades() -> None:
    admission = Admission(UNIVERSE, can_shed=True)
    low, critical = of_priority("LOW"), of_priority("CRITICAL")
    actions = admission.actions(LEVELS[2])
    admitted = admission.step(rows_of(low, critical, low), actions)
    entries = admission.shed_entries(admitted.shed, {0: (0, 3), 1: (5, 9)}, 2, mask_of(actions, SHED))
    assert [(e.partition, e.start, e.end, e.count, e.holds(3), e.holds(0)) for e in entries] == [
        (0, 0, 3, 2, True, False),
        (1, 5, 9, 0, True, False),
    ]


def test_rows_are_counted_by_partition_with_their_times_and_whether_some_are_events() -> None:
    rows = rows_of("A", "B", "C")
    rows.partition[:] = [2, 0, 2]
    rows.trades["action"][1] = CANCEL
    times = (rows.trades["event_ns"] // 1000).tolist()
    assert list(by_partition(rows)) == [(0, 1, times[1], times[1], True), (2, 2, times[0], times[2], False)]
    assert list(by_partition(rows.take(np.zeros(3, np.bool_)))) == []
