"""Brokers: AWS's rules, its own figures for other assumptions, and clusters that cannot work."""

import pytest

from k2ctl.cost.capacity import STANDARD
from k2ctl.cost.estimate import estimate, scale_of
from k2ctl.cost.kafka import standard_in_mib_s
from k2ctl.cost.price_book import load_book
from k2ctl.cost.scenarios import with_settings
from k2ctl.profiles import load_profile

BOOK = load_book()


def kafka_usd(scale: str, *settings: str) -> float:
    found = estimate(with_settings(load_profile(scale), settings), BOOK)
    assert found.infeasible == ()
    return found.by_component()["Kafka"]


def faults(scale: str, *settings: str) -> str:
    return " ".join(estimate(with_settings(load_profile(scale), settings), BOOK).infeasible)


@pytest.mark.parametrize(
    ("instance", "mib_s"),
    [("kafka.m7g.large", 6.1), ("kafka.m7g.xlarge", 12.0), ("kafka.m7g.2xlarge", 24.0), ("kafka.m7g.4xlarge", 48.1)],
)
def test_a_standard_broker_takes_what_awss_script_gives_it_with_two_groups(instance: str, mib_s: float) -> None:
    topology = scale_of(load_profile("1M")).topology
    assert standard_in_mib_s(STANDARD[instance], topology) == pytest.approx(mib_s, abs=0.06)


@pytest.mark.parametrize(
    ("scale", "peak", "usd"),
    [
        ("10K", 1, 528),
        ("1M", 1, 9_196),
        ("10M", 1, 90_174),
        ("10K", 3, 528),
        ("1M", 3, 14_557),
        ("10M", 3, 143_785),
    ],
)
def test_other_peaks_give_awss_figures_too(scale: str, peak: int, usd: float) -> None:
    assert kafka_usd(scale, f"workload.peak_factor={peak}") == pytest.approx(usd, rel=0.001)


def test_express_wins_at_a_million_and_standard_at_ten_thousand() -> None:
    titles = {scale: estimate(load_profile(scale), BOOK).lines[0].title for scale in ("10K", "1M", "10M")}
    assert titles == {"10K": "3 × kafka.m7g.large", "1M": "18 × express.m7g.large", "10M": "42 × express.m7g.2xlarge"}


def test_standard_disks_are_provisioned_for_every_copy_and_express_bills_one() -> None:
    standard = estimate(with_settings(load_profile("1M"), ["topology.service=standard"]), BOOK)
    express = estimate(load_profile("1M"), BOOK)
    (provisioned,) = (line.quantity for line in standard.lines if line.name == "kafka.storage")
    (billed,) = (line.quantity for line in express.lines if line.name == "kafka.storage")
    assert provisioned == pytest.approx(48_281, rel=1e-3)
    assert billed == pytest.approx(8_047, rel=1e-3)


def test_consumers_that_are_not_rack_aware_pay_for_crossing_zones() -> None:
    more = kafka_usd("1M", "topology.rack_aware=false") - kafka_usd("1M")
    assert more == pytest.approx(2 * 244_751.6 * 2 / 3 * 0.02, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("topology.brokers=20", "topology.instance=express.m7g.large"), "do not spread evenly over 3 zones"),
        (("topology.brokers=3", "topology.instance=kafka.m7g.large"), "3 × kafka.m7g.large take 18.2 MiB/s"),
        (("topology.brokers=63", "topology.instance=express.m7g.large"), "more than the quota of 60"),
        (("topology.brokers=18", "topology.instance=kafka.m9z.large"), "no broker type 'kafka.m9z.large'"),
        (("topology.replication=4", "topology.brokers=3", "topology.instance=kafka.m7g.large"), "4 copies need"),
        (("topic.partitions=8", "topic.critical_partitions=1"), "at least 14 partitions are needed"),
        (("workload.average_rate=1000000000",), "in 60 brokers, the quota of a cluster"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(settings: tuple[str, ...], words: str) -> None:
    assert words in faults("1M", *settings)


def test_a_disk_that_holds_half_an_hour_is_refused() -> None:
    # An earlier plan for this rate: half a terabyte for 300 MB/s of three copies.
    found = faults(
        "1M",
        "topology.brokers=21",
        "topology.instance=kafka.m5.4xlarge",
        "topology.disk_gib_per_broker=22",
    )
    assert "462 GiB of Kafka disk hold 28 minutes of 300 MB/s written; retention asks for 24 hours" in found


def test_a_refused_plan_has_no_lines() -> None:
    found = estimate(with_settings(load_profile("1M"), ["workload.average_rate=1000000000"]), BOOK)
    assert found.lines == ()
