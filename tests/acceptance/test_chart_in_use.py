"""The chart's containers as processes: they start as rendered, answer probes, leave in time, and store everything."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from k2ctl.endpoints import load_endpoints
from k2ctl.home import Home
from tests.support import chart
from tests.support.cli import run
from tests.support.independent_reader import Sources, assert_stored_once
from tests.support.kafka_server import USERS, KafkaServer
from tests.support.kubelet import Pod
from tests.support.object_store import ACCESS_KEY, SECRET_KEY, ObjectStore
from tests.support.polling import until
from tests.support.postgres_server import PASSWORD, PostgresServer

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TOPIC: Final = "market.equities.trades.pods"
API_KEY: Final = "0123456789abcdef"
SECRETS: Final = {
    ("k2", "kafka_password"): USERS["k2"], ("k2", "CATALOG_PASSWORD"): PASSWORD, ("k2", "S3_ID"): ACCESS_KEY,
    ("k2", "S3_SECRET"): SECRET_KEY,
    ("k2-api", "key"): API_KEY,
}  # fmt: skip
LEAVES_WITHIN_S: Final = 15.0
"""A stop takes a commit and a second; a machine that others use may hold it up."""

MakePod = Callable[[str, int], Pod]


@pytest.fixture
def profile(
    helm_program: Path,
    guarded_kafka: KafkaServer,
    postgres_server: PostgresServer,
    object_store: ObjectStore,
    tmp_path: Path,
) -> Path:
    path = tmp_path / "pods.yaml"
    path.write_text(f"""\
base: laptop
name: pods
market: {{exchange: PODS}}
external:
  kafka:
    bootstrap_servers: {guarded_kafka.address}
    properties:
      security.protocol: SASL_PLAINTEXT
      sasl.mechanism: PLAIN
      sasl.username: k2
      sasl.password: ${{file:/run/secrets/kafka_password}}
  state: memory
  catalog: {postgres_server.database().replace(f":{PASSWORD}@", ":${env:CATALOG_PASSWORD}@")}
  warehouse: {object_store.folder()}
  storage:
    s3.endpoint: {object_store.storage["s3.endpoint"]}
    s3.region: us-east-1
    s3.access-key-id: ${{env:S3_ID}}
    s3.secret-access-key: ${{env:S3_SECRET}}
    s3.force-virtual-addressing: false
""")
    return path


@pytest.fixture
def resources(profile: Path, tmp_path: Path) -> list[chart.Resource]:
    values = tmp_path / "values.yaml"
    done = run("stack", "render", "--kubernetes", "--profile", str(profile), "--output", str(values))
    assert done.returncode == 0, done.stderr
    return chart.resources_of(values)


@pytest.fixture
def make_pod(resources: list[chart.Resource], tmp_path: Path) -> Iterator[MakePod]:
    specs, made = dict(chart.pods_of(resources)), list[Pod]()
    files: Mapping[str, str] = chart.of_kind(resources, "ConfigMap", "k2-profile")["data"]

    def make(of: str, ordinal: int) -> Pod:
        folder = tmp_path / f"{of}-{ordinal}"
        folder.mkdir()
        made.append(Pod(f"{of}-{ordinal}", specs[of], folder, f"127.0.0.{20 + len(made)}", files, SECRETS))
        return made[-1]

    yield make
    for pod in made:
        pod.kill()


def summary(pod: Pod) -> dict[str, Any]:
    """What a consumer wrote when it ended."""
    documents = [json.loads(line) for line in pod.log.read_text().splitlines() if line.startswith("{")]
    return next(one for one in reversed(documents) if "left_in_kafka" in one)


def lag(pod: Pod) -> int:
    """Records of its partitions that it has not read, by its metrics."""
    with urllib.request.urlopen(f"http://{pod.address}:9464/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith("k2_consumer_lag_messages{"))


@pytest.fixture
def loader(profile: Path, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine reaches the same services, to load and to verify."""
    (tmp_path / "kafka_password").write_text(USERS["k2"])
    own = tmp_path / "own.yaml"
    own.write_text(profile.read_text().replace("/run/secrets/kafka_password", str(tmp_path / "kafka_password")))
    monkeypatch.setenv("CATALOG_PASSWORD", PASSWORD)
    monkeypatch.setenv("S3_ID", ACCESS_KEY)
    monkeypatch.setenv("S3_SECRET", SECRET_KEY)
    done = run("stack", "up", "--engine", "external", "--profile", str(own), "--no-wait")
    assert done.returncode == 0, done.stderr


@contextmanager
def loading(rate: str, seconds: int) -> Iterator[None]:
    """Trades come during the block, and have all been sent at its end."""
    command = [sys.executable, "-m", "k2ctl", "load", "--rate", rate, "--duration", str(seconds), "--json"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as load:
        try:
            yield
            assert load.wait(60) == 0
        finally:
            load.kill()


def test_consumers_of_the_chart_leave_in_time_come_back_by_name_and_store_everything(
    make_pod: MakePod, loader: None
) -> None:
    pods = [make_pod("k2-consumer", ordinal) for ordinal in range(2)]
    for pod in pods:
        pod.start()
    for pod in pods:
        pod.become_ready()
    with loading("4k", 15):
        until(lambda: lag(pods[1]) > 0, 20)
        code, took_s = pods[1].terminate()
        assert (code, took_s < LEAVES_WITHIN_S) == (0, True), took_s
        left = summary(pods[1])
        assert (left["stored"], left["left_in_kafka"]) == (left["trades"], 0), left
        pods[1].start()
        pods[1].become_ready()
        pods[0].kill()
        pods[0].start()
        pods[0].become_ready()
    until(lambda: lag(pods[0]) + lag(pods[1]) == 0, 60)
    for pod in pods:
        code, took_s = pod.terminate()
        assert (code, took_s < LEAVES_WITHIN_S) == (0, True), took_s
        assert summary(pod)["left_in_kafka"] == 0
    assert run("consume", "--until-caught-up").returncode == 0  # what came after their last look
    verified = json.loads(run("verify", "--json").stdout)
    assert verified["holds"]
    assert verified["acknowledged"] >= 59_000
    endpoints = load_endpoints(Home.of_user())
    assert endpoints is not None
    assert assert_stored_once(Sources.of(endpoints), TOPIC) == 0


def test_a_consumer_that_finds_no_kafka_is_alive_and_not_ready(make_pod: MakePod, guarded_kafka: KafkaServer) -> None:
    pod = make_pod("k2-consumer", 0)
    guarded_kafka.pause()
    try:
        pod.start()
        until(lambda: pod.probe("startup") == 200, 60, pod.log.read_text)
        until(lambda: b"waiting" in pod.log.read_bytes(), 60, pod.log.read_text)
        assert (pod.probe("liveness"), pod.probe("readiness")) == (200, 503)
    finally:
        guarded_kafka.resume()
    pod.become_ready()
    assert pod.terminate()[0] == 0


def test_the_service_and_the_jobs_of_the_chart_do_their_work(make_pod: MakePod, loader: None) -> None:
    consumer = make_pod("k2-consumer", 0)
    consumer.start()
    consumer.become_ready()
    with loading("2k", 3):
        pass
    service = make_pod("k2-api", 0)
    service.start()
    service.become_ready()
    found = httpx.get(
        f"http://{service.address}:8700/v1/trades/recent?symbol=BHP&limit=3",
        headers={"Authorization": f"Bearer {API_KEY}"},
        timeout=30,
    ).json()
    assert len(found["rows"]) == 3
    for job in ("k2-compact", "k2-expire"):
        pod = make_pod(job, 0)
        assert pod.run_to_end() == 0, pod.log.read_text()
    assert service.terminate()[0] == 0
    assert consumer.terminate()[0] == 0
