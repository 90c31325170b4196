"""Folders of this user alone, and sockets in them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from k2ctl.errors import StackError
from k2ctl.files import make_private, private_folder, unchanged_by_others, write_atomically
from k2ctl.home import Home, cache_dir
from tests.support.other_user import NOBODY


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for sockets of a state directory whose path is too long; its own path is short wherever tests run."""
    with TemporaryDirectory(prefix="k2-") as base:
        monkeypatch.setenv("XDG_RUNTIME_DIR", base)
        monkeypatch.setenv("K2CTL_HOME", str(tmp_path / ("x" * 120)))
        yield Path(base) / f"k2ctl-{os.geteuid()}"


def others(path: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip("only root can make a folder for another user")
    path.mkdir(mode=0o700)
    os.chown(path, NOBODY, NOBODY)
    return path


@pytest.mark.usefixtures("no_umask")
def test_what_is_made_is_closed_to_others_under_any_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_private(tmp_path / "a" / "b")
    monkeypatch.setenv("K2CTL_HOME", str(tmp_path / "c" / "d"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "e"))
    Home.of_user()
    cache_dir()
    assert [mode(tmp_path / name) for name in ("a", "a/b", "c", "c/d", "e", "e/k2ctl")] == [0o700] * 6
    write_atomically(tmp_path / "secret", "x")
    assert mode(tmp_path / "secret") == 0o600


def test_a_socket_is_in_the_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    with TemporaryDirectory(prefix="k2-") as home:
        monkeypatch.setenv("K2CTL_HOME", home)
        assert Home.of_user().socket("k.sock") == Path(home) / "k.sock"


def test_a_long_path_moves_the_socket_to_a_folder_of_this_user(runtime: Path) -> None:
    assert Home.of_user().socket("k.sock").parent == runtime
    assert mode(runtime) == 0o700
    assert Home.of_user().socket("other.sock") != Home.of_user().socket("k.sock")


def test_a_folder_that_another_user_made_first_is_refused(runtime: Path) -> None:
    others(runtime)
    with pytest.raises(StackError, match=f"belongs to the user with the number {NOBODY}") as refused:
        Home.of_user().socket("k.sock")
    assert "K2CTL_HOME" in refused.value.hint
    assert list(runtime.iterdir()) == []


@pytest.mark.parametrize("open_to", [0o710, 0o707, 0o777, 0o1777])
def test_a_folder_that_is_open_to_others_is_refused(runtime: Path, open_to: int) -> None:
    runtime.mkdir()
    runtime.chmod(open_to)
    with pytest.raises(StackError, match="open to others"):
        Home.of_user().socket("k.sock")


@pytest.mark.parametrize("target", ["a folder", "nothing"])
def test_a_link_is_not_followed(runtime: Path, tmp_path: Path, target: str) -> None:
    if target == "a folder":
        (tmp_path / target).mkdir(mode=0o700)
    runtime.symlink_to(tmp_path / target)
    with pytest.raises(StackError):
        Home.of_user().socket("k.sock")
    assert not (tmp_path / "nothing").exists()


def test_a_folder_that_anybody_can_replace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(StackError, match="replace"):
        private_folder(tmp_path / "shared" / "own")
    (tmp_path / "shared").chmod(0o1777)
    private_folder(tmp_path / "shared" / "own")


def test_a_state_directory_of_another_user_or_of_all_gets_no_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    monkeypatch.setenv("K2CTL_HOME", str(shared))
    with pytest.raises(StackError, match="written to by anybody"):
        Home.of_user().socket("k.sock")
    shared.chmod(0o700)
    assert unchanged_by_others(shared) == shared
    with pytest.raises(StackError, match="belongs to"):
        unchanged_by_others(others(tmp_path / "theirs"))


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / f".state.json.{os.getpid()}").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        write_atomically(tmp_path / "state.json", "{}")
    assert not (tmp_path / "victim").exists()
