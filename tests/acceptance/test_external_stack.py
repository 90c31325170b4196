"""Services that others run: an Apache Kafka, a Redis, a PostgreSQL and an S3 store that all want a password."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from k2ctl.endpoints import Endpoints, load_endpoints
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from tests.support.cli import run
from tests.support.independent_reader import Sources, assert_stored_once
from tests.support.kafka_server import ADMIN, USERS, KafkaServer
from tests.support.object_store import SECRET_KEY, ObjectStore
from tests.support.postgres_server import PASSWORD, PostgresServer
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.kafka

REDIS_PASSWORD: Final = "hush@redis/0"  # noqa: S105 - of a server that lives as long as the test
SECRETS: Final = (*USERS.values(), REDIS_PASSWORD, "hush%40redis", SECRET_KEY, PASSWORD)
TOPIC: Final = "market.equities.trades.asx"


@dataclass
class Others:
    """What others run, and the profile that names it."""

    kafka: KafkaServer
    redis: RedisServer
    postgres: PostgresServer
    store: ObjectStore
    profile: Path

    def up(self, *arguments: str, **environment: str) -> Any:
        return run("stack", "up", "--engine", "external", "--profile", str(self.profile), *arguments, **environment)

    def rows(self, endpoints: Endpoints) -> int:
        with Lake.at(endpoints) as lake:
            return checkpoints_of(lake.table()).total().stored

    def records(self) -> int:
        with BrokerAdmin(self.kafka.endpoints(ADMIN)) as admin:
            return sum(mark.high - mark.low for mark in admin.watermarks(TOPIC).values())

    def keys(self) -> int:
        client = redis.Redis(port=self.redis.port, password=REDIS_PASSWORD)
        return len(list(client.scan_iter("k2:*")))


@pytest.fixture
def others(
    guarded_kafka: KafkaServer,
    fragile_redis: RedisServer,
    postgres_server: PostgresServer,
    fragile_store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Others]:
    fragile_redis.client().config_set("requirepass", REDIS_PASSWORD)
    (tmp_path / "kafka_password").write_text(USERS["k2"] + "\n")
    monkeypatch.setenv("THEIR_REDIS", REDIS_PASSWORD)
    monkeypatch.setenv("THEIR_POSTGRES", PASSWORD)
    monkeypatch.setenv("THEIR_S3", SECRET_KEY)
    monkeypatch.setenv("THEIR_S3_ID", fragile_store.storage["s3.access-key-id"])
    catalog = postgres_server.database().replace(f":{PASSWORD}@", ":${env:THEIR_POSTGRES}@")
    profile = tmp_path / "theirs.yaml"
    profile.write_text(f"""\
base: laptop
name: theirs
external:
  kafka:
    bootstrap_servers: {guarded_kafka.address}
    properties:
      security.protocol: SASL_PLAINTEXT
      sasl.mechanism: PLAIN
      sasl.username: k2
      sasl.password: ${{file:kafka_password}}
  state: redis://:${{env:THEIR_REDIS}}@127.0.0.1:{fragile_redis.port}/0
  catalog: {catalog}
  warehouse: {fragile_store.folder()}
  storage:
    s3.endpoint: {fragile_store.storage["s3.endpoint"]}
    s3.region: us-east-1
    s3.access-key-id: ${{env:THEIR_S3_ID}}
    s3.secret-access-key: ${{env:THEIR_S3}}
    s3.force-virtual-addressing: false
""")
    yield Others(guarded_kafka, fragile_redis, postgres_server, fragile_store, profile)
    run("stack", "down")


def health() -> tuple[int, dict[str, str]]:
    """The exit code, and each service's health."""
    done = run("stack", "status", "--json")
    assert_silent(done.stdout + done.stderr)
    return done.returncode, {one["service"]: one["health"] for one in json.loads(done.stdout)}


def assert_silent(text: str) -> None:
    """No secret is in it."""
    assert [secret for secret in SECRETS if secret in text] == []


def succeed(*arguments: str) -> str:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert_silent(done.stdout + done.stderr)
    return done.stdout


def assert_one_gone_is_reported(others: Others) -> None:
    others.redis.pause()
    others.store.stop()
    code, found = health()
    assert code == 3
    assert (found["kafka"], found["catalog"]) == ("healthy", "healthy")
    assert "does not answer PING" in found["redis"]
    assert "failed a write and read of an object" in found["warehouse"]
    others.redis.resume()
    others.store.start()
    assert health() == (0, dict.fromkeys(("kafka", "redis", "catalog", "warehouse"), "healthy"))


def assert_no_move_under_a_consumer(others: Others) -> None:
    moved = others.profile.with_name("moved.yaml")
    moved.write_text(others.profile.read_text().replace(f"{others.redis.port}/0", f"{others.redis.port}/1"))
    refused = run("stack", "up", "--engine", "external", "--profile", str(moved))
    assert refused.returncode == 3
    assert "consumer-1: running with the endpoints as they were" in refused.stderr


@pytest.mark.slow
def test_the_platform_of_others_is_used_and_left_as_it_is(others: Others, home: Path) -> None:
    up = others.up()
    assert up.returncode == 0, up.stderr
    assert "nothing was started" in up.stdout, up.stderr
    assert_silent(up.stdout + up.stderr)
    again = others.up("--json")
    assert (again.returncode, json.loads(again.stdout)["kafka"]["sasl.password"]) == (0, "…")
    assert_silent(again.stdout + again.stderr)
    assert (home / "endpoints.json").stat().st_mode & 0o777 == 0o600
    endpoints = load_endpoints(Home.of_user())
    assert endpoints is not None

    succeed("load", "--rate", "4k", "--duration", "3", "--duplicates", "0.02")
    started = json.loads(succeed("consume", "--detach", "--json"))
    assert [member["name"] for member in started] == ["consumer-1"]
    loaded = json.loads(succeed("load", "--rate", "4k", "--duration", "3", "--json").splitlines()[-1])
    assert loaded["trades_acknowledged"] == 12_000
    assert json.loads(succeed("watch", "--once", "--json"))["level"] == "NORMAL"
    assert_no_move_under_a_consumer(others)
    succeed("consume", "stop", "--all")
    succeed("consume", "--until-caught-up")
    verified = json.loads(succeed("verify", "--json"))
    assert verified["holds"]
    assert verified["acknowledged"] >= 24_000
    assert assert_stored_once(Sources.of(endpoints), TOPIC) == verified["copies"] > 0
    assert json.loads(succeed("query", "recent", "BHP", "--window", "15m", "--format", "json"))
    assert "BHP" in succeed("query", "sql", "SELECT DISTINCT symbol FROM trades WHERE symbol = 'BHP'")
    succeed("gaps", "--since", "1h")
    succeed("lake", "status")
    assert "NORMAL  lag" in succeed("stack", "logs", "consumer-1")
    assert json.loads(succeed("state", "stats", "--json"))["store"] == "redis"
    succeed("doctor", "--engine", "external")
    assert_one_gone_is_reported(others)

    reported = run("stack", "logs", "kafka")
    assert reported.returncode == 2
    assert others.kafka.address in reported.stderr
    before = (others.rows(endpoints), others.records(), others.keys())
    assert before[0] == verified["expected"]
    down = run("stack", "down", "--volumes", "--yes")
    assert down.returncode == 0
    assert "What others run was not touched" in down.stderr
    assert (others.rows(endpoints), others.records(), others.keys()) == before
    assert load_endpoints(Home.of_user()) is None
    assert list(home.glob("acknowledged/*")) == []


@pytest.mark.slow
def test_each_service_that_does_not_work_is_named_with_its_reason(others: Others, home: Path) -> None:
    (others.profile.with_name("kafka_password")).write_text("wrong")
    up = others.up(THEIR_REDIS="wrong", THEIR_POSTGRES="wrong", THEIR_S3="wrong")
    assert up.returncode == 3
    assert not (home / "endpoints.json").exists()
    assert "Of 4 external services 4 did not do what was asked" in up.stderr
    for reason in (
        f"kafka, asked at {others.kafka.address} for a record there and back",
        "Authentication failed: Invalid username or password",
        "invalid username-password pair",
        'password authentication failed for user "k2"',
        f"k2ctl stack up --engine external --profile {others.profile}",
    ):
        assert reason in up.stderr
    assert_silent(up.stdout + up.stderr)
