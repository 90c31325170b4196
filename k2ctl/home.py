"""The state directory: where it is, and that it was not moved; and the files that are shipped with the package."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import platformdirs

from k2ctl.errors import StackError
from k2ctl.files import write_atomically
from k2ctl.private import make_private, private_folder, unchanged_by_others

SOCKET_PATH_LIMIT: Final = 100
"""A Unix socket's path has some 107 bytes."""


def state_dir() -> Path:
    """`K2CTL_HOME`, else the user's state directory by the XDG rules; made with mode 0700 when missing.

    Raises:
        StackError: it cannot be made.
    """
    configured = os.environ.get("K2CTL_HOME")
    # Absolute, for it is remembered, and other commands run in other folders.
    path = (Path(configured) if configured else platformdirs.user_state_path("k2ctl")).absolute()
    try:
        make_private(path)
    except OSError as error:
        raise StackError(
            f"The state directory {path} cannot be made: {error.strerror}", "Choose another: export K2CTL_HOME=~/k2ctl"
        ) from error
    return path


@contextmanager
def private_home(prefix: str) -> Iterator[Path]:
    """A state directory inside the state directory that is gone afterwards, for this process and those it starts."""
    before = os.environ.get("K2CTL_HOME")
    with tempfile.TemporaryDirectory(prefix=prefix, dir=state_dir()) as folder:
        os.environ["K2CTL_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["K2CTL_HOME"]
            else:
                os.environ["K2CTL_HOME"] = before


def socket_path(name: str) -> Path:
    """The path of a Unix socket: in the state directory, or in a private folder where that path is too long.

    Raises:
        StackError: another user can change the folder.
    """
    path = unchanged_by_others(state_dir()).absolute() / name
    if _fits(path):
        return path
    short = f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):  # noqa: S108  checked
        folder = Path(base) / f"k2ctl-{os.geteuid()}"
        if folder.is_absolute() and folder.parent.is_dir() and _fits(folder / short):
            return private_folder(folder) / short
    raise StackError(f"{path} is too long for a socket.", "Choose a shorter one: export K2CTL_HOME=~/k2ctl")


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= SOCKET_PATH_LIMIT


def cache_dir() -> Path:
    """Downloads that can be fetched again (Kafka's jars); for all state directories of the user.

    Raises:
        StackError: others can change its contents, which would be run.
    """
    return unchanged_by_others(platformdirs.user_cache_path("k2ctl"))


def shipped(kind: str) -> Path:
    """The folder `profiles` or `stack` as shipped: inside the wheel, or beside the package in a checkout."""
    inside = Path(__file__).parent / "shipped" / kind
    return inside if inside.is_dir() else Path(__file__).parent.parent / kind


def _place_file() -> Path:
    return state_dir() / "place"


def remember_place() -> None:
    """Write down where the state directory is: a table's files and a stack's sockets are known by their whole paths."""
    write_atomically(_place_file(), str(state_dir()))


def forget_place() -> None:
    """Nothing that is known by its path is left."""
    _place_file().unlink(missing_ok=True)


def require_unmoved() -> None:
    """Raises:
    StackError: the state directory was moved, or is a copy of another; a link at its old place makes it whole.
    """
    here = state_dir()
    try:
        there = Path(_place_file().read_text())
    except OSError:
        return  # it holds nothing that is known by its path
    if not there.exists():
        raise StackError(
            f"The state directory was moved from {there} to {here}, and its table and stack are known by the old path. "
            "Nothing is lost.",
            f"Move it back, or leave a link: ln -s '{here}' '{there}'",
        )
    if not there.samefile(here):
        raise StackError(
            f"{here} is a copy of the state directory {there}: its table and stack are the other's.",
            f"Use the other: export K2CTL_HOME='{there}'; or an empty one: export K2CTL_HOME=~/another",
        )


def acknowledged_log_dir() -> Path:
    """Where loads write down what Kafka acknowledged; made when missing."""
    path = state_dir() / "acknowledged"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def forget_acknowledged_log() -> None:
    """The lake that it was written for is gone."""
    for path in acknowledged_log_dir().iterdir():
        path.unlink(missing_ok=True)
