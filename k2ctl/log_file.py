"""The log of a program in the background: a file that rotates."""

import os
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

FILE_BYTES: Final = 10_000_000
"""A log file rotates at this size."""
FILES_KEPT: Final = 3
"""Rotated files beside the current one."""


class FileHandler(RotatingFileHandler):
    """A rotating file with mode 0600.

    stdout and stderr that write to the same file follow it when it rotates: a traceback, and what C code prints, stand
    in the current file too.
    """

    def __init__(self, path: Path) -> None:
        self._following = [number for number in (1, 2) if _writes_to(number, path)]
        super().__init__(path, maxBytes=FILE_BYTES, backupCount=FILES_KEPT)

    def _open(self) -> TextIOWrapper:
        stream = open(self.baseFilename, "a", encoding="utf-8", errors="backslashreplace", opener=_private)  # noqa: SIM115
        for number in self._following:
            os.dup2(stream.fileno(), number)
        return stream


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _writes_to(number: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except OSError:
        return False  # the file, or the descriptor, does not exist
