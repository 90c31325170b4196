"""Log files of what runs in the background of this machine: where they are, and their lines as they come."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from k2ctl.errors import UsageError
from k2ctl.home import Home
from k2ctl.log import FILES_KEPT

FOLLOWED_EVERY_S: Final = 0.2


def log_path(service: str, home: Home | None = None) -> Path:
    """Where a service writes its log."""
    return (home or Home.of_user()).folder("logs") / f"{service}.log"


def log_lines(service: str, *, follow: bool, home: Home | None = None) -> Iterator[str]:
    """The log of a service of this machine, oldest line first; with `follow`, for ever.

    Raises:
        UsageError: there is none.
    """
    path = log_path(service, home)
    if not path.exists():
        known = sorted(log.stem for log in path.parent.glob("*.log"))
        raise UsageError(f"There is no log of '{service}'.", f"There are: {', '.join(known) or 'none yet'}")
    for number in range(FILES_KEPT, 0, -1):
        rotated = path.with_name(f"{path.name}.{number}")
        if rotated.exists():
            yield from rotated.read_text(errors="replace").splitlines()
    if follow:
        yield from _followed(path)
    else:
        yield from path.read_text(errors="replace").splitlines()


def last_lines(service: str, count: int = 3, home: Home | None = None) -> str:
    """The end of a service's log, on one line."""
    try:
        return " / ".join(log_path(service, home).read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return "it wrote no log"


def _followed(path: Path) -> Iterator[str]:
    """Whole lines of a file as they are written, for ever, also across its rotation."""
    while True:
        with path.open(errors="replace") as file:
            begun, rotated = "", False
            while not rotated:
                rotated = _is_rotated(file, path)  # before the read: nothing is written to it afterwards
                for part in file:
                    begun += part
                    if begun.endswith("\n"):
                        yield begun[:-1]
                        begun = ""
                if not rotated:
                    time.sleep(FOLLOWED_EVERY_S)


def _is_rotated(file: IO[str], path: Path) -> bool:
    try:
        return not os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False  # it is being rotated just now
