"""Profiles whose consumers, nodes, queries and table head do not go together are refused, with place and next step."""

import re
from pathlib import Path

import numpy as np
import pytest

from k2ctl.api.settings import Limits
from k2ctl.cli import main
from k2ctl.cost.capacity import QUERY_LIMIT_RECORDS, QUERY_LIMIT_S
from k2ctl.cost.fit import faults_of, require_fit
from k2ctl.cost.scenarios import LADDER, with_settings
from k2ctl.domain.announcement import linger_s
from k2ctl.errors import ProfileError
from k2ctl.profiles import load_profile, profile_names
from k2ctl.profiles.fleet import SWAP_S, fleet_of, swap_s
from k2ctl.profiles.nodes import room_of
from k2ctl.profiles.universe import Universe

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.mark.parametrize("name", profile_names())
def test_a_shipped_profile_holds(name: str) -> None:
    assert faults_of(load_profile(name)) == ()


@pytest.mark.parametrize("name", LADDER)
def test_a_shipped_scale_commits_every_five_to_ten_seconds_and_has_room_at_the_peak(name: str) -> None:
    profile = load_profile(name)
    assert profile.scale is not None
    fleet = fleet_of(profile, profile.scale)
    assert 5 <= fleet.interval_s <= 10
    assert fleet.commit_s < fleet.interval_s
    assert fleet.busiest_rate <= fleet.capacity_rate
    assert fleet.per_node * fleet.nodes >= fleet.count
    assert fleet.per_node * fleet.memory_mb <= fleet.room.memory_mb
    assert fleet.per_node * fleet.cores <= fleet.room.cores
    assert fleet.count <= profile.topic.partitions
    assert profile.scale.clients.cpu_s_per_million.lake_writer == pytest.approx(1e6 / 446_239, rel=0.01)


@pytest.mark.parametrize("name", ["1M", "10M"])
def test_no_consumer_gets_more_than_it_is_sized_for_when_partitions_are_dealt_in_turns(name: str) -> None:
    profile = load_profile(name)
    assert profile.scale is not None
    fleet, universe = fleet_of(profile, profile.scale), Universe(profile)
    partition = universe.partitioner().partitions_of(np.array(universe.symbols, "S"))
    shares = np.bincount(partition, weights=universe.weights, minlength=profile.topic.partitions)
    dealt = [shares[number :: fleet.count].sum() for number in range(fleet.count)]
    assert max(dealt) * fleet.peak_rate <= fleet.busiest_rate
    assert shares.max() == pytest.approx(fleet.hottest_share, rel=0.05)


CONSUMER_OF_16_GB = ("consumer.memory_limit_mb=16384", "consumer.dedup.budget_mb=4096")


@pytest.mark.parametrize(
    ("settings", "key", "words", "step"),
    [
        ((*CONSUMER_OF_16_GB, "clients.node=c7g.large"), "consumer.memory_limit_mb",
         "a consumer wants 16,384 MB, and c7g.large has 2,729 MB for pods", "a larger scale.clients.node"),
        (("consumer.pending_limit_rows=40000000",), "consumer.pending_limit_rows",
         "40,000,000 rows that wait beside a commit of 3,000,000 take 10,970 MB", "more memory_limit_mb"),
        (("consumer.commit_interval_s=300",), "consumer.commit_interval_s",
         "commits every 300 s leave 79,293,739 trades in the partition of one symbol at the peak", "At most 31."),
        (("topic.placed_by_symbol=false",), "consumer.commit_interval_s",
         "trades in the stream at the peak", "topic.placed_by_symbol: true"),
        (("market.zipf_exponent=1",), "market.zipf_exponent",
         "the most traded of 50,000 symbols has 8.8% of the trades, all in one partition: 1,75", "A flatter market"),
        (("topic.critical_partitions=8", "topic.partitions=80"), "topic.partitions",
         "the fullest of 80 has 488,409 trades/s at the peak", "More partitions"),
        (("clients.consumers=48",), "scale.clients.consumers",
         "the busiest of 48 gets 653,064 trades/s at the peak and takes 446,429/s", "At least 97, or null"),
        (("consumer.dedup.ids_per_s=20000",), "consumer.dedup.budget_mb",
         "20,000 random ids/s for 24 h at 0.10% need 3,419 MB", "Raise budget_mb to 3,420"),
        (("consumer.dedup.budget_mb=4096",), "consumer.dedup.budget_mb",
         "the whole consumer has memory_limit_mb 4,096", "Leave room for batches"),
        (("consumer.memory_limit_mb=3000", "consumer.pending_limit_rows=2300000", "consumer.commit_rows=2300000"),
         "consumer.memory_limit_mb", "where SOFT begins", "or a shorter interval"),
        (("consumer.pending_limit_rows=1000000",), "consumer.pending_limit_rows",
         "2,225,618 rows come until a commit is due", "At least 2,225,618"),
        (("consumer.commit_interval_s=0.5",), "consumer.commit_interval_s",
         "97 consumers would each commit every 0.5 s, and one table takes a commit every 0.96 s", "At least 1.2 s"),
        (("consumer.commit_rows=100000",), "consumer.commit_rows",
         "when commit_rows are together", "At least"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_key_reason_and_next_step(
    settings: tuple[str, ...], key: str, words: str, step: str
) -> None:
    faults = {fault.key: fault for fault in faults_of(with_settings(load_profile("10M"), settings))}
    assert words in faults[key].reason
    assert step in faults[key].step


@pytest.mark.parametrize(
    ("settings", "key", "of_step"),
    [
        (("consumer.commit_interval_s=300",), "consumer.commit_interval_s", r"At most ([\d.]+) s"),
        (("topic.placed_by_symbol=false", "workload.average_rate=1e6"), "consumer.commit_interval_s",
         r"At most ([\d.]+) s"),
        (("consumer.commit_interval_s=0.5",), "consumer.commit_interval_s", r"At least ([\d.]+) s"),
        (("clients.consumers=48",), "scale.clients.consumers", r"At least (\d+)"),
        (("consumer.memory_limit_mb=3000", "consumer.pending_limit_rows=2300000", "consumer.commit_rows=2300000"),
         "consumer.memory_limit_mb", r"At least ([\d,]+)"),
        (("consumer.pending_limit_rows=1000000",), "consumer.pending_limit_rows", r"At least ([\d,]+)"),
        (("consumer.commit_rows=100000",), "consumer.commit_rows", r"At least ([\d,]+)"),
        (("consumer.dedup.ids_per_s=20000", "consumer.memory_limit_mb=9000", "clients.node=r7g.2xlarge"),
         "consumer.dedup.budget_mb", r"Raise budget_mb to ([\d,]+)"),
    ],
)  # fmt: skip
def test_the_next_step_helps(settings: tuple[str, ...], key: str, of_step: str) -> None:
    profile = with_settings(load_profile("10M"), settings)
    (fault,) = (fault for fault in faults_of(profile) if fault.key == key)
    found = re.match(of_step, fault.step)
    assert found is not None, fault.step
    followed = with_settings(profile, [f"{key}={found[1].replace(',', '')}"])
    assert key not in {fault.key for fault in faults_of(followed)}


def test_a_query_may_read_what_the_service_lets_it_read() -> None:
    assert Limits().seconds / 2 == QUERY_LIMIT_S
    service = (ROOT / "k2ctl" / "api" / "engine.py").read_text()
    assert f"TailLimits({QUERY_LIMIT_RECORDS:_}, limits.seconds / 2)" in service


@pytest.mark.parametrize("interval_s", [0.5, 1.0, 5.0])
def test_a_commit_waits_for_others_as_long_as_the_committer_does(interval_s: float) -> None:
    assert swap_s(8, interval_s) - SWAP_S == pytest.approx(linger_s(interval_s))


def test_a_node_has_less_for_pods_than_it_is_sold_with() -> None:
    # 8 vCPU less 0.06 + 0.01 + 2 × 0.005 + 4 × 0.0025; 32 GiB less 7.5 %, 255 + 58 × 11 and 100 MiB; and system pods.
    room = room_of("m7g.2xlarge")
    assert room.cores == pytest.approx(8 - 0.09 - 0.25)
    assert room.memory_mb == pytest.approx((32768 * 0.925 - 255 - 638 - 100 - 512) * 2**20 / 1e6)
    assert (room.holds(1.0, 4096), room.holds(1.0, 16384), room.holds(8.0, 1)) == (7, 1, 0)


def written(tmp_path: Path, **changes: str) -> Path:
    """The profile 10M as a file of one's own, with lines replaced."""
    text = (ROOT / "profiles" / "10M.yaml").read_text()
    for old, new in changes.items():
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{old}:"))
        text = text.replace(line, f"{line[: len(line) - len(line.lstrip())]}{old}: {new}")
    (tmp_path / "mine.yaml").write_text(text)
    return tmp_path / "mine.yaml"


def test_a_fault_is_refused_with_file_line_and_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, commit_interval_s="300.0")
    number = 1 + path.read_text().splitlines().index("  commit_interval_s: 300.0")
    with pytest.raises(
        ProfileError, match=rf"mine\.yaml:{number}: consumer\.commit_interval_s: commits every 300 s"
    ) as e:
        require_fit(load_profile(str(path)), str(path))
    assert e.value.hint.startswith("At most 31.")
    assert main(["cost", "--scale", str(path)]) == 3
    assert f"mine.yaml:{number}: consumer.commit_interval_s: commits every 300 s" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_profile_upon_a_base_is_named_where_the_value_is(tmp_path: Path) -> None:
    path = tmp_path / "upon.yaml"
    path.write_text("base: 10M\nconsumer:\n  pending_limit_rows: 40000000\n")
    with pytest.raises(ProfileError, match=r"upon\.yaml:3: consumer\.pending_limit_rows"):
        require_fit(load_profile(str(path)), str(path))
    path.write_text("base: 10M\nscale:\n  clients:\n    node: c7g.large\n")
    with pytest.raises(ProfileError, match=r"10M\.yaml:\d+: consumer\.memory_limit_mb: a consumer wants 4,096 MB"):
        require_fit(load_profile(str(path)), str(path))


def test_a_consumer_without_a_scale_is_held_to_its_own_memory() -> None:
    laptop = load_profile("laptop")
    tight = laptop.consumer.model_copy(update={"pending_limit_rows": 9_000_000})
    (fault,) = faults_of(laptop.model_copy(update={"consumer": tight}))
    assert fault.key == "consumer.pending_limit_rows"
