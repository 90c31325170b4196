"""The SQL shell as a person types in it, on a terminal, and at the end of a pipe."""

import json
import subprocess
import sys
from pathlib import Path

import psutil

from k2ctl.endpoints import Endpoints, save_endpoints
from tests.support.platforms import with_lake
from tests.support.polling import until
from tests.support.terminal import Terminal

ENDLESS = "select count(*) from range(10000000) a, range(10000000) b where hash(a.range + b.range) = 1;"


def test_a_person_asks_interrupts_and_ends(embedded_stack: Endpoints, home: Path) -> None:
    save_endpoints(with_lake(embedded_stack, home))
    terminal = Terminal("query", "shell")
    terminal.shows("k2>")
    terminal.types("select 6 * 7\r")
    terminal.shows("..>")
    terminal.types("as answer;\r")
    terminal.shows("42")
    terminal.shows("complete")
    terminal.shows("k2>")
    (worker,) = [one for one in psutil.Process(terminal.process.pid).children() if "spawn_main" in str(one.cmdline())]
    before_s = worker.cpu_times().user
    terminal.types(ENDLESS + "\r")
    until(lambda: worker.cpu_times().user > before_s + 0.2, 60)
    terminal.types("\x03")
    terminal.shows("Interrupted.")
    terminal.shows("k2>")
    terminal.types("select * from tra\t\x03")  # Ctrl-C drops what was typed
    terminal.shows("trades")
    terminal.types("select 'still' || ' here' as it;\r")
    terminal.shows("still here")
    terminal.shows("k2>")
    terminal.types("\x04")
    assert terminal.ends() == 0
    assert "select 6 * 7\n+as answer;" in (home / "shell-history").read_text()


def test_a_pipe_is_run_up_to_its_first_error(embedded_stack: Endpoints, home: Path) -> None:
    save_endpoints(with_lake(embedded_stack, home))
    typed = ".mode csv\nselect $a as a;\n\\timing on\nselect symbol from nowhere;\nselect 'never' as b"
    command = [sys.executable, "-m", "k2ctl", "query", "shell", "--param", "a=x;y"]
    done = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stdout.split() == ["a", "x;y"]
    assert "complete" in done.stderr
    assert "nowhere" in done.stderr
    assert "k2>" not in done.stderr
    command = [sys.executable, "-m", "k2ctl", "query", "shell", "--mode", "json"]
    done = subprocess.run(command, input="select 1 as one", capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, json.loads(done.stdout)) == (0, [{"one": 1}])
