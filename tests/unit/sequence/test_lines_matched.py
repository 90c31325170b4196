"""Lines of made-up trades beside each other; a dict of what each line had is the judge."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k2ctl.clock import ManualClock
from k2ctl.profiles.model import SequenceSettings
from k2ctl.sequence.lines.numbers import LineGaps, LineNumbers
from k2ctl.sequence.lines.prints import PrintsByTime, arrivals
from k2ctl.sequence.lines.reading import ALWAYS_NS, NEVER_NS, LineRead
from k2ctl.sequence.lines.report import ComparedSpan, LineComparison, LinesReport
from k2ctl.sequence.lines.skews import Skews
from tests.made_trades import BASE_US, make_rows, make_trades

ALL = ComparedSpan(ALWAYS_NS, NEVER_NS)
RECEIVED_NS = BASE_US * 1000


def received(trades: np.ndarray, delay_ns: Any = 0) -> np.ndarray:
    """The trades as a line receives them, so long after the venue's time."""
    got = trades.copy()
    got["received_ns"] = got["event_ns"] + delay_ns
    return got


def compared(
    folder: Path,
    *lines: np.ndarray,
    within: ComparedSpan = ALL,
    most_rows: int = 64,
    declared: SequenceSettings | None = None,
) -> LinesReport:
    """Lines of trades in the order that they came."""
    place = Path(folder) / f"{len([*folder.iterdir()])}"
    (place / "prints").mkdir(parents=True)
    prints = PrintsByTime(place / "prints", most_rows)
    for number, trades in enumerate(lines):
        prints.add(arrivals(make_rows(trades), number))
    numbers = LineNumbers(ManualClock(), declared, len(lines), knows_begin=True)
    comparison = LineComparison(within, [Skews(place / f"{number}") for number in range(len(lines))], numbers)
    for slice_ in prints.slices():
        comparison.add(slice_)
    assert not [*(place / "prints").rglob("*.whole")]
    return comparison.report([LineRead(chr(65 + at), f"t{at}", False) for at in range(len(lines))], 5.0, "")


def test_a_line_that_is_always_later_is_second_by_exactly_so_much(tmp_path: Path) -> None:
    trades = make_trades(400)
    report = compared(tmp_path, received(trades), received(trades, np.arange(400) * 1000 + 1000))
    a, b = report.lines
    assert (report.trades, report.on_all, report.tied) == (400, 400, 0)
    assert (a.first, a.first_percent, a.missing, a.skew_p50_us) == (400, 100.0, 0, None)
    assert (b.first, b.first_percent, b.later) == (0, 0.0, 400)
    assert (b.skew_p50_us, b.skew_p99_us) == (200.0, 396.0)
    assert sum(b.skew.counts) == 400
    assert b.gaps == LineGaps(0, 0, 0, 0)


def test_what_one_line_drops_is_missing_there_and_filled_by_the_other(tmp_path: Path) -> None:
    trades = make_trades(400)
    symbol, number = trades["symbol"], trades["source_sequence"]
    lost_on_a = (symbol == b"S03") & np.isin(number, (4, 5, 9))
    lost_on_both = (symbol == b"S03") & np.isin(number, (12, 13))
    half_lost = (symbol == b"S07") & np.isin(number, (6, 7))
    a = received(trades[~(lost_on_a | lost_on_both | half_lost)])
    b = received(trades[~(lost_on_both | half_lost | ((symbol == b"S07") & (number == 5)))])
    a = np.concatenate([a, received(trades[(symbol == b"S07") & (number == 6)])])
    report = compared(tmp_path, a, b)
    assert [(one.missing, one.alone) for one in report.lines] == [(3, 2), (2, 3)]
    # On A 4-5, 9 and 12-13 of S03, 7 of S07; on B 12-13 of S03, 5-7 of S07, of which A has 5 and 6.
    assert report.lines[0].gaps == LineGaps(4, 6, 2, 3)
    assert report.lines[1].gaps == LineGaps(2, 5, 0, 2)
    assert report.missing_on_all == LineGaps(2, 3, 0, 0)


def test_a_line_that_falls_silent_or_begins_late_lacks_what_the_other_has(tmp_path: Path) -> None:
    trades = make_trades(400)
    report = compared(tmp_path, received(trades[:200]), received(trades[100:]), received(trades))
    assert [one.missing for one in report.lines] == [200, 100, 0]
    # Of each of 20 symbols the numbers from 11 on; those up to 5.
    assert [one.gaps for one in report.lines] == [
        LineGaps(20, 200, 20, 200), LineGaps(20, 100, 20, 100), LineGaps(0, 0, 0, 0),
    ]  # fmt: skip
    assert report.missing_on_all == LineGaps(0, 0, 0, 0)


def test_copies_within_a_line_count_once_and_by_the_first_of_them(tmp_path: Path) -> None:
    trades = make_trades(100)
    a = np.concatenate([received(trades, 5000), received(trades[:30], 9000)])
    report = compared(tmp_path, a, received(trades, 7000))
    assert [one.repeated for one in report.lines] == [30, 0]
    assert [one.trades for one in report.lines] == [100, 100]
    assert (report.lines[0].first, report.lines[1].skew_p99_us) == (100, 2.0)


def test_a_reprint_is_a_trade_of_its_own_and_no_copy(tmp_path: Path) -> None:
    trades = make_trades(60)
    reprints = trades[:20].copy()
    reprints["price"]["low"] += 1
    report = compared(tmp_path, received(np.concatenate([trades, reprints])), received(trades))
    assert (report.trades, report.on_all) == (80, 60)
    assert [one.missing for one in report.lines] == [0, 20]
    both = compared(tmp_path, *[received(np.concatenate([trades, reprints]))] * 2)
    assert (both.trades, both.on_all, both.tied) == (80, 80, 80)


def test_a_restart_of_the_counter_is_no_gap_and_hides_none(tmp_path: Path) -> None:
    first, again = make_trades(200), make_trades(200, session=9)
    again["event_ns"] += 3_600_000_000_000
    trades = np.concatenate([first, again])
    lost = (trades["symbol"] == b"S01") & (trades["source_sequence"] == 4)
    report = compared(tmp_path, received(trades[~lost]), received(trades))
    assert report.lines[0].gaps == LineGaps(2, 2, 2, 2)
    assert report.missing_on_all == LineGaps(0, 0, 0, 0)


def test_only_what_every_line_could_have_by_now_is_compared(tmp_path: Path) -> None:
    trades = make_trades(300)  # a millisecond each
    at_ns = RECEIVED_NS + np.array([100, 250]) * 1_000_000
    report = compared(tmp_path, received(trades), received(trades[120:240], 1000), within=ComparedSpan(*at_ns.tolist()))
    assert (report.trades, report.no_longer_held, report.unsettled) == (150, 100, 50)
    assert [one.missing for one in report.lines] == [0, 30]


def read_as(**changes: Any) -> LineRead:
    return LineRead("A", "a", False, **changes)


def test_the_compared_part_begins_behind_what_kafka_deleted_and_ends_before_what_it_holds_back() -> None:
    now_us, settle_ns = BASE_US + 60_000_000, 5_000_000_000
    whole = ComparedSpan.of([read_as(), read_as()], now_us, 5.0)
    assert (whole.from_ns, whole.until_ns) == (ALWAYS_NS, now_us * 1000 - settle_ns)
    cut = ComparedSpan.of([read_as(begins_ns={0: 7, 1: RECEIVED_NS}), read_as(begins_ns={3: 9})], now_us, 5.0)
    assert cut.from_ns == RECEIVED_NS + settle_ns
    held = ComparedSpan.of([read_as(), read_as(ends_ns={2: RECEIVED_NS})], now_us, 5.0)
    assert held.until_ns == RECEIVED_NS - settle_ns


def test_of_a_partition_that_retention_emptied_nobody_knows_what_it_had(tmp_path: Path) -> None:
    none = ComparedSpan.of([read_as(begins_ns={0: NEVER_NS}), read_as()], BASE_US, 5.0)
    report = compared(tmp_path, received(make_trades(50)), received(make_trades(40)), within=none)
    assert (report.trades, report.no_longer_held) == (0, 50)
    assert [one.missing for one in report.lines] == [0, 0]


Came = tuple[int, int, int, int]
"""Which trade, on which line, how long after the venue's time, which print."""


def judged(came: Sequence[Came], lines: int) -> dict[str, list[Any]]:
    """By dicts what `compared` finds."""
    first: dict[tuple[int, int], dict[int, int]] = {}
    often: dict[tuple[int, int, int], int] = {}
    for trade, line, delay, printed in came:
        had = first.setdefault((trade, printed), {})
        had[line] = min(delay, had.get(line, delay))
        often[trade, printed, line] = often.get((trade, printed, line), 0) + 1
    found: dict[str, list[Any]] = {name: [0] * lines for name in ("trades", "repeated", "first", "alone", "missing")}
    skews: list[list[int]] = [[] for _ in range(lines)]
    for key, had in first.items():
        best = [line for line, delay in had.items() if delay == min(had.values())]
        for line in range(lines):
            found["trades"][line] += line in had
            found["missing"][line] += line not in had
            found["repeated"][line] += max(0, often.get((*key, line), 0) - 1)
            found["alone"][line] += [*had] == [line]
            found["first"][line] += len(had) > 1 and best == [line]
            if line in had and had[line] > min(had.values()):
                skews[line].append(had[line] - min(had.values()))
    for name, share in (("skew_p50_us", 0.5), ("skew_p99_us", 0.99)):
        found[name] = [sorted(of)[max(0, int(np.ceil(share * len(of))) - 1)] / 1000 if of else None for of in skews]
    return found


def arrived(came: Sequence[Came], lines: int) -> list[np.ndarray]:
    made, result = make_trades(60), []
    for line in range(lines):
        own = [one for one in came if one[1] == line]
        trades = made.take([one[0] for one in own])
        trades["price"]["low"] += np.array([one[3] for one in own], np.uint64)
        result.append(received(trades, np.array([one[2] for one in own], np.int64)))
    return result


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_lines_are_as_a_dict_has_them(tmp_path: Path, data: st.DataObject) -> None:
    lines = data.draw(st.integers(2, 4))
    one = st.tuples(st.integers(0, 59), st.integers(0, lines - 1), st.integers(0, 10**11), st.integers(0, 1))
    few = st.tuples(st.integers(0, 3), st.integers(0, lines - 1), st.integers(0, 3), st.integers(0, 1))
    came = data.draw(st.lists(one | few, min_size=1, max_size=80))
    report = compared(tmp_path, *arrived(came, lines), most_rows=data.draw(st.integers(1, 40)))
    expected: Mapping[str, list[Any]] = judged(came, lines)
    assert {name: [getattr(line, name) for line in report.lines] for name in expected} == expected


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 70_000), min_size=1, max_size=60), st.floats(0.001, 1))
def test_a_quantile_is_the_one_of_the_sorted_values(tmp_path: Path, values: list[int], share: float) -> None:
    path = tmp_path / "skew"
    path.unlink(missing_ok=True)
    skews = Skews(path)
    skews.add(np.array(values[:7], np.int64))
    skews.add(np.array(values[7:], np.int64))
    assert skews.quantile_us(share) == sorted(values)[int(np.ceil(share * len(values))) - 1] / 1000


def test_without_dense_numbers_nothing_is_said_of_gaps(tmp_path: Path) -> None:
    trades = received(make_trades(40))
    trades["source_sequence"] = np.iinfo(np.uint64).max
    report = compared(tmp_path, trades, trades[:30])
    assert (report.missing_on_all, report.numbers) == (None, "no trade has a number")
    assert [one.gaps for one in report.lines] == [None, None]
    assert report.lines[1].missing == 10


@pytest.mark.parametrize("most_rows", [1, 7, 1000])
def test_slices_hold_every_arrival_once_in_the_order_of_time(tmp_path: Path, most_rows: int) -> None:
    trades = make_trades(300)
    trades["event_ns"] += np.random.default_rng(5).integers(0, 10**15, 300)
    trades["event_ns"][:20] = trades["event_ns"][0]
    prints = PrintsByTime(tmp_path, most_rows)
    # `tmp_path` holds the test's home.
    (tmp_path / "home").rmdir()
    prints.add(arrivals(make_rows(trades[:150]), 0))
    prints.add(arrivals(make_rows(trades[150:]), 1))
    slices = [*prints.slices()]
    times = np.concatenate([one["event_ns"] for one in slices])
    assert np.array_equal(times, np.sort(trades["event_ns"]))
    assert max(map(len, slices)) <= max(20, most_rows)
