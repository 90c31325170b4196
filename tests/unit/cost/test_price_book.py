"""Prices: units that must match, tiers, origins, overrides, age; mistakes by file, line and key."""

import re
from datetime import date, timedelta
from pathlib import Path
from typing import get_args

import pytest

from k2ctl.cost.estimate import estimate
from k2ctl.cost.price_book import Kind, Quantity, load_book, regions
from k2ctl.errors import K2Error, ProfileError, UsageError
from k2ctl.profiles import load_profile, profile_names

BOOK = load_book()
OWN = """
prices:
  msk_broker:
    unit: broker-hour
    source: [our contract]
    date: "2026-12-01"
    confidence: high
    per: {express.m7g.large: 0.30}
"""


def test_the_default_region_has_every_price_with_unit_source_date_and_confidence() -> None:
    assert set(BOOK.groups) == set(get_args(Kind))
    for kind, group in BOOK.groups.items():
        assert group.source, kind
        assert set(group.source) <= set(BOOK.sources), kind
        assert group.unit


def test_every_region_prices_in_the_same_units() -> None:
    for region in regions():
        for kind, group in load_book(region).groups.items():
            assert group.unit == BOOK.groups[kind].unit


def test_price_books_are_not_profiles() -> None:
    assert profile_names() == ["10K", "10M", "1M", "laptop"]
    assert regions() == ["ap-southeast-2", "us-east-1"]


def test_a_price_multiplies_only_its_own_unit() -> None:
    with pytest.raises(TypeError, match="priced per broker-hour, not per broker-month"):
        BOOK.price("msk_broker", "kafka.m7g.large").times(Quantity(1, "broker-month"))


@pytest.mark.parametrize(
    ("kind", "quantity", "usd"),
    [
        ("internet_out", 10_240, 10_140 * 0.09),
        ("internet_out", 102_400, 10_240 * 0.09 + 40_960 * 0.085 + 51_100 * 0.07),
        ("s3_standard", 482_803, 51_200 * 0.023 + 431_603 * 0.022),
        ("internet_out", 50, 0.0),
    ],
)
def test_tiers_by_hand(kind: Kind, quantity: float, usd: float) -> None:
    price = BOOK.price(kind)
    assert price.times(Quantity(quantity, price.unit)) == (pytest.approx(usd), True)


def test_beyond_the_last_known_tier_the_amount_is_a_lower_bound() -> None:
    price = BOOK.price("metrics_ingest")
    amount, known = price.times(Quantity(30_000, price.unit))
    assert not known
    assert amount == pytest.approx(200 * 0.90 + 25_000 * 0.35)


def test_a_single_low_confidence_price_is_marked_in_a_group() -> None:
    assert BOOK.price("rds_postgresql", "db.r7g.large").confidence == "low"
    assert BOOK.price("rds_postgresql", "db.r6g.large").confidence == "medium"


def test_a_users_prices_go_before_those_of_the_book_and_keep_their_origin(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(OWN)
    book = BOOK.with_overrides(path)
    assert book.price("msk_broker", "express.m7g.large").rate == 0.30
    assert book.price("msk_broker", "express.m7g.large").sources == ("our contract",)
    assert book.price("msk_broker", "kafka.m7g.large") == BOOK.price("msk_broker", "kafka.m7g.large")
    before, after = (estimate(load_profile("1M"), each).lines[0].monthly_usd for each in (BOOK, book))
    assert before == pytest.approx(18 * 730 * 0.408)
    assert after == pytest.approx(18 * 730 * 0.30)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("msk_broker", "msk_brokers", r"ours\.yaml:3: prices\.msk_brokers"),
        ("confidence: high", "confidence: sure", r"ours\.yaml:7: prices\.msk_broker\.confidence: .*'sure'"),
        ("0.30", "cheap", r"ours\.yaml:8: prices\.msk_broker\.per\.express\.m7g\.large: .*'cheap'"),
        ("0.30", "-1", r"ours\.yaml:8: .*at least 0"),
        ("per: {express.m7g.large: 0.30}", "tiers: [[10, 1.0]]", r"ours\.yaml:\d: .*must end at \.inf"),
        ("unit: broker-hour", "unit: broker-month", r"'broker-month', but the model counts in 'broker-hour'"),
        ("per: {express.m7g.large: 0.30}", "value: 0.3", r"by type, under `per`"),
    ],
)
def test_a_mistake_names_file_line_and_key(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(OWN.replace(old, new))
    with pytest.raises(K2Error) as caught:
        BOOK.with_overrides(path)
    assert isinstance(caught.value, ProfileError | UsageError)
    assert re.search(words, str(caught.value)), str(caught.value)


def test_no_such_region() -> None:
    with pytest.raises(UsageError, match="no price book for region 'moon'"):
        load_book("moon")


def test_a_book_is_stale_after_the_days_it_says() -> None:
    assert not BOOK.stale(date(2026, 11, 22) + timedelta(days=180))
    assert BOOK.stale(date(2026, 11, 22) + timedelta(days=181))
