"""What must hold for every platform, not only for the shipped ones."""

import math

import orjson
from hypothesis import assume, given
from hypothesis import strategies as st

from k2ctl.cost.documents import estimate_document, read_estimate
from k2ctl.cost.estimate import estimate
from k2ctl.cost.price_book import load_book
from k2ctl.cost.scenarios import profile_for_rate, total_with, with_settings
from k2ctl.profiles import Profile, load_profile

BOOK = load_book()
LADDER = [load_profile(name) for name in ("10K", "1M", "10M")]


@st.composite
def platforms(draw: st.DrawFn) -> Profile:
    hours = draw(st.sampled_from([6.5, 12, 24]))
    peak = draw(st.floats(1, 4))
    chosen = {
        "topic.partitions": 960,
        "workload.peak_hours_per_day": draw(st.floats(0, 0.999 * hours / peak)),
        "workload.peak_factor": peak,
        "workload.hours_per_day": hours,
        "workload.days_per_week": draw(st.integers(1, 7)),
        "workload.trade_bytes": draw(st.floats(20, 400)),
        "workload.wire_ratio": draw(st.floats(1, 5)),
        "workload.average_rate": draw(st.floats(1, 5e6)),
        "topology.service": draw(st.sampled_from(["cheapest", "standard"])),
        "topology.rack_aware": draw(st.booleans()),
        "topology.consumer_groups": draw(st.integers(1, 5)),
        "topic.retention_hours": draw(st.floats(1, 24 * 14)),
        "retention.hot_days": draw(st.floats(1, 400)),
        "retention.warm_days": draw(st.sampled_from([0, 0, 90])),
        "retention.archive_days": draw(st.sampled_from([0, 365])),
        "state.dedup": draw(st.sampled_from(["intervals", "redis_keys"])),
        "consumer.commit_interval_s": 2,
        "consumer.commit_rows": 3_000_000,
        "consumer.pending_limit_rows": 6_000_000,
        "consumer.memory_limit_mb": 4096,
        "clients.node": "m7g.2xlarge",
        "load.frame": 100,
        "market.symbols": 50_000,
        "market.zipf_exponent": 0.3,
        "terms.commitment": draw(st.sampled_from(["none", "1y_no_upfront"])),
        "query.queries_per_month": draw(st.floats(0, 1e6)),
    }
    base = draw(st.sampled_from(LADDER))
    return with_settings(base, [f"{key}={str(value).lower()}" for key, value in chosen.items()])


def never_falls(platform: Profile, key: str, less: object, more: object) -> None:
    before = total_with(platform, BOOK, key, less)
    after = total_with(platform, BOOK, key, more)
    assume(before is not None and after is not None)
    assert before is not None
    assert after is not None
    assert after >= before - 1e-6 * before


@given(platforms(), st.floats(1, 5e6), st.floats(1, 5e6))
def test_more_load_never_costs_less(platform: Profile, one: float, other: float) -> None:
    never_falls(platform, "workload.average_rate", min(one, other), max(one, other))


@given(platforms(), st.floats(1, 10), st.floats(1, 10))
def test_a_higher_peak_never_costs_less(platform: Profile, one: float, other: float) -> None:
    never_falls(platform, "workload.peak_factor", min(one, other), max(one, other))


@given(platforms(), st.sampled_from(["hot_days", "warm_days", "archive_days"]), st.floats(1, 900), st.floats(1, 900))
def test_more_retention_in_the_lake_never_costs_less(platform: Profile, tier: str, one: float, other: float) -> None:
    never_falls(platform, f"retention.{tier}", min(one, other), max(one, other))


@given(platforms(), st.floats(1, 400), st.floats(1, 400))
def test_more_retention_in_kafka_never_costs_less(platform: Profile, one: float, other: float) -> None:
    never_falls(platform, "topic.retention_hours", min(one, other), max(one, other))


@given(platforms(), st.integers(1, 6), st.integers(1, 6))
def test_more_replication_never_costs_less(platform: Profile, one: int, other: int) -> None:
    never_falls(platform, "topology.replication", min(one, other), max(one, other))


@given(platforms(), st.integers(1, 8), st.integers(1, 8))
def test_more_groups_never_cost_less(platform: Profile, one: int, other: int) -> None:
    never_falls(platform, "topology.consumer_groups", min(one, other), max(one, other))


@given(st.floats(1, 1e7), st.floats(1, 1e7))
def test_a_higher_bare_rate_never_costs_less(one: float, other: float) -> None:
    less, more = (estimate(profile_for_rate(rate), BOOK) for rate in sorted((one, other)))
    assert less.infeasible == more.infeasible == ()
    assert more.total_monthly_usd >= less.total_monthly_usd - 1e-6


@given(platforms(), st.none() | st.integers(1, 60))
def test_the_total_is_the_sum_of_its_lines_and_the_json_comes_back(platform: Profile, month: int | None) -> None:
    found = estimate(platform, BOOK, month)
    assert found.total_monthly_usd == math.fsum(line.monthly_usd or 0 for line in found.lines)
    assert math.isclose(math.fsum(found.by_component().values()), found.total_monthly_usd)
    for line in found.lines:
        if line.unit_price is not None and line.name != "support.plan":
            assert line.monthly_usd is not None
            assert math.isclose(line.quantity * line.unit_price, line.monthly_usd, rel_tol=1e-9, abs_tol=1e-9)
    assert read_estimate(orjson.loads(orjson.dumps(estimate_document(found)))) == found


@given(platforms(), st.integers(1, 60))
def test_no_month_costs_more_than_the_one_after_it(platform: Profile, month: int) -> None:
    now, later = (estimate(platform, BOOK, at).total_monthly_usd for at in (month, month + 1))
    assert later >= now - 1e-6 * now
