"""A REST catalog of others, used whole: an OAuth2 credential by reference, keys that the catalog hands out for S3."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k2ctl.endpoints import load_endpoints
from k2ctl.home import Home
from tests.support.cli import run
from tests.support.independent_reader import Sources, assert_stored_once
from tests.support.kafka_server import USERS, KafkaServer
from tests.support.object_store import SECRET_KEY, ObjectStore
from tests.support.rest_server import CREDENTIAL, RestServer

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

CLIENT, SECRET = CREDENTIAL.split(":")
TOPIC = "market.equities.trades.rest"


@pytest.fixture
def profile(
    guarded_kafka: KafkaServer,
    rest_server: RestServer,
    object_store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """The catalog has the keys of the store; the profile has none."""
    storage = object_store.storage
    catalog = rest_server.catalog_with_keys(object_store.folder(), storage, credential=CREDENTIAL, tokens="many")
    (tmp_path / "kafka_password").write_text(USERS["k2"] + "\n")
    monkeypatch.setenv("THEIR_CATALOG", SECRET)
    path = tmp_path / "rest.yaml"
    path.write_text(f"""\
base: laptop
name: rest
market: {{exchange: REST}}
external:
  kafka:
    bootstrap_servers: {guarded_kafka.address}
    properties:
      security.protocol: SASL_PLAINTEXT
      sasl.mechanism: PLAIN
      sasl.username: k2
      sasl.password: ${{file:kafka_password}}
  state: memory
  catalog: {catalog}
  catalog_access:
    credential: {CLIENT}:${{env:THEIR_CATALOG}}
  warehouse: prod
  storage:
    s3.endpoint: {storage["s3.endpoint"]}
    s3.region: {storage["s3.region"]}
    s3.force-virtual-addressing: false
""")
    yield path
    run("stack", "down")


def succeed(*arguments: str) -> Any:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    for secret in (SECRET, SECRET_KEY, *USERS.values()):
        assert secret not in done.stdout + done.stderr
    return done.stdout


def test_two_consumers_on_a_rest_catalog_store_each_trade_once_and_queries_see_them(profile: Path) -> None:
    succeed("stack", "up", "--engine", "external", "--profile", str(profile))
    endpoints = load_endpoints(Home.of_user())
    assert endpoints is not None
    shown = json.loads(succeed("stack", "up", "--engine", "external", "--profile", str(profile), "--json"))
    assert shown["catalog_access"]["credential"] == "…"
    succeed("load", "--rate", "4k", "--duration", "2", "--duplicates", "0.02")
    succeed("consume", "--detach", "--replicas", "2")
    succeed("load", "--rate", "4k", "--duration", "4")
    succeed("consume", "stop", "--all")
    succeed("consume", "--until-caught-up")
    verified = json.loads(succeed("verify", "--json"))
    assert verified["holds"]
    assert assert_stored_once(Sources.of(endpoints), TOPIC) == verified["copies"] > 0
    assert json.loads(succeed("query", "sql", "SELECT count(*) AS n FROM trades", "--format", "json"))
    succeed("lake", "compact", "--all")
    succeed("lake", "expire", "--older-than", "0s")
    assert json.loads(succeed("lake", "status", "--json"))["balanced"]
    assert json.loads(succeed("verify", "--json"))["holds"]
    examined = succeed("doctor", "--engine", "external")
    assert "offers all that k2ctl asks a REST catalog for" in examined


def test_a_secret_that_is_wrong_is_named_before_anything_is_written_down(profile: Path) -> None:
    up = run("stack", "up", "--engine", "external", "--profile", str(profile), THEIR_CATALOG="hush-wrong")
    assert up.returncode == 3
    assert "catalog, asked for its namespaces" in up.stderr
    assert "refuses: invalid_client" in up.stderr
    assert "hush-wrong" not in up.stdout + up.stderr
    assert load_endpoints(Home.of_user()) is None
