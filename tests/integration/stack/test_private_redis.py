"""The Redis that a stack starts for itself: for its owner, and for nothing but state."""

import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
import redis

from k2ctl.home import Home
from k2ctl.sequence.state_store import Fence, Update
from k2ctl.sequence.store_view import open_store
from k2ctl.stack.redis_server import FORBIDDEN, private_redis
from tests.support.other_user import CONNECT, as_nobody, reachable


@pytest.fixture(autouse=True)
def short_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory that has room for a socket, wherever tests run."""
    with TemporaryDirectory(prefix="k2-") as folder:
        monkeypatch.setenv("K2CTL_HOME", folder)
        yield Path(folder)


@pytest.fixture
def socket() -> Path:
    return Home.of_user().socket("redis.sock")


@pytest.fixture
def url() -> Iterator[str]:
    with private_redis(Home.of_user()) as address:
        yield address


def test_state_is_published_and_read_through_the_socket(url: str) -> None:
    store = open_store(url, "p", "t")
    fence = Fence("e", 1, "c", 1)
    assert store.publish([Update(0, None, fence, {b"X/A": b"1"})]) == {}
    assert dict(store.load([0])[0].values) == {b"X/A": b"1"}
    assert store.load([0])[0].fence == fence
    statistics = store.statistics()
    assert statistics.symbols == 1
    assert "redis_version" in statistics.server
    store.close()


@pytest.mark.parametrize("command", FORBIDDEN)
def test_a_command_that_could_run_code_or_write_elsewhere_is_not_there(url: str, command: str) -> None:
    with redis.Redis.from_url(url) as client, pytest.raises(redis.ResponseError, match="unknown command"):
        client.execute_command(command, "HELP")


def test_it_listens_on_no_port(url: str, socket: Path) -> None:
    with redis.Redis.from_url(url) as client:
        process = psutil.Process(int(client.info()["process_id"]))  # type: ignore[index]
    assert process.net_connections("inet") == []
    assert stat.S_IMODE(socket.lstat().st_mode) == 0o600


def test_another_user_cannot_connect_even_where_the_folder_is_open(url: str, socket: Path) -> None:
    assert url
    assert as_nobody(CONNECT, reachable(socket)) == "PermissionError"


def test_it_is_gone_with_its_socket(socket: Path) -> None:
    with private_redis(Home.of_user()):
        assert socket.exists()
    assert not socket.exists()


def test_a_path_with_every_odd_character_is_found(short_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K2CTL_HOME", str(short_home / "a b%20?#@é"))
    with private_redis(Home.of_user()) as address, redis.Redis.from_url(address) as client:
        assert client.ping()
