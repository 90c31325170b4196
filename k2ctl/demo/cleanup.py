"""Leaves nothing behind: ends what a demo started and deletes its folder, also when the demo was killed.

    python -m k2ctl.demo.cleanup FOLDER

watches its standard input. When that closes, whoever held the other end is gone, however it went: then everything
that runs in FOLDER is ended. A demo that ended well has cleared up already, and there is nothing left to do.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from k2ctl.errors import K2Error
from k2ctl.home import state_dir
from k2ctl.stack import lifecycle

PREFIX: Final = "demo-"
LOCK: Final = "demo.lock"
LOCKED_WITHIN_S: Final = 30.0
"""A folder without a lock that is younger may belong to a demo that is just beginning."""


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """For as long as the block lasts, and when this process dies in it, `folder` is looked after."""
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cleanup = subprocess.Popen(
            [sys.executable, "-m", "k2ctl.demo.cleanup", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "K2CTL_HOME": str(folder.parent)},
        )
        try:
            yield
        finally:
            end_all(folder)
            if cleanup.stdin is not None:
                cleanup.stdin.close()
            cleanup.wait()


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
    end_all(folder)
    shutil.rmtree(folder, ignore_errors=True)


def end_all(folder: Path) -> None:
    """Take the folder's stack down, then end every process that was started with it as its state directory."""
    if not folder.is_dir():
        return
    before = os.environ.get("K2CTL_HOME")
    os.environ["K2CTL_HOME"] = str(folder)
    try:
        for process in _processes_in(folder):
            with suppress(psutil.Error):
                if "k2ctl" in process.cmdline():
                    process.kill()  # consumers first, so that none complains of a Kafka that goes
        with suppress(K2Error):
            lifecycle.down(volumes=True)
        for process in _processes_in(folder):
            with suppress(psutil.Error):
                process.kill()
                process.wait(5)
    finally:
        os.environ.pop("K2CTL_HOME", None)
        if before is not None:
            os.environ["K2CTL_HOME"] = before


def _processes_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            ours = process.pid != os.getpid() and process.environ().get("K2CTL_HOME") == str(folder)
            # The tracker of whoever started load's workers outlives them: it ends with that process, by itself.
            if ours and "multiprocessing.resource_tracker" not in " ".join(process.cmdline()):
                found.append(process)
    return found


def _folders() -> list[Path]:
    return [folder for folder in state_dir().glob(f"{PREFIX}*") if folder.is_dir()]


def _is_held(folder: Path) -> bool:
    """Whether a demo that lives holds the folder's lock."""
    try:
        with (folder / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return time.time() - _changed_s(folder) < LOCKED_WITHIN_S
    return False


def _changed_s(folder: Path) -> float:
    """When something was last put into the folder; 0 for one that is gone by now."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def main(folder: Path) -> None:
    """Wait until the demo is gone, then see that nothing is left of it."""
    sys.stdin.buffer.read()
    if folder.is_dir():
        clear(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
