"""What of a cost is fixed, and which figures are points of a curve."""

import pytest

from k2ctl.checks.bench.figures import Figure
from k2ctl.checks.bench.growth import fixed_of
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.profiles import load_profile
from k2ctl.views.checks import curves


@pytest.mark.parametrize(
    ("spent", "fixed_us"),
    [
        ([(1_000, 55_000 + 5_000), (10_000, 55_000 + 50_000), (100_000, 300_000)], 55_000),
        ([(1_000, 5_000), (10_000, 50_000)], 0),
        ([(1_000, 5_000), (10_000, 60_000)], 0),  # not even a line
        ([(1_000, 5_000), (10_000, 4_000)], 5_000),
        ([(1_000, 5_000)], 5_000),
    ],
)
def test_what_is_fixed_is_where_the_line_through_the_lowest_rates_begins(
    spent: list[tuple[float, float]], fixed_us: float
) -> None:
    assert fixed_of(spent) == pytest.approx(fixed_us)


def test_a_share_is_no_point_of_a_curve() -> None:
    share = Figure("day", "an hour adds", "snapshots", 0.01, "share")
    points = curves([Figure("day", "hour 1", "snapshots", 5, "snapshots"), share])
    assert points is not None
    assert points.row_count == 2
    assert curves([share]) is None
    assert curves([Figure("load", "frame 1", "rate", 1.0, "trades/s")]) is None


def test_at_a_pace_all_ages_of_snapshots_pass_faster() -> None:
    expire = load_profile("laptop").lake.expire
    usual, fast = SnapshotRetention.from_profile(expire), SnapshotRetention.from_profile(expire, 720.0)
    assert (usual.keep_last, usual.minute_ms, usual.hour_ms) == (fast.keep_last, 60_000, 3_600_000)
    assert (fast.minute_ms, fast.hour_ms) == (83, 5_000)
    assert fast.one_an_hour_for_ms == round(usual.one_an_hour_for_ms / 720)
