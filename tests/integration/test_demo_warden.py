"""Whatever becomes of a demo, its folder and its processes go with it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from k2ctl.demo import cleanup as cleanup
from k2ctl.demo import current_act as current_act
from k2ctl.home import private_home


def sleeper(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env={**os.environ, "K2CTL_HOME": str(folder)}
    )


def test_what_runs_in_a_folder_ends_with_it_and_nothing_else_does(home: Path) -> None:
    folder = home / "demo-left"
    folder.mkdir()
    inside, outside = sleeper(folder), sleeper(home)
    try:
        time.sleep(0.3)
        cleanup.clear(folder)
        inside.wait(5)
        assert outside.poll() is None
        assert not folder.exists()
    finally:
        for process in (inside, outside):
            process.kill()
            process.wait()


TRACKED = """
from multiprocessing.resource_tracker import ensure_running
from k2ctl.demo import cleanup as cleanup
from k2ctl.home import private_home
with private_home(cleanup.PREFIX) as folder, cleanup.watched(folder):
    ensure_running()
ensure_running()
"""


def test_whoever_played_can_start_workers_again(home: Path) -> None:
    """Python warns of a tracker that was killed."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", TRACKED], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_leftovers_are_cleared_and_a_demo_that_runs_is_not(home: Path) -> None:
    (home / "demo-dead").mkdir()
    (home / "demo-dead" / cleanup.LOCK).touch()
    (home / "demo-beginning").mkdir()
    with private_home(cleanup.PREFIX) as folder, cleanup.watched(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("K2CTL_HOME", str(home))
        assert cleanup.clear_leftovers() == 1
        assert not (home / "demo-dead").exists()
        assert (home / "demo-beginning").is_dir()
        assert folder.is_dir()
    assert not cleanup._is_held(home / "demo-gone-meanwhile")


def test_the_notes_follow_a_demo_while_it_lives(home: Path) -> None:
    assert current_act.take() is None
    with private_home(cleanup.PREFIX) as folder, cleanup.watched(folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("K2CTL_HOME", str(home))
            assert current_act.take() == current_act.STARTING
        current_act.give(3)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("K2CTL_HOME", str(home))
            assert current_act.take() == 3
    assert current_act.take() is None
