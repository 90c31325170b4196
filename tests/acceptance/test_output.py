"""What is written: in any locale, into a pipe that somebody closes, and never half a file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
LOCALES = [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "latin-1"}]


def start(*arguments: str, environment: dict[str, str], **pipes: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "k2ctl", *arguments], env={**os.environ, **environment}, stderr=subprocess.PIPE, **pipes
    )


WRITTEN = [
    (["--help"], 0),
    (["load", "--help"], 0),
    (["cost"], 0),
    (["cost", "--json"], 0),
    (["demo", "notes"], 0),
    (["query", "recent", "BHP", "--since", "Zürich"], 2),
    (["nonsenß"], 2),
    (["stack", "up", "--profile", "nirgends…"], 2),
]


@pytest.mark.parametrize(
    ("arguments", "code", "environment"),
    [
        *((arguments, code, ASCII) for arguments, code in WRITTEN),
        *((arguments, code, locale) for arguments, code in (WRITTEN[2], WRITTEN[-1]) for locale in LOCALES),
    ],
)
def test_every_locale_can_be_written_in(
    home: Path, arguments: list[str], code: int, environment: dict[str, str]
) -> None:
    done = start(*arguments, environment=environment, stdout=subprocess.PIPE)
    out, err = done.communicate(timeout=60)
    assert done.returncode == code
    assert b"Traceback" not in err
    assert b"Unicode" not in err
    assert out if code == 0 else err


def test_json_is_utf8_in_any_locale(home: Path) -> None:
    import json

    done = start("cost", "--json", environment=ASCII, stdout=subprocess.PIPE)
    out, _ = done.communicate(timeout=60)
    assert json.loads(out.decode("utf-8"))["lines"]


def test_bytes_that_are_no_utf8_are_named_as_they_were(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, b"-m", b"k2ctl", b"query", b"recent", b"BHP", b"--since", b"\xff"], capture_output=True
    )
    assert done.returncode == 2
    assert b"'\xff' is not an ISO time" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["cost"], ["cost", "--json"], ["demo", "notes"], ["query", "--help"]]
)
def test_a_closed_pipe_ends_a_command_quietly(home: Path, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # as when `head` has seen enough
    done = start(*arguments, environment={}, stdout=writing)
    os.close(writing)
    _, err = done.communicate(timeout=60)
    assert done.returncode == 141
    assert b"Traceback" not in err
    assert b"Exception" not in err
    assert b"pipe" not in err


def test_an_error_that_nobody_reads_has_its_exit_code(home: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "k2ctl", "nonsense"], stderr=writing, stdout=writing, check=False)
    os.close(writing)
    assert done.returncode in {2, 141}


@pytest.mark.parametrize("arguments", [["cost"], ["cost", "--json"], ["cost", "--csv"], ["--help"], ["--version"]])
def test_data_for_a_closed_stdout_is_an_error(home: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", sys.executable, "-m", "k2ctl", *arguments], capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"stdout is closed" in done.stderr
    assert b"Traceback" not in done.stderr
