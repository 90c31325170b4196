"""`k2ctl watch` on a terminal of its own: its keys, its end, and what becomes of the terminal."""

import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import psutil
import pytest

from tests.support.cli import run
from tests.support.overviews import AT_US, three_consumers
from tests.support.polling import until
from tests.support.terminal import Terminal

LEFT = "\x1b[?25h\x1b[?1049l"
"""The cursor is shown, and what was on the screen before is there again."""


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A run of which the second tick comes after a minute."""
    file = tmp_path / "run.jsonl"
    first = three_consumers()
    file.write_bytes(b"\n".join(orjson.dumps(replace(first, at_us=AT_US + at * 10**6)) for at in (0, 60)))
    return file


@pytest.fixture
def terminal(recorded: Path) -> Iterator[Terminal]:
    found = Terminal("watch", "--replay", str(recorded), size=(80, 24))
    found.shows("5M backfilled")
    yield found
    if found.process.poll() is None:
        found.process.kill()
        found.ends()


def test_each_key_shows_its_page_at_any_size_and_q_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    for key, wanted in [
        ("p", "stored to"),
        ("s", "63  consumer-1"),
        ("\x1b[6~", "20–38 of 64"),
        ("c", "waiting: Kafka does not answer"),
        ("t", "The newest 20 of each consumer"),
        ("d", "A recording holds only figures."),
        ("l", "A recording holds only figures."),
        ("?", "a line up or down"),
        ("o", "5M backfilled"),
        ("\t", "degradation of consumer-1"),
        ("+", "2 min 16 s to now"),
        (" ", "paused at 22:13:20 UTC; the space bar goes on"),
        (" ", "? help"),
    ]:
        terminal.types(key)
        terminal.shows(wanted)
    for columns, lines, wanted in [(160, 50, "on disk: 9,000,000 NORMAL"), (220, 60, "4 min 36 s to now")]:
        terminal.has_size(columns, lines)
        terminal.shows(wanted)
    assert not terminal.echoes
    terminal.types("q")
    assert_left(terminal)


def test_the_end_of_a_recording_is_said_and_the_screen_stays_until_ctrl_c(tmp_path: Path) -> None:
    file = tmp_path / "short.jsonl"
    file.write_bytes(orjson.dumps(three_consumers()))
    terminal = Terminal("watch", "--replay", str(file), size=(80, 24))
    terminal.shows("the recording has ended")
    terminal.types("\x03")
    assert_left(terminal)


def test_a_terminal_that_goes_away_ends_it_in_silence(terminal: Terminal) -> None:
    terminal.hangs_up()
    assert terminal.process.wait(10) in (0, 141)


def test_after_ctrl_z_the_shell_has_its_terminal_and_fg_shows_the_screen_until_a_signal(terminal: Terminal) -> None:
    process = psutil.Process(terminal.process.pid)
    terminal.types("\x1a")
    until(lambda: process.status() == psutil.STATUS_STOPPED, 10)
    assert terminal.echoes
    process.send_signal(signal.SIGCONT)
    terminal.shows("degradation")
    terminal.shows("? help")
    process.send_signal(signal.SIGTERM)
    assert_left(terminal)


def assert_left(terminal: Terminal) -> None:
    """It has ended well, and the terminal is as it was."""
    said = terminal.rest()
    assert said.endswith(LEFT)
    assert "Traceback" not in said
    assert terminal.echoes
    assert terminal.ends() == 0


@pytest.mark.slow
def test_keys_work_beside_load_and_a_stack_that_ends_and_comes_again_is_a_sentence() -> None:
    assert run("stack", "up").returncode == 0
    assert run("consume", "--detach").returncode == 0
    terminal = Terminal("watch", size=(80, 24))
    load = Terminal("load", "--rate", "200k", "--duration", "60")
    try:
        terminal.shows("loaded")
        for key, wanted in [("p", "stored to"), ("d", "There is no dead letter"), ("l", "k2ctl.lake  committed")]:
            begun_s = time.monotonic()
            terminal.types(key)
            terminal.shows(wanted)
            assert time.monotonic() - begun_s < 10
        terminal.types("o")
        terminal.shows("in Kafka")
        load.types("\x03")
        load.rest()
        assert run("stack", "down").returncode == 0
        terminal.shows("The stack is down since")
        assert run("stack", "up").returncode == 0
        assert run("consume", "--detach").returncode == 0
        terminal.shows("NORMAL")
        terminal.types("q")
        said = terminal.rest()
        assert LEFT in said
        assert "Traceback" not in said
        assert terminal.ends() == 0
    finally:
        run("stack", "down")
