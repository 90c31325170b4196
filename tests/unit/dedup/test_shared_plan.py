"""The memory of claims, planned and refused."""

import re

import pytest

from k2ctl.cost.fit import faults_of, require_fit
from k2ctl.dedup.shared.plan import SharedPlan, plan_shared
from k2ctl.errors import ProfileError
from k2ctl.profiles import load_profile
from k2ctl.profiles.model import Dedup


def settings(**changes: object) -> Dedup:
    return load_profile("laptop").consumer.dedup.model_copy(update={"scope": "topic", **changes})


@pytest.mark.parametrize("profile", ["laptop", "10K", "1M", "10M"])
def test_consumers_of_shipped_profiles_share_no_claims(profile: str) -> None:
    assert plan_shared(load_profile(profile).consumer.dedup) is None


def test_a_plan_is_ids_a_second_times_window_times_bytes_an_id() -> None:
    plan = plan_shared(settings(shared_ids_per_s=2000, shared_window_minutes=60))
    assert plan is not None
    assert plan.bytes == 2000 * 3600 * 90
    assert plan_shared(settings()) == SharedPlan("topic", 3600, 1000), "by default at the rate of random ids"


@pytest.mark.parametrize("key", ["shared_budget_mb", "shared_window_minutes", "shared_ids_per_s"])
def test_a_plan_over_its_budget_is_refused_and_each_value_that_is_named_fits(key: str) -> None:
    greedy = settings(shared_ids_per_s=20_000)
    with pytest.raises(ProfileError, match="20,000 shared ids/s for 60 min at 90 bytes an id need 6,480 MB") as raised:
        plan_shared(greedy)
    named = re.search(rf"{key}(?: to)? ([\d,.]+\d)", raised.value.hint)
    assert named is not None
    value = float(named[1].replace(",", ""))
    assert plan_shared(greedy.model_copy(update={key: value if "window" in key else int(value)}))


def test_the_fault_names_its_key_and_the_profile_its_place() -> None:
    profile = load_profile("laptop")
    consumer = profile.consumer.model_copy(update={"dedup": settings(shared_ids_per_s=20_000)})
    greedy = profile.model_copy(update={"consumer": consumer})
    assert [fault.key for fault in faults_of(greedy)] == ["consumer.dedup.shared_budget_mb"]
    with pytest.raises(ProfileError, match=r"consumer\.dedup\.shared_budget_mb: 20,000 shared ids/s"):
        require_fit(greedy, "laptop")


def test_a_redis_with_less_memory_than_the_plan_is_refused_and_so_is_one_that_evicts() -> None:
    plan = SharedPlan("topic", 3600, 1000)
    plan.require_room({"maxmemory": 0, "maxmemory_policy": "allkeys-lru"})
    plan.require_room({"maxmemory": 324_000_000, "maxmemory_policy": "noeviction"})
    plan.require_room({})
    with pytest.raises(ProfileError, match="maxmemory is 100 MB") as raised:
        plan.require_room({"maxmemory": 100_000_000, "maxmemory_policy": "noeviction"})
    assert "Raise its maxmemory to 324 MB, or fit it: shared_window_minutes 18.5, or shared_ids_per_s 308" in str(
        raised.value.hint
    )
    with pytest.raises(ProfileError, match="volatile-lru"):
        plan.require_room({"maxmemory": 10**9, "maxmemory_policy": "volatile-lru"})
