"""What-ifs, bare rates, comparisons, levers, the tornado, the degradation policy."""

import pytest

from k2ctl.cost.estimate import by_month, compare, difference, estimate
from k2ctl.cost.policy import policy_cost, priority_shares
from k2ctl.cost.price_book import load_book
from k2ctl.cost.pricing import Pricing
from k2ctl.cost.scenarios import LADDER, levers, profile_for_rate, sensitivity, with_settings
from k2ctl.errors import UsageError
from k2ctl.profiles import load_profile

BOOK = load_book()
PRICING = Pricing(BOOK)


def total(*settings: str, scale: str = "1M") -> float:
    return estimate(with_settings(load_profile(scale), settings), BOOK).total_monthly_usd


@pytest.mark.parametrize(("name", "rate"), [("10K", 1e4), ("1M", 1e6), ("10M", 1e7)])
def test_the_rate_of_a_shipped_profile_costs_what_the_profile_costs(name: str, rate: float) -> None:
    between = estimate(profile_for_rate(rate), BOOK).total_monthly_usd
    assert between == pytest.approx(estimate(load_profile(name), BOOK).total_monthly_usd)


def test_a_bare_rate_is_between_its_neighbours_and_is_sized_by_the_rules() -> None:
    found = PRICING.scenario("250k", 250_000.0).profile
    assert found.load.rate == 250_000
    assert 12 < found.topic.partitions < 96
    assert 500 < found.market.symbols < 10_000
    assert total(scale="10K") < estimate(found, BOOK).total_monthly_usd < total(scale="1M")


def test_a_name_goes_before_a_rate_and_a_name_that_is_neither_is_refused() -> None:
    assert PRICING.scenario("10K", 10_000.0).profile.name == "10K"
    with pytest.raises(UsageError, match="'nope' is neither a profile, nor a rate, nor a file"):
        PRICING.scenario("nope", None)
    with pytest.raises(UsageError, match="at most at 10,000,000"):
        PRICING.scenario("20M", 20e6)


def test_what_ifs_are_checked_together_and_say_what_is_wrong() -> None:
    cluster = ["topology.brokers=18", "topology.instance=express.m7g.large"]
    assert total(*cluster) == total()
    for settings, words in (
        (cluster[:1], "topology: brokers and instance go together"),
        (["retention.hot_day=9"], "no key 'retention.hot_day'"),
        (["retention.hot_days=-1"], "retention.hot_days: must be greater than 0 .got -1"),
        (["retention.hot_days"], "is not key=value"),
        (["retention.hot_days=[1"], "is not key=value"),
        (["clients.node=t2.tiny"], "clients.node"),
        (["workload.peak_factor=25"], "peak hours alone are more"),
    ):
        with pytest.raises(UsageError, match=words):
            total(*settings)


def test_keys_are_found_with_and_without_scale_before_them() -> None:
    assert total("retention.hot_days=90") == total("scale.retention.hot_days=90") > total()
    assert total("topic.retention_hours=48") > total()


def test_a_difference_names_what_changed_and_adds_up() -> None:
    before, after = (
        estimate(with_settings(load_profile("1M"), settings), BOOK)
        for settings in ([], ["retention.warm_days=90", "topology.service=standard"])
    )
    found = difference(before, after)
    marks = {change.name: change.mark for change in found.changes}
    assert (marks["lake.warm"], marks["kafka.data_in"], marks["kafka.brokers"], marks["lake.hot"]) == (
        "+",
        "-",
        "~",
        " ",
    )
    assert sum(change.usd for change in found.changes) == pytest.approx(found.usd)
    assert [abs(change.usd) for change in found.changes] == sorted((abs(c.usd) for c in found.changes), reverse=True)


def test_a_comparison_has_every_component_of_every_estimate() -> None:
    found = compare([estimate(load_profile(name), BOOK) for name in LADDER])
    for index, each in enumerate(found.estimates):
        assert sum(row.usd[index] for row in found.rows) == pytest.approx(each.total_monthly_usd)


def test_levers_save_what_they_say() -> None:
    found = levers(load_profile("1M"), BOOK)
    assert [lever.saves_usd for lever in found] == sorted((lever.saves_usd for lever in found), reverse=True)
    for lever in found:
        if not lever.in_use:
            assert total() - total(lever.setting) == pytest.approx(lever.saves_usd)
    (rack,) = (lever for lever in found if lever.title == "rack-aware reads")
    assert rack.in_use
    assert rack.saves_usd == pytest.approx(6_984, rel=0.001)


def test_the_tornado_is_widest_on_top_and_meets_what_ifs() -> None:
    swings = sensitivity(load_profile("1M"), BOOK)
    widths = [swing.width(total()) for swing in swings]
    assert widths == sorted(widths, reverse=True)
    (ratio,) = (swing for swing in swings if swing.key == "workload.wire_ratio")
    assert (ratio.low_usd, ratio.high_usd) == (total("workload.wire_ratio=3"), total())


def test_the_tornado_says_which_end_cannot_work() -> None:
    profile = with_settings(load_profile("1M"), ["topology.brokers=18", "topology.instance=express.m7g.large"])
    (peak,) = (swing for swing in sensitivity(profile, BOOK) if swing.key == "workload.peak_factor")
    assert peak.low_usd is not None
    assert peak.high_usd is None


def test_the_curve_is_the_estimates_month_by_month() -> None:
    months = by_month(load_profile("1M"), BOOK, 3)
    assert [month.month for month in months] == [1, 2, 3]
    assert months[0].total_monthly_usd == estimate(load_profile("1M"), BOOK, 1).total_monthly_usd
    assert months[2].total_monthly_usd == pytest.approx(total())


def test_priority_shares_are_those_of_the_synthetic_market() -> None:
    from k2ctl.profiles.universe import Universe

    universe = Universe(load_profile("10K"))
    shares = priority_shares(load_profile("10K"))
    for tier, name in enumerate(("CRITICAL", "HIGH", "NORMAL", "LOW"), 1):
        assert shares[name] == pytest.approx(float(universe.weights[universe.tiers == tier].sum()))


def test_the_degradation_policy_by_hand() -> None:
    found = policy_cost(load_profile("1M"), BOOK)
    # Everything: 8 consumers, on 2 nodes. Shedding: 1M/s × 2.24 µs / 0.8 = 3 consumers of a core, on 1 node, which take
    # 1.34M/s, and so the rest of the 2M/s at peak is deferred for an hour.
    capacity = 3 / 2.24e-6
    assert (found.everything_nodes, found.shedding_nodes) == (2, 1)
    assert found.deferred_share == pytest.approx(1 - capacity / 2e6)
    assert found.trades_deferred_per_day == pytest.approx((2e6 - capacity) * 3600)
    # Outside the peak (24 − 2)/23 M/s arrive, and what the three can do beyond that catches up.
    assert found.caught_up_hours == pytest.approx((2e6 - capacity) / (capacity - 22e6 / 23))
    assert found.saves_usd == pytest.approx(730 * 0.3264 - (found.spill_usd or 0))
    assert found.level == "CIRCUIT_BREAK"
    assert found.worth_it


def test_a_policy_that_cannot_defer_enough_says_so() -> None:
    steep = with_settings(load_profile("1M"), ["workload.peak_factor=20", "workload.peak_hours_per_day=0.5"])
    found = policy_cost(steep, BOOK)
    assert found.level is None
    assert "CRITICAL is always processed" in found.problem
    assert not found.worth_it


def test_a_measured_share_takes_the_place_of_the_derived_one() -> None:
    measured = with_settings(load_profile("1M"), ["workload.shed_share=0.01"])
    # A hundredth of the day's trades is 12 hundredths of those in the hour of twice the average.
    assert policy_cost(measured, BOOK).deferred_share == pytest.approx(0.01 * 24 / 2)
