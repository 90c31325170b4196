"""What commits say of lines: who came first, and how far behind the other was; a dict is the judge."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.dedup_status import DedupStatus, TierStatus
from k2ctl.domain.figure import SKEW_BOUNDS_S
from k2ctl.domain.line_status import NO_SKEW, LineCounts, all_lines
from k2ctl.metrics import samples
from k2ctl.sequence.lines.totals import Copied, LineTotals
from k2ctl.views.lines import line_text
from tests.support.statuses import a_status

LINES = {"A": "a", "B": "b", "C": "c"}
Pair = tuple[int, str, int]
"""When a copy was received, and the topic and receive time of the stored row."""


def copied(pairs: list[Pair]) -> Copied:
    received, topics, stored = zip(*pairs, strict=True) if pairs else ((), (), ())
    return Copied(np.array(received, np.int64), np.array(topics, object), np.array(stored, np.int64))


@given(st.lists(st.tuples(st.integers(0, 10**11), st.sampled_from("abcx"), st.integers(0, 10**11)), max_size=30))
def test_each_copy_tells_who_came_first_and_by_how_much(pairs: list[Pair]) -> None:
    totals = LineTotals(LINES, "a")
    totals.note(5, copied(pairs[::2]))
    totals.note(2, copied(pairs[1::2]))
    others = [pair for pair in pairs if pair[1] in "bc"]
    found = totals.status()
    assert (found["A"].trades, found["A"].copies) == (7 + len(others), len(others))
    assert found["A"].first == sum(received < stored for received, _, stored in others)
    assert sum(found["A"].skew.counts) == sum(received > stored for received, _, stored in others)
    for line, topic in (("B", "b"), ("C", "c")):
        behind = [stored - received for received, of, stored in others if of == topic and stored > received]
        counts = found.get(line, LineCounts())
        assert (counts.trades, sum(counts.skew.counts)) == (0, len(behind))
        assert counts.first == sum(received > stored for received, of, stored in others if of == topic)
        assert counts.skew.total_s == sum(behind) / 1e9 or abs(counts.skew.total_s - sum(behind) / 1e9) < 1e-6


def test_a_topic_that_is_no_line_says_nothing_and_one_that_is_begins_at_zero() -> None:
    other = LineTotals(LINES, "x")
    other.note(5, copied([(1, "a", 2)]))
    assert other.status() == {}
    assert LineTotals(LINES, "b").status() == {"B": LineCounts()}


def test_what_consumers_of_both_lines_say_adds_up_and_is_served_by_line() -> None:
    one, two = LineTotals(LINES, "a"), LineTotals(LINES, "b")
    one.note(10, copied([(1_000, "b", 41_000)]))
    two.note(4, copied([(90_000, "a", 50_000), (7, "a", 7)]))
    together = all_lines([one.status(), two.status()])
    assert [(counts.trades, counts.copies, counts.first) for counts in together.values()] == [(11, 1, 2), (6, 2, 0)]
    assert together["B"].skew.counts[:4] == (0, 0, 2, 0)
    assert together["B"].skew.quantile_s(0.99) == SKEW_BOUNDS_S[2]
    assert str(line_text("B", together["B"])) == "line B  6 trades  first 0.0%  p99 behind ≤ 100 µs"
    status = a_status(dedup=DedupStatus(tier=TierStatus(lines=two.status())))
    served = {(name, labels): value for name, labels, value in samples(status) if name.startswith("k2_line")}
    assert served["k2_line_trades_total", ("t", "B")] == 6
    assert served["k2_line_skew_seconds", ("t", "A")] == NO_SKEW
