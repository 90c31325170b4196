"""The command line as people and scripts meet it: help, errors, exit codes."""

import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from k2ctl.cli import COMMANDS, main
from k2ctl.profiles.loader import profile_names
from tests.support.cli import least_cpu_s, run

ROOT = Path(__file__).parent.parent.parent


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"k2ctl {name}" not in text] == []


def test_the_readme_names_no_command_that_is_not_there() -> None:
    named = set(re.findall(r"k2ctl ([a-z]+(?:-[a-z]+)*)", (ROOT / "README.md").read_text()))
    assert named - set(COMMANDS) <= {"demo"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nonsense"], 2, ["No such command", "k2ctl --help"]),
        (["staks"], 2, ["No such command 'staks'. Did you mean 'stack', 'state'?", "k2ctl --help"]),
        (["ohlcv", "BHP"], 2, ["Did you mean 'query ohlcv'?", "k2ctl --help"]),
        (["help", "query", "recnt"], 2, ["Did you mean 'recent'?", "k2ctl query --help"]),
        (["help", "load", "now"], 2, ["'k2ctl load' has no commands below it", "k2ctl load --help"]),
        (["query", "recent", "BHP", "--window", "15"], 2, ["'15' has no unit; write 15m, 15s or 15h"]),
        (["gaps", "--since", "15"], 2, ["'15' has no unit"]),
        (["consume"], 3, ["No K2 stack is running", "k2ctl stack up"]),
        (["watch", "--once"], 3, ["No K2 stack is running"]),
        (["stack", "status"], 3, ["No K2 stack is running"]),
        (["stack", "up", "--engine", "toaster"], 2, ["no engine 'toaster'", "embedded"]),
        (["stack", "up", "--engine", "external"], 2, ["no section `external`", "bootstrap_servers: kafka-1"]),
        (["stack", "up", "--engine", "external", "--build"], 2, ["mean nothing to the external engine"]),
        (["bench", "load", "--engine", "external"], 2, ["a stack of their own", "embedded, local, docker"]),
        (["demo", "--engine", "external"], 2, ["a stack of its own", "embedded, local, docker"]),
        (["validate", "--engine", "external"], 2, ["stacks of its own", "embedded, local, docker"]),
        (["stack", "up", "--profile", "nowhere"], 2, ["no profile 'nowhere'", "laptop"]),
        (["stack", "down", "--volumes"], 2, ["deletes the lake", "--yes"]),
        (["load", "--rate", "many"], 2, ["'many' is not a count", "k2ctl load --help"]),
        (["load", "--duration", "soon"], 2, ["'soon' is not a duration"]),
        (["load", "--frame", "x"], 2, ["Invalid value for '--frame': a whole number is needed (got x)"]),
        (["load", "--frame", "0"], 2, ["Invalid value for '--frame': must be at least 1 (got 0)"]),
        (["load", "--gaps", "0.9"], 2, ["must be at most 0.5"]),
        (["demo", "--act", "x"], 2, ["'--act': a whole number is needed (got x)"]),
        (["verify", "--engine", "x"], 2, ["'--engine': 'x' is not one of 'duckdb', 'spark'"]),
        (["load", "--wokers", "3"], 2, ["No such option: --wokers. Did you mean --workers?", "k2ctl load --help"]),
        (["query", "recnt"], 2, ["Did you mean 'recent'", "k2ctl query --help"]),
        (["query", "recent", "BHP", "--window", "15x"], 2, ["'15x' is not a duration", "k2ctl query recent --help"]),
        (["query", "recent", "BHP", "--json", "--format", "csv"], 2, ["--json and --format csv exclude each other"]),
        (["query", "recent", "BHP", "--json"], 3, ["No K2 stack is running"]),
        (["query", "recent", "BHP"], 3, ["No K2 stack is running"]),
    ],
)
def test_a_mistake_is_a_line_and_a_next_step(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: list[str]
) -> None:
    assert main(arguments) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    for word in words:
        assert word in " ".join(shown.err.split())


def test_a_mistake_in_a_profile_names_file_line_and_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((ROOT / "profiles" / "laptop.yaml").read_text().replace("partitions: 12", "partitions: twelve"))
    done = run("stack", "up", "--profile", str(path))
    assert done.returncode == 2
    assert re.search(r"mine\.yaml:\d+: topic\.partitions: .*twelve", " ".join(done.stderr.split()))
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_profile_is_read(name: str) -> None:
    from k2ctl.profiles import load_profile

    assert load_profile(name).name == name


def test_output_in_a_pipe_has_no_colour(tmp_path: Path) -> None:
    done = run("stack", "up", FORCE_COLOR="", NO_COLOR="1")
    try:
        assert done.returncode == 0
        assert "\x1b[" not in done.stdout + done.stderr
    finally:
        assert run("stack", "down").returncode == 0


BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["cost", "--csv"], ["cost", "--json"], ["cost"]])
def test_a_reader_that_goes_away_is_no_trouble(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "k2ctl", *arguments], stdout=writer, stderr=subprocess.PIPE, env=BUFFERED, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("arguments", [["--version"], ["cost", "--csv"], ["cost", "--json"], ["cost"]])
def test_a_full_disk_is_said_in_a_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "k2ctl", *arguments],
            stdout=full, stderr=subprocess.PIPE, env=BUFFERED, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("k2ctl: No space left on device.")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize(("typed", "code"), [(b"n\n", 1), (b"\x04", 130), (b"\x03", 130)])
def test_a_question_that_is_not_answered_with_yes_deletes_nothing(home: Path, typed: bytes, code: int) -> None:
    (home / "lake").mkdir()
    process, terminal = pty.fork()
    if not process:
        os.execv(sys.executable, [sys.executable, "-m", "k2ctl", "stack", "down", "--volumes"])  # noqa: S606
    said = b""
    while not said.endswith(b"[y/N]: "):
        said += os.read(terminal, 1024)
    time.sleep(0.3)  # Python misses a Ctrl-C of the moment before it begins to read
    os.write(terminal, typed)
    _, status = os.waitpid(process, 0)
    said += os.read(terminal, 4096)
    assert os.waitstatus_to_exitcode(status) == code
    assert b"Traceback" not in said
    assert (home / "lake").is_dir()


def test_help_costs_little_more_than_its_two_libraries() -> None:
    bare_s, help_s = least_cpu_s(["-c", "import typer, rich"], ["-m", "k2ctl", "--help"])
    assert help_s <= 1.3 * bare_s
