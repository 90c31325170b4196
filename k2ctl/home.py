"""The state directory as a value that is passed like a clock; the cache, and the files shipped with the package."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs

from k2ctl.errors import StackError
from k2ctl.files import make_private, private_folder, unchanged_by_others, write_atomically

ACKNOWLEDGED: Final = "acknowledged"
"""The folder of a state directory where loads write down what Kafka acknowledged."""

SOCKET_PATH_LIMIT: Final = 100
"""A Unix socket's path has some 107 bytes."""


@dataclass(frozen=True)
class Home:
    """A state directory. Whoever is given none works in the user's."""

    path: Path

    @classmethod
    def of_user(cls) -> "Home":
        """`K2CTL_HOME`, else the user's state directory by the XDG rules; made with mode 0700 when missing.

        Raises:
            StackError: it cannot be made.
        """
        configured = os.environ.get("K2CTL_HOME")
        # Absolute: the path is written down, and other commands run in other folders.
        path = (Path(configured) if configured else platformdirs.user_state_path("k2ctl")).absolute()
        try:
            make_private(path)
        except OSError as error:
            raise StackError(
                f"The state directory {path} cannot be made: {error.strerror}",
                "Choose another: export K2CTL_HOME=~/k2ctl",
            ) from error
        return cls(path)

    @contextmanager
    def temporary(self, prefix: str) -> Iterator["Home"]:
        """A state directory inside this one, deleted at the end of the block."""
        with tempfile.TemporaryDirectory(prefix=prefix, dir=self.path) as folder:
            yield Home(Path(folder))

    def environment(self) -> dict[str, str]:
        """The environment of a process that works in this state directory."""
        return {**os.environ, "K2CTL_HOME": str(self.path)}

    def folder(self, name: str) -> Path:
        """A folder in it, made with mode 0700 when missing."""
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def socket(self, name: str) -> Path:
        """The path of a Unix socket: in this directory, or in a private folder where that path is too long.

        Raises:
            StackError: another user can change the folder.
        """
        path = unchanged_by_others(self.path) / name
        if _fits(path):
            return path
        short = f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"
        for base in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):  # noqa: S108  checked
            folder = Path(base) / f"k2ctl-{os.geteuid()}"
            if folder.is_absolute() and folder.parent.is_dir() and _fits(folder / short):
                return private_folder(folder) / short
        raise StackError(f"{path} is too long for a socket.", "Choose a shorter one: export K2CTL_HOME=~/k2ctl")

    @property
    def _place(self) -> Path:
        return self.path / "place"

    def remember_place(self) -> None:
        """Write down where this directory is: a table's files and a stack's sockets are known by their whole paths."""
        write_atomically(self._place, str(self.path))

    def forget_place(self) -> None:
        """Nothing that is known by its path is left."""
        self._place.unlink(missing_ok=True)

    def require_unmoved(self) -> None:
        """Check that this directory is where it was.

        Raises:
            StackError: it was moved, or is a copy of another; a link at its old place makes it whole.
        """
        try:
            there = Path(self._place.read_text())
        except OSError:
            return  # it holds nothing that is known by its path
        if not there.exists():
            raise StackError(
                f"The state directory was moved from {there} to {self.path}, and its table and stack are known by the "
                "old path. Nothing is lost.",
                f"Move it back, or leave a link: ln -s '{self.path}' '{there}'",
            )
        if not there.samefile(self.path):
            raise StackError(
                f"{self.path} is a copy of the state directory {there}: its table and stack are the other's.",
                f"Use the other: export K2CTL_HOME='{there}'; or an empty one: export K2CTL_HOME=~/another",
            )


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
