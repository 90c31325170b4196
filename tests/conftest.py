"""Real services for the tests: an embedded stack, and a local one with Apache Kafka and Redis, once per session."""

import gc
import itertools
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from hypothesis import settings

from k2ctl import console
from k2ctl.endpoints import Endpoints
from k2ctl.errors import StackError
from k2ctl.home import Home
from k2ctl.stack import lifecycle
from k2ctl.stack.engine import Wanted
from tests.support import docker_engine
from tests.support.chart import client, definitions
from tests.support.kafka_server import KafkaServer
from tests.support.object_store import ObjectStore
from tests.support.postgres_server import Missing, PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.registry_server import RegistryServer
from tests.support.rest_server import RestServer

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell starts what runs in its background: programs of ours that a test ends by Ctrl-C would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as nohup starts a program
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("k2ctl", deadline=None, max_examples=60)
settings.load_profile("k2ctl")

ASX = Path(__file__).parent.parent.parent / "shared" / "data" / "asx"
"""Real trades, beside the project; not part of it."""

_THRESHOLDS = gc.get_threshold()
DESCRIPTORS_LEFT = 250
_exchanges = itertools.count(os.getpid() % 1000 * 100)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own."""
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("K2CTL_HOME", str(path))
    monkeypatch.setenv("K2CTL_CONFIG", str(tmp_path / "config.toml"))
    return path


@pytest.fixture(autouse=True)
def _garbage_of_one_test() -> Iterator[None]:
    """Commands, consumers and services spare what is there while their process lasts, which here many tests share."""
    yield
    gc.unfreeze()
    gc.set_threshold(*_THRESHOLDS)
    # Kafka's clients have callbacks into who holds them, so that one that is left is open until it is collected.
    if psutil.Process().num_fds() > DESCRIPTORS_LEFT:
        gc.collect()


@pytest.fixture(autouse=True)
def _own_consoles() -> None:
    """A console keeps the width that `COLUMNS` had when it was made."""
    console.out.cache_clear()
    console.err.cache_clear()


def _run_stack(engine: str, folder: Path, wanted: Wanted | None = None) -> Iterator[Endpoints]:
    before = os.environ.get("K2CTL_HOME")
    os.environ["K2CTL_HOME"] = str(folder)
    try:
        endpoints = lifecycle.up(engine, "laptop", lambda _: None, wanted, home=Home.of_user()).endpoints
        yield endpoints
        os.environ["K2CTL_HOME"] = str(folder)
        lifecycle.down(volumes=True, home=Home.of_user())
    finally:
        os.environ.pop("K2CTL_HOME", None)
        if before is not None:
            os.environ["K2CTL_HOME"] = before


@pytest.fixture(scope="session")
def embedded_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """The embedded engine, running."""
    yield from _run_stack("embedded", tmp_path_factory.mktemp("embedded"))


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """Apache Kafka and Redis, running; skips with the reason, or fails where CI demands it."""
    from k2ctl.stack.kafka_jars import kafka_libraries

    try:
        kafka_libraries(lambda _: None)
    except StackError as error:
        if os.environ.get("K2CTL_REQUIRE_KAFKA"):
            raise
        pytest.skip(f"no local Kafka: {error}")
    yield from _run_stack("local", tmp_path_factory.mktemp("local"))


@pytest.fixture(scope="session")
def docker_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """The whole stack of `stack/compose.yaml` but Grafana, on free ports; skips with the reason where no Docker is."""
    docker_engine.connect()
    os.environ["K2_PROJECT"] = docker_engine.project_name()
    try:
        wanted = Wanted(without=(docker_engine.NOT_TO_BE_HAD,), ports={"auto": None})
        yield from _run_stack("docker", tmp_path_factory.mktemp("docker"), wanted)
    finally:
        del os.environ["K2_PROJECT"]


@pytest.fixture(params=["embedded", pytest.param("local", marks=pytest.mark.kafka)])
def stack(request: pytest.FixtureRequest) -> Endpoints:
    """Each engine in turn."""
    running: Endpoints = request.getfixturevalue(f"{request.param}_stack")
    return running


@pytest.fixture
def endpoints(stack: Endpoints, home: Path) -> Endpoints:
    """A running Kafka with an empty lake of the test's own."""
    lake = home / "lake"
    lake.mkdir()
    places = {"catalog_uri": f"sqlite:///{lake}/catalog.db", "warehouse": f"file://{lake}/warehouse"}
    return replace(stack, **places, home=Home(home))


@pytest.fixture(scope="session")
def guarded_kafka() -> Iterator[KafkaServer]:
    """Somebody else's Apache Kafka, which takes only users with a password."""
    server = _or_skip("K2CTL_REQUIRE_KAFKA", KafkaServer)
    yield server
    server.close()


@pytest.fixture(scope="session")
def schema_registry() -> Iterator[RegistryServer]:
    """A schema registry for tests that leave it running; each takes subjects of its own."""
    server = _or_skip("K2CTL_REQUIRE_KAFKA", RegistryServer)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for tests that leave it as it is."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def fragile_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, to be paused, killed and brought back."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    yield server
    server.kill()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL for tests that leave it running; each takes a database of its own."""
    server = _or_skip("K2CTL_REQUIRE_POSTGRES", PostgresServer)
    yield server
    server.close()


@pytest.fixture
def fragile_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to be stopped and brought back."""
    server = _or_skip("K2CTL_REQUIRE_POSTGRES", PostgresServer)
    yield server
    server.close()


@pytest.fixture(scope="session")
def rest_server() -> Iterator[RestServer]:
    """A REST catalog server for tests that leave it running; each takes a catalog of its own."""
    server = _or_skip("K2CTL_REQUIRE_REST", RestServer)
    yield server
    server.close()


@pytest.fixture
def fragile_rest() -> Iterator[RestServer]:
    """A REST catalog server of the test's own, to be stopped and brought back."""
    server = _or_skip("K2CTL_REQUIRE_REST", RestServer)
    yield server
    server.close()


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 store for tests that leave it running; each takes a prefix of its own."""
    store = _or_skip("K2CTL_REQUIRE_S3", lambda: ObjectStore(tmp_path_factory.mktemp("objects")))
    yield store
    store.stop()


@pytest.fixture
def fragile_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 store of the test's own, to be stopped and brought back."""
    store = _or_skip("K2CTL_REQUIRE_S3", lambda: ObjectStore(tmp_path_factory.mktemp("objects")))
    yield store
    store.stop()


@pytest.fixture(scope="session")
def helm_program() -> Path:
    """Helm, from the cache."""
    return _or_skip("K2CTL_REQUIRE_HELM", lambda: client("helm"))


@pytest.fixture(scope="session")
def custom_resources() -> Mapping[tuple[str, str], dict[str, Any]]:
    """(API version, kind) → the schema of each custom resource of the chart."""
    return _or_skip("K2CTL_REQUIRE_HELM", definitions)


Service = TypeVar("Service")


def _or_skip(variable: str, start: Callable[[], Service]) -> Service:
    """Start a service; skip with the reason where its programs are not there, or fail where CI demands it."""
    try:
        return start()
    except Missing as error:
        if os.environ.get(variable):
            raise
        pytest.skip(str(error))


@pytest.fixture
def exchange() -> str:
    """The name of an exchange that no other test has, so that its topics are empty."""
    return f"X{next(_exchanges)}"


@pytest.fixture
def asx() -> Path:
    """The folder with the real ASX trades."""
    if not ASX.is_dir():
        pytest.skip(f"no ASX data at {ASX.name}: it is not part of the project")
    return ASX
