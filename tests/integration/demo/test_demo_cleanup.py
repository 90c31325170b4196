"""Whatever becomes of a demo, its folder and its processes go with it."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from k2ctl.checks.bench.suite import bench_stack
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.demo import cleanup
from k2ctl.home import Home
from k2ctl.load.acknowledged_log import recorded
from k2ctl.load.generator import run_load
from k2ctl.load.plan import plan_load
from tests.made_trades import quick_profile


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
from k2ctl.home import Home
with Home.of_user().temporary(cleanup.PREFIX) as demo, cleanup.watched(demo):
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
    with Home(home).temporary(cleanup.PREFIX) as demo, cleanup.watched(demo):
        assert cleanup.clear_leftovers() == 1
        assert not (home / "demo-dead").exists()
        assert (home / "demo-beginning").is_dir()
        assert demo.path.is_dir()
    assert not cleanup._is_held(home / "demo-gone-meanwhile")


def test_the_notes_follow_a_demo_while_it_lives(home: Path) -> None:
    assert cleanup.current_act() is None
    with Home(home).temporary(cleanup.PREFIX) as demo, cleanup.watched(demo):
        assert cleanup.current_act() == cleanup.STARTING
        cleanup.save_act(demo, 3)
        assert cleanup.current_act() == 3
    assert cleanup.current_act() is None


def test_a_stack_of_its_own_leaves_the_users_state_directory_and_environment_alone(home: Path) -> None:
    before = dict(os.environ)
    with bench_stack("embedded", quick_profile()) as endpoints:
        run_load(plan_load(quick_profile(), rate=1000, duration_s=1.0, workers=1), endpoints, threading.Event())
        consumer = Consumer(endpoints, ConsumerPlan(quick_profile(), until_caught_up=True))
        assert consumer.run(threading.Event()).stored > 0
        assert len(list(recorded(endpoints.home))) == 1
        assert dict(os.environ) == before
        assert [path.name for path in home.iterdir()] == [endpoints.home.path.name]
    assert list(home.iterdir()) == []
