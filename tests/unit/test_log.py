"""The log: what is written, where, and as what."""

import json
import logging
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from k2ctl import log, log_file
from k2ctl.cli import main
from k2ctl.console import say
from k2ctl.errors import ExitCode
from k2ctl.home import Home
from k2ctl.log import LogFormat, LogLevel, LogSettings, configure, held_while_on_screen
from k2ctl.stack.processes import log_lines, log_path
from k2ctl.views.live import live
from tests.support.cli import run

ROOM = logging.getLogger("k2ctl.room")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    configure(LogSettings())


def test_text_has_time_level_logger_message_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(LogLevel.INFO))
    ROOM.info("committed", extra={"rows": 5, "ms": 12.5})
    time, line = capsys.readouterr().err.split(" ", 1)
    assert line == "INFO    k2ctl.room  committed rows=5 ms=12.5\n"
    assert len(time) == len("2026-11-29T12:00:00.000Z")


def test_json_is_one_object_a_line_with_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(LogLevel.INFO, LogFormat.JSON))
    try:
        raise ValueError("two\nlines")
    except ValueError:
        ROOM.warning("survived", exc_info=True, extra={"rows": 5, "path": Path("/x")})
    lines = capsys.readouterr().err.splitlines()
    found = json.loads(lines[0])
    assert len(lines) == 1
    assert {key: found[key] for key in ("level", "logger", "message", "rows", "path")} == {
        "level": "WARNING", "logger": "k2ctl.room", "message": "survived", "rows": 5, "path": "/x",
    }  # fmt: skip
    assert "ValueError: two" in found["error"]


def test_in_json_what_is_said_to_people_is_a_record_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(LogLevel.INFO, LogFormat.JSON))
    say("Another load runs.")
    with live(Console(file=sys.stderr), str, lambda state: f"NORMAL  lag {state}") as show:
        show(5)
    found = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in found] == ["Another load runs.", "NORMAL  lag 5"]


@pytest.mark.usefixtures("home")
def test_in_json_a_command_that_fails_ends_with_a_record_and_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--log-level", "info", "--log-format", "json", "stack", "status"]) == ExitCode.UNHEALTHY
    found = json.loads(capsys.readouterr().err)
    assert (found["level"], found["hint"]) == ("ERROR", "Start one with: k2ctl stack up")


def test_json_begins_with_time_level_logger_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(LogLevel.INFO, LogFormat.JSON))
    ROOM.info("committed", extra={"rows": 5, "level": "SOFT"})
    found = json.loads(capsys.readouterr().err)
    assert list(found) == ["time", "level", "logger", "message", "rows"]
    assert found["level"] == "INFO"


def test_what_a_message_quotes_begins_no_line_and_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings())
    ROOM.warning("refused: %s", "x\n2026 ERROR forged\x1b[2J")
    assert capsys.readouterr().err.endswith("refused: x\\x0a2026 ERROR forged\\x1b[2J\n")


def test_a_command_logs_from_warning_on_unless_it_is_asked_for_more(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings())
    ROOM.info("quiet")
    ROOM.warning("loud")
    assert [line.split("  ")[-1] for line in capsys.readouterr().err.splitlines()] == ["loud"]


def test_a_file_rotates_and_is_its_owners_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "FILE_BYTES", 2_000)
    path = home / "consumer-1.log"
    monkeypatch.setenv(log.FILE_VARIABLE, str(path))
    configure(LogSettings(LogLevel.INFO))
    for number in range(200):
        ROOM.info("line %d", number)
    files = sorted(home.glob("consumer-1.log*"))
    assert [file.name.removeprefix("consumer-1.log") for file in files] == ["", ".1", ".2", ".3"]
    assert all(file.stat().st_size <= 2_000 for file in files)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_traceback_and_the_output_of_c_code_follow_the_log_into_the_new_file(home: Path) -> None:
    path = home / "service.log"
    program = (
        "import os, logging\nfrom k2ctl import log, log_file\nlog_file.FILE_BYTES = 500\n"
        "log.configure_from_environment()\n"
        "for n in range(20): logging.getLogger('k2ctl').warning('line %d', n)\n"
        "os.write(1, b'from C\\n')\nraise SystemExit('the end')"
    )
    with path.open("ab") as output:
        subprocess.run(
            [sys.executable, "-c", program], stdout=output, stderr=output, check=False,
            env={**os.environ, log.FILE_VARIABLE: str(path)},
        )  # fmt: skip
    assert path.read_text().splitlines()[-2:] == ["from C", "the end"]


def test_a_log_is_followed_across_its_rotation() -> None:
    path = log_path("consumer-1", home=Home.of_user())
    path.write_text("one\n")
    lines = log_lines("consumer-1", follow=True, home=Home.of_user())
    assert next(lines) == "one"
    with path.open("a") as old:
        path.rename(path.with_name("consumer-1.log.1"))
        path.write_text("three\nfo")
        old.write("two\n")
    assert [next(lines), next(lines)] == ["two", "three"]
    with path.open("a") as new:
        new.write("ur\n")
    assert next(lines) == "four"
    path.write_text("")
    assert list(log_lines("consumer-1", follow=False, home=Home.of_user())) == ["one", "two"]


def test_lines_wait_while_a_display_has_the_whole_screen(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings())
    with held_while_on_screen():
        ROOM.warning("behind it")
        assert capsys.readouterr().err == ""
    assert "behind it" in capsys.readouterr().err


def test_a_line_is_shown_above_a_live_display(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings())
    console = Console(force_terminal=True, stderr=True, width=120, color_system=None)
    with live(console, str, str) as show:
        show("the display")
        ROOM.warning("a warning")
        show("the display")
    shown = capsys.readouterr().err
    assert "a warning\n" in shown
    assert shown.index("a warning") < shown.rindex("the display")


def test_the_level_and_the_format_are_options_and_variables() -> None:
    by_option = run("--log-level", "loud", "stack", "status")
    assert by_option.returncode == ExitCode.USAGE
    assert "'loud' is not one of" in by_option.stderr
    by_variable = run("stack", "status", K2CTL_LOG_FORMAT="xml")
    assert by_variable.returncode == ExitCode.USAGE
    assert "'xml' is not one of" in by_variable.stderr


def test_what_is_started_in_the_background_logs_at_info_or_as_it_was_asked(home: Path) -> None:
    configure(LogSettings(form=LogFormat.JSON))
    assert log.background_environment(home / "x.log") == {
        **os.environ, "K2CTL_LOG_LEVEL": "INFO", "K2CTL_LOG_FORMAT": "json", "K2CTL_LOG_FILE": str(home / "x.log"),
    }  # fmt: skip
    configure(LogSettings(LogLevel.ERROR))
    assert log.background_environment(home / "x.log")["K2CTL_LOG_LEVEL"] == "ERROR"


def test_the_embedded_kafka_logs_to_its_file() -> None:
    try:
        assert run("stack", "up", "--json").returncode == ExitCode.OK
        shown = run("stack", "logs", "kafka").stdout
    finally:
        run("stack", "down", "--volumes", "--yes")
    assert "INFO    k2ctl.kafka.embedded  serving bootstrap_servers=127.0.0.1:" in shown
