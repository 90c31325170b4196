"""Folders that only this user can change, recognised by owner and mode, never by name."""

import os
import stat
from pathlib import Path

from k2ctl.errors import StackError


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
