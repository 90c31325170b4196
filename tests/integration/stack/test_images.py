"""The shipped Compose file under Docker Compose itself, over the local images: each starts its real program."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import redis
from confluent_kafka.admin import AdminClient
from docker.models.containers import Container
from pyarrow.fs import FileSelector, S3FileSystem

from k2ctl.home import shipped
from k2ctl.stack.compose.reading import read_project
from k2ctl.stack.local import free_port
from tests.images.programs import CannotBuild, compose
from tests.support import docker_engine

COMPOSE_FILE = shipped("stack") / "compose.yaml"
STARTED = ("kafka", "redis", "postgres", "object-store", "prometheus")
PORTS = {"kafka": "K2_KAFKA_PORT", "redis": "K2_REDIS_PORT", "object-store": "K2_S3_PORT"}
USER = 10001


class ComposeStack:
    """The five servers of the file, started by Docker Compose with secrets and ports of their own."""

    def __init__(self, words: list[str], folder: Path, client: docker.DockerClient) -> None:
        self.project = docker_engine.project_name()
        self.secrets = {path.name: _secret(path) for path in _secret_files(folder)}
        self.ports = {variable: free_port() for variable in _port_variables()}
        self._words, self._client = words, client
        self._environment = {
            **os.environ,
            **{variable: str(port) for variable, port in self.ports.items()},
            "K2_PROJECT": self.project,
            "K2_SECRETS_DIR": str(folder),
            "K2_UID": str(USER),
            "K2_GID": str(USER),
        }

    def compose(self, *arguments: str) -> str:
        """Run Docker Compose on the shipped file."""
        command = [*self._words, "-f", str(COMPOSE_FILE), *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def container(self, service: str) -> Container:
        """The container of a service."""
        return self._client.containers.get(f"{self.project}-{service}-1")

    def says(self, service: str, *command: str) -> str:
        """What a program in the container answers."""
        code, output = self.container(service).exec_run(list(command))
        assert code == 0, output
        return str(output.decode())


def _secret_files(folder: Path) -> list[Path]:
    return [folder / Path(one.file).name for one in read_project(COMPOSE_FILE, {}).secrets.values()]


def _secret(path: Path) -> str:
    """A secret as k2ctl leaves it: for one user alone."""
    word = secrets.token_hex(16)
    path.touch(mode=0o600)
    path.write_text(word)
    os.chown(path, USER, USER)
    return word


def _port_variables() -> set[str]:
    return {"K2_POSTGRES_PORT", "K2_PROMETHEUS_PORT", *PORTS.values()}


@pytest.fixture(scope="module")
def compose_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    """Up once for this module; gone afterwards, with its volumes."""
    client = docker_engine.connect()
    if os.geteuid() != 0:
        pytest.skip("only root can give the secrets to the containers' user")
    try:
        words = compose(lambda _: None)
    except CannotBuild as error:
        pytest.skip(f"no Docker Compose: {error}")
    running = ComposeStack(words, tmp_path_factory.mktemp("secrets"), client)
    try:
        running.compose("up", "-d", "--no-build", "--pull", "never", "--wait", *STARTED)
        yield running
    finally:
        running.compose("down", "--volumes", "--timeout", "5")
        client.close()


def test_docker_compose_accepts_the_file_with_every_profile(compose_stack: ComposeStack) -> None:
    shown = compose_stack.compose("--profile", "consumers", "--profile", "api", "config", "--services").split()
    assert set(shown) == set(read_project(COMPOSE_FILE, {}).services)


@pytest.mark.parametrize("service", STARTED)
def test_a_server_is_healthy_as_a_user_who_is_not_root(compose_stack: ComposeStack, service: str) -> None:
    container = compose_stack.container(service)
    assert container.attrs["State"]["Health"]["Status"] == "healthy"
    users = {row[1] for row in container.top(ps_args="-eo pid,uid,args")["Processes"]}
    assert users == {str(USER)}


@pytest.mark.parametrize("service", STARTED)
def test_no_secret_is_in_what_docker_shows(compose_stack: ComposeStack, service: str) -> None:
    container = compose_stack.container(service)
    shown = f"{container.attrs} {container.top(ps_args='-eo pid,args')} {container.logs().decode()}"
    assert not [name for name, word in compose_stack.secrets.items() if word in shown]


def test_the_programs_are_the_real_ones(compose_stack: ComposeStack) -> None:
    assert "Redis server v=7." in compose_stack.says("redis", "redis-server", "--version")
    assert "(PostgreSQL) 15." in compose_stack.says("postgres", "postgres", "--version")
    assert "prometheus, version 2." in compose_stack.says("prometheus", "prometheus", "--version")
    assert "Version" in compose_stack.says("object-store", "versitygw", "--version")
    assert "kafka-clients-4.3.1.jar" in compose_stack.says("kafka", "ls", "/opt/kafka/libs")


def test_kafka_is_reached_from_this_machine_at_the_published_port(compose_stack: ComposeStack) -> None:
    address = f"127.0.0.1:{compose_stack.ports['K2_KAFKA_PORT']}"
    brokers = AdminClient({"bootstrap.servers": address}).list_topics(timeout=10).brokers
    assert [f"{one.host}:{one.port}" for one in brokers.values()] == [address]


def test_redis_answers_nobody_without_the_password(compose_stack: ComposeStack) -> None:
    port = compose_stack.ports["K2_REDIS_PORT"]
    with redis.Redis(port=port, password=compose_stack.secrets["redis_password"]) as client:
        assert client.ping()
        assert client.config_get("appendonly") == {"appendonly": "yes"}
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_postgres_has_the_database_and_lets_nobody_in_without_the_password(compose_stack: ComposeStack) -> None:
    import psycopg

    address = f"host=127.0.0.1 port={compose_stack.ports['K2_POSTGRES_PORT']} user=k2 dbname=k2"
    with psycopg.connect(f"{address} password={compose_stack.secrets['postgres_password']}") as connection:
        assert connection.execute("SHOW data_checksums").fetchone() == ("on",)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"{address} password=guessed")


def test_the_object_store_has_the_bucket_and_takes_an_object(compose_stack: ComposeStack) -> None:
    store = S3FileSystem(
        access_key=compose_stack.secrets["s3_access_key"],
        secret_key=compose_stack.secrets["s3_secret_key"],
        endpoint_override=f"http://127.0.0.1:{compose_stack.ports['K2_S3_PORT']}",
        region="us-east-1",
    )
    assert [found.path for found in store.get_file_info(FileSelector(""))] == ["k2-lake"]
    with store.open_output_stream("k2-lake/one") as file:
        file.write(b"word")
    with store.open_input_stream("k2-lake/one") as file:
        assert file.read() == b"word"
