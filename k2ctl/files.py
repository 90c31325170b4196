"""Small files, written in one step and read with checks; folders that only this user can change."""

import json
import os
import stat
from pathlib import Path
from typing import Any, Final

from k2ctl.errors import StackError

_MOST_DIGITS: Final = 20


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a small file.

    Raises:
        OSError: it cannot be read. ValueError: it is not one JSON object, or not a sane one.
    """
    try:
        found = json.loads(path.read_bytes(), object_pairs_hook=_each_once, parse_int=_small_int)
    except RecursionError as error:
        raise ValueError("it is nested without end") from error
    if not isinstance(found, dict):
        raise ValueError("it holds no object")
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:40]!r} stands there twice")
        found[key] = value
    return found


def _small_int(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that readers see the old text or the new, also across a crash; mode 0600."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def private_folder(path: Path) -> Path:
    """A folder of this user that nobody else can enter; made with mode 0700 when missing.

    For places where another user may have made it first, such as among the temporary files.

    Raises:
        StackError: it cannot be made, or it is not such a folder. Nothing in it was touched.
    """
    _make(path)
    found = path.lstat()
    _require(path, stat.S_ISDIR(found.st_mode), "is not a folder but a link, or a file")
    _require(path, found.st_uid == os.geteuid(), f"belongs to the user with the number {found.st_uid}")
    _require(path, not found.st_mode & 0o077, f"is open to others (mode {found.st_mode & 0o7777:04o})")
    above = path.absolute().parent.stat().st_mode
    _require(path, not above & stat.S_IWOTH or bool(above & stat.S_ISVTX), "is where anybody can replace it")
    return path


def unchanged_by_others(path: Path) -> Path:
    """A folder that only this user, or root, can write to; made with mode 0700 when missing.

    Raises:
        StackError: it cannot be made, or others can change its contents.
    """
    _make(path)
    found = path.stat()
    _require(path, found.st_uid in (os.geteuid(), 0), f"belongs to the user with the number {found.st_uid}")
    _require(
        path, not found.st_mode & stat.S_IWOTH, f"can be written to by anybody (mode {found.st_mode & 0o7777:04o})"
    )
    return path


def make_private(path: Path) -> None:
    """Make a folder, and those above it that are missing, with mode 0700 under any umask; one that is there stays.

    Raises:
        OSError: it cannot be made, or it is a file.
    """
    for folder in reversed([path, *path.absolute().parents]):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)


def _make(path: Path) -> None:
    try:
        make_private(path)
    except OSError as error:
        raise StackError(
            f"The folder {path} cannot be made: {error.strerror}", "Choose another place: export K2CTL_HOME=~/k2ctl"
        ) from error


def _require(path: Path, holds: bool, otherwise: str) -> None:
    if not holds:
        raise StackError(
            f"{path} {otherwise}; nothing is put there.",
            f"If it is yours: chmod 700 {path}; else choose another place: export K2CTL_HOME=~/k2ctl",
        )
