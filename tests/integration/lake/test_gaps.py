"""The gap report of a table made for it."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from k2ctl.clock import ManualClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.ledger import DeferredRange, LedgerChange
from k2ctl.domain.rows import arrow_schema
from k2ctl.domain.trade import NO_SEQUENCE
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.snapshots import pin
from k2ctl.lake.writer import TableWriter
from k2ctl.profiles import load_profile
from k2ctl.profiles.universe import Universe
from k2ctl.sequence.gap_report import GapReport, gap_report
from k2ctl.views.lake import gaps_panel
from tests.made_trades import BASE_US, make_rows, make_trades

DAY_US = 86_400_000_000
CLOCK = ManualClock(time.time_ns() // 1000)


class MadeTable:
    """A table of the test's own, and how far it is."""

    def __init__(self, folder: Path) -> None:
        self.lake = Lake(f"sqlite:///{folder}/catalog.db", f"file://{folder}/warehouse")
        retention = SnapshotRetention.from_profile(load_profile("laptop").lake.expire)
        self._writer = TableWriter(self.lake, CLOCK, retention)
        self._offset = 0

    def commit(self, trades: np.ndarray, deferred: tuple[DeferredRange, ...] = ()) -> None:
        count, end = len(trades), self._offset + len(trades)
        shed = sum(entry.count for entry in deferred)
        step = OffsetDelta(self._offset, end, Counts(seen=count + shed, stored=count, shed=shed))
        rows = make_rows(trades, self._offset)
        self._writer.commit([rows], {TopicPartition("t", "e", 0): step}, LedgerChange(deferred))
        self._offset = end

    def report(self, symbol: str | None = None, since_us: int | None = None) -> GapReport:
        symbols = None if symbol is None else [symbol]
        return gap_report(
            pin(self.lake), arrow_schema().empty_table(), CLOCK, Universe(load_profile("laptop")), symbols, since_us
        )


@pytest.fixture
def made(tmp_path: Path) -> Iterator[MadeTable]:
    table = MadeTable(tmp_path)
    yield table
    table.lake.close()


def without(trades: np.ndarray, symbol: bytes, *numbers: int) -> np.ndarray:
    return trades[~((trades["symbol"] == symbol) & np.isin(trades["source_sequence"], numbers))]


def test_a_table_without_gaps_is_complete(made: MadeTable) -> None:
    made.commit(make_trades(200))
    report = made.report()
    assert (report.stored, report.missing, report.completeness_percent) == (200, 0, 100.0)
    assert len(report.days) == 20
    assert report.gaps == ()


def test_gaps_are_reported_by_symbol_and_day_with_completeness(made: MadeTable) -> None:
    first, second = make_trades(200), make_trades(200, start=200)
    second["event_ns"] += DAY_US * 1000
    made.commit(without(first, b"S03", 4, 5))
    made.commit(without(second, b"S03", 11, 15))  # 11 is the first of the day: the gap is of that day
    report = made.report()
    lacking = {day.day: (day.symbol, day.stored, day.missing, day.completeness_percent)
               for day in report.days if day.missing}  # fmt: skip
    assert lacking == {"2023-11-14": ("S03", 8, 2, 80.0), "2023-11-15": ("S03", 8, 2, 80.0)}
    assert [(gap.first, gap.last, gap.state) for gap in report.gaps] == [
        (4, 5, "OPEN"), (11, 11, "OPEN"), (15, 15, "OPEN"),
    ]  # fmt: skip


def test_late_trades_in_another_commit_leave_no_gap(made: MadeTable) -> None:
    trades = make_trades(100)
    late = (trades["symbol"] == b"S03") & (trades["source_sequence"] == 2)
    made.commit(trades[~late])
    assert made.report().missing == 1
    made.commit(trades[late])
    assert (made.report().missing, made.report().resets) == (0, 0)


def test_a_gap_is_lost_after_a_quarter_of_an_hour(made: MadeTable) -> None:
    trades = without(make_trades(100), b"S03", 2)
    trades["received_ns"] = (CLOCK.now_us() - 901_000_000) * 1000
    made.commit(trades)
    assert [gap.state for gap in made.report().gaps] == ["LOST"]
    assert (made.report().days[3].lost, made.report().days[3].open) == (1, 0)


def test_what_was_deferred_and_what_a_restart_left_is_explained(made: MadeTable) -> None:
    policy = Universe(load_profile("laptop")).policy
    deferred = DeferredRange("t", "e", 0, 0, 100, 0b1111, policy, 2, 1, BASE_US + 20_000, BASE_US + 30_000)
    trades = without(make_trades(100), b"S03", 2)
    again = make_trades(20, session=8)
    again["event_ns"] += 10 * DAY_US * 1000
    made.commit(without(trades, b"S05", 4), (deferred,))
    made.commit(again)
    found = {(gap.symbol, gap.first): (gap.state, gap.cause) for gap in made.report().gaps}
    assert found == {("S03", 2): ("EXPLAINED", "reset"), ("S05", 4): ("EXPLAINED", "reset")}
    assert made.report().resets == 20
    early = made.report("S03")
    assert (early.stored, early.missing) == (5, 1)


def test_an_entry_of_the_ledger_explains_only_gaps_of_its_time(made: MadeTable) -> None:
    policy = Universe(load_profile("laptop")).policy
    deferred = DeferredRange("t", "e", 0, 0, 100, 0b1111, policy, 2, 1, BASE_US + 20_000, BASE_US + 30_000)
    made.commit(without(without(make_trades(100), b"S03", 2), b"S05", 4), (deferred,))
    found = {(gap.symbol, gap.first): (gap.state, gap.cause) for gap in made.report().gaps}
    assert found == {("S03", 2): ("EXPLAINED", "deferred"), ("S05", 4): ("OPEN", "")}


def test_an_entry_of_another_topic_explains_no_gap(made: MadeTable) -> None:
    policy = Universe(load_profile("laptop")).policy
    deferred = DeferredRange("other", "e", 0, 0, 100, 0b1111, policy, 2, 1, BASE_US + 20_000, BASE_US + 30_000)
    made.commit(without(make_trades(100), b"S03", 2), (deferred,))
    assert [(gap.symbol, gap.state) for gap in made.report().gaps] == [("S03", "OPEN")]


def test_a_venue_without_numbers_is_said_and_not_tracked(made: MadeTable) -> None:
    trades = make_trades(40)
    silent = make_trades(10, session=9)
    silent["exchange"], silent["source_sequence"] = b"OTC", NO_SEQUENCE
    made.commit(np.concatenate([trades, silent]))
    report = made.report()
    assert (report.untracked, report.stored) == ({"OTC": 10}, 40)


def test_what_came_before_the_time_asked_for_is_not_guessed(made: MadeTable) -> None:
    made.commit(without(make_trades(100), b"S03", 2))
    report = made.report(since_us=BASE_US + 40_000)
    assert (report.missing, report.unverified_symbols) == (0, 20)


def test_the_panel_says_it_in_words(made: MadeTable) -> None:
    from rich.console import Console

    made.commit(without(make_trades(100), b"S03", 2))
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(gaps_panel(made.report()))
    text = console.export_text()
    assert "99 % complete" in text
    assert "ASX/S03" in text
    console.file.close()
