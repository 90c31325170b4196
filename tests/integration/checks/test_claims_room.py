"""`k2ctl doctor` on the memory of claims."""

from dataclasses import replace
from pathlib import Path

import pytest

from k2ctl.checks.doctor.stack import claims_room
from k2ctl.endpoints import Endpoints
from k2ctl.errors import ProfileError
from k2ctl.stack.preflight import Verdict
from tests.support.redis_server import RedisServer


def with_scope(endpoints: Endpoints, folder: Path, scope: str) -> Endpoints:
    """The stack, as if it were up with a profile of this scope."""
    path = folder / f"{scope}.yaml"
    path.write_text(f"base: laptop\nname: shared\nconsumer: {{dedup: {{scope: {scope}}}}}\n")
    return replace(endpoints, profile=str(path))


def test_claims_are_compared_with_what_redis_may_take(
    endpoints: Endpoints, fragile_redis: RedisServer, tmp_path: Path
) -> None:
    shared = replace(with_scope(endpoints, tmp_path, "topic"), state_url=fragile_redis.url)
    (check,) = claims_room(shared)
    assert (check.verdict, check.found) == (Verdict.OK, "324 MB are planned, and Redis has room")
    with fragile_redis.client() as client:
        client.config_set("maxmemory", 100_000_000)
    with pytest.raises(ProfileError, match="need 324 MB in Redis, and Redis' maxmemory is 100 MB"):
        claims_room(shared)


def test_where_no_claims_are_shared_there_is_nothing_to_say(endpoints: Endpoints, tmp_path: Path) -> None:
    assert claims_room(with_scope(endpoints, tmp_path, "partition")) == []
    (check,) = claims_room(replace(with_scope(endpoints, tmp_path, "feeds"), state_url="memory://"))
    assert "in the memory of one process" in check.found
