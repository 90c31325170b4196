"""Leaves nothing behind: ends what a demo started and deletes its folder, also when the demo was killed.

    python -m k2ctl.demo.cleanup FOLDER

watches its standard input. When that closes, the process at the other end has ended, however it did: then everything
that runs in FOLDER is ended. A demo that ended well has cleared up already, and there is nothing left to do.
"""

import fcntl
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from k2ctl.endpoints import ProcessId
from k2ctl.errors import K2Error
from k2ctl.home import Home
from k2ctl.log import configure_from_environment
from k2ctl.stack import lifecycle
from k2ctl.stack.processes import end, ended_within, log_path, start_detached

PREFIX: Final = "demo-"
LOCK: Final = "demo.lock"
LOGGER: Final = logging.getLogger("k2ctl.demo")
CLEANED_WITHIN_S: Final = 30.0
LOCKED_WITHIN_S: Final = 30.0
"""A folder without a lock that is younger may belong to a demo that is just beginning."""


@contextmanager
def watched(home: Home) -> Iterator[None]:
    """For as long as the block lasts, and when this process dies in it, everything in `home` is ended at the end."""
    with (home.path / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting, held = os.pipe()  # the kernel closes `held` when this process dies
        arguments = [sys.executable, "-m", "k2ctl.demo.cleanup", str(home.path)]
        # It works outside of `home`, where it would end itself, and leaves no log there.
        outside, log_file = Home(home.path.parent), log_path("demo-cleanup", home)
        cleanup, _ = start_detached("demo-cleanup", arguments, stdin=waiting, home=outside, log_file=log_file)
        os.close(waiting)
        try:
            yield
        finally:
            end_all(home)
            os.close(held)
            ended_within([cleanup], CLEANED_WITHIN_S)
            end([cleanup])


def clear_leftovers() -> int:
    """End what demos left that were killed together with their cleanup; returns how many there were."""
    left = [folder for folder in _folders() if not _is_held(folder)]
    for folder in left:
        clear(folder)
    return len(left)


def running() -> Path | None:
    """The folder of the demo that runs in this state directory, the newest of several."""
    held = [folder for folder in _folders() if _is_held(folder)]
    return max(held, key=_changed_s, default=None)


def clear(folder: Path) -> None:
    """End everything that runs in `folder`, and delete it."""
    end_all(Home(folder))
    shutil.rmtree(folder, ignore_errors=True)


def end_all(home: Home) -> None:
    """Take the stack of `home` down, then end every process that was started with it as its state directory."""
    if not home.path.is_dir():
        return
    # Consumers first, so that none reports a Kafka that stops.
    end([process for process, words in _processes_in(home) if "k2ctl" in words], signal.SIGKILL)
    try:
        lifecycle.down(volumes=True, home=home)
    except K2Error as error:
        LOGGER.warning("the stack of %s was not taken down: %s", home.path, error)
    end([process for process, _ in _processes_in(home)], signal.SIGKILL)


def _processes_in(home: Home) -> list[tuple[ProcessId, list[str]]]:
    """Processes with this state directory in their environment, with their arguments."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it ended just now, or is another user's
            ours = process.pid != os.getpid() and process.environ().get("K2CTL_HOME") == str(home.path)
            words = process.cmdline()
            # The resource tracker outlives load's workers, and ends by itself with the process that started them.
            if ours and "multiprocessing.resource_tracker" not in " ".join(words):
                found.append((ProcessId(process.pid, process.create_time()), words))
    return found


def _folders() -> list[Path]:
    return [folder for folder in Home.of_user().path.glob(f"{PREFIX}*") if folder.is_dir()]


def _is_held(folder: Path) -> bool:
    """Whether a demo that lives holds the folder's lock."""
    try:
        with (folder / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True  # its demo holds the lock, and so lives
    except FileNotFoundError:
        return time.time() - _changed_s(folder) < LOCKED_WITHIN_S
    return False


def _changed_s(folder: Path) -> float:
    """When something was last put into the folder; 0 for one that is gone by now."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0  # it was deleted just now


def main(folder: Path) -> None:
    """Wait until the demo is gone, then see that nothing is left of it."""
    sys.stdin.buffer.read()
    if folder.is_dir():
        clear(folder)


if __name__ == "__main__":
    configure_from_environment()
    main(Path(sys.argv[1]))


FILE: Final = "act"
STARTING: Final = -1
"""The demo runs, and no act has begun."""


def save_act(home: Home, number: int) -> None:
    """Write down that an act begins, in the demo's own state directory."""
    path = home.path / FILE
    beside = path.with_suffix(".new")
    beside.write_text(str(number))
    beside.replace(path)  # so that no reader sees half a file


def current_act() -> int | None:
    """The number of the act that is being played, STARTING before the first; None when no demo runs."""
    folder = running()
    return None if folder is None else _number_in(folder)


def _number_in(folder: Path) -> int:
    try:
        return int((folder / FILE).read_text())
    except FileNotFoundError:
        return STARTING  # the first act has not begun
