"""Pruning in memory leaves out only what cannot hold a row."""

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.checkpoint import Checkpoints
from k2ctl.lake.data_files import Listed
from k2ctl.lake.snapshots import KeptFile, KeptPinned

names = st.text("ABC", min_size=1, max_size=3)
times = st.integers(0, 50)


@given(st.lists(st.tuples(names, times), min_size=1, max_size=8), st.lists(names, min_size=1), times, times)
def test_a_file_that_holds_a_wanted_row_is_planned(
    rows: list[tuple[str, int]], symbols: list[str], since: int, until: int
) -> None:
    held, at = [symbol for symbol, _ in rows], [time for _, time in rows]
    file = KeptFile(Listed("f", 10, 1), min(at), max(at), min(held), max(held))
    pinned = KeptPinned(cast("Any", None), 1, 1, len(rows), Checkpoints(), (file,))
    plan = pinned.plan(symbols, since, until)
    wanted = any(symbol in symbols and since <= time < until for symbol, time in rows)
    assert plan.paths == ["f"] or not wanted
    assert (plan.of_files, plan.of_bytes) == (1, 10)
    assert pinned.plan().paths == ["f"]


def test_unknown_bounds_prune_nothing_and_known_ones_do() -> None:
    unknown = KeptFile(Listed("u", 1, 1), -(2**63), 2**63 - 1, "", None)
    known = KeptFile(Listed("k", 2, 1), 100, 200, "BHP", "CBA")
    pinned = KeptPinned(cast("Any", None), 1, 1, 0, Checkpoints(), (unknown, known))
    assert pinned.plan(["RIO"]).paths == ["u"]
    assert pinned.plan(["BXB"], 150, 151).paths == ["u", "k"]
    assert pinned.plan(None, 201).paths == ["u"]
    assert pinned.plan(None, None, 100).paths == ["u"]
