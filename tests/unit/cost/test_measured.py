"""What was measured: recorded in one step, merged, and put in place of assumptions."""

import json
from pathlib import Path

import pytest

from k2ctl.clock import ManualClock
from k2ctl.cost import measured
from k2ctl.cost.estimate import estimate
from k2ctl.cost.measured import Measured, with_measurements
from k2ctl.cost.price_book import load_book
from k2ctl.cost.scenarios import with_settings
from k2ctl.errors import UsageError
from k2ctl.home import Home
from k2ctl.profiles import load_profile

BOOK = load_book()


def test_figures_merge_and_carry_their_time(home: Path) -> None:
    clock = ManualClock()
    measured.record(Home.of_user(), clock, wire_bytes_per_trade=120.5, shed_share=0.0)
    clock.advance(60)
    measured.record(Home.of_user(), clock, parquet_bytes_per_trade=13.0, shed_share=0.02)
    assert measured.load(Home.of_user()) == Measured(
        wire_bytes_per_trade=120.5, parquet_bytes_per_trade=13.0, shed_share=0.02
    )
    kept = json.loads((home / "measured.json").read_text())
    assert kept["parquet_bytes_per_trade"]["at_us"] - kept["wire_bytes_per_trade"]["at_us"] == 60_000_000


def test_nothing_measured_is_nothing() -> None:
    assert measured.load(Home.of_user()) == Measured()


def test_a_figure_of_another_name_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="no such figure: speed"):
        measured.record(Home.of_user(), speed=1.0)


def test_a_run_gives_figures_per_trade_and_a_short_one_gives_none() -> None:
    measured.record_load(Home.of_user(), 9_999, 10**6)
    measured.record_consume(Home.of_user(), 9_999, 9_999, 10**6, 1.0)
    assert measured.load(Home.of_user()) == Measured()
    measured.record_load(Home.of_user(), 100_000, 13_200_000)
    measured.record_consume(Home.of_user(), 200_000, 100_000, 1_400_000, 0.5, deferred=2_000)
    assert measured.load(Home.of_user()) == Measured(132.0, 14.0, 2.5, 0.01)


@pytest.mark.parametrize("text", ["{", "[]", '{"shed_share": 3}', '{"shed_share": {"value": "x"}}'])
def test_a_record_that_is_not_one_is_refused(home: Path, text: str) -> None:
    (home / "measured.json").write_text(text)
    with pytest.raises(UsageError, match=r"measured\.json cannot be read"):
        measured.load(Home.of_user())


def test_measured_figures_take_the_place_of_assumptions_and_say_what_each_does() -> None:
    figures = Measured(40.0, 13.0, 2.5, 0.01)
    profile, replaced = with_measurements(load_profile("1M"), figures, BOOK)
    assert [(each.figure, each.assumed, each.measured) for each in replaced] == [
        ("wire_bytes_per_trade", 100.0, 40.0),
        ("parquet_bytes_per_trade", 20.0, 13.0),
        ("cpu_s_per_million_trades", 2.24, 2.5),
        ("shed_share", 0.0, 0.01),
    ]
    base_usd = estimate(load_profile("1M"), BOOK).total_monthly_usd
    alone = with_settings(load_profile("1M"), ["workload.wire_bytes_per_trade=40"])
    assert replaced[0].usd == pytest.approx(estimate(alone, BOOK).total_monthly_usd - base_usd)
    found = {line.name: line.quantity for line in estimate(profile, BOOK).lines}
    before = {line.name: line.quantity for line in estimate(load_profile("1M"), BOOK).lines}
    assert found["kafka.data_in"] == pytest.approx(0.4 * before["kafka.data_in"])
    assert found["lake.hot"] == pytest.approx(0.65 * before["lake.hot"])


def test_with_nothing_measured_it_says_how_to_measure() -> None:
    with pytest.raises(UsageError, match="Nothing was measured yet"):
        with_measurements(load_profile("1M"), Measured(), BOOK)
