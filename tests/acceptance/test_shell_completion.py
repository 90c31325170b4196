"""What Tab gives, in real shells: commands, options, and the names of the stack; quickly, and never an error."""

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from k2ctl import known_names
from k2ctl.commands.completion import FILES, QUESTION, SCRIPTS, WORDS, Shell
from k2ctl.domain.topics import trades_topic
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.kafka.admin import BrokerAdmin
from tests.made_trades import make_trades, produce_trades
from tests.support.cli import called, least_cpu_s
from tests.support.platforms import with_lake
from tests.support.polling import until

PROGRAM = Path(sys.executable).parent / "k2ctl"
TOPIC = trades_topic("equities", "ASX")
TYPED_WITHIN_S = 30


def words(capsys: pytest.CaptureFixture[str], *line: str) -> list[str]:
    """What the last word of a line may become."""
    code, said, complained = called(capsys, QUESTION, *line)
    kind, *found = said.splitlines()
    assert (code, kind, complained) == (0, WORDS, "")
    return [one.partition("\t")[0] for one in found]


@pytest.fixture
def stack_with_trades(embedded_stack: Endpoints, home: Path) -> Endpoints:
    endpoints = with_lake(embedded_stack, home)
    save_endpoints(endpoints)
    trades = make_trades(2)
    trades["symbol"] = [b"A1", b"A2"]
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(TOPIC, 4)
    produce_trades(endpoints, TOPIC, trades)
    return endpoints


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (["st"], ["stack", "state"]),
        (["--log-level", "info", "sta"], ["stack", "state"]),
        (["stack", ""], ["up", "status", "logs", "render", "down"]),
        (["stack", "up", "--eng"], ["--engine"]),
        (["stack", "up", "--engine", ""], ["embedded", "local", "docker", "external"]),
        (["stack", "up", "--profile", "l"], ["laptop"]),
        (["stack", "up", "--profile=l"], ["laptop"]),
        (["stack", "up", "--profile", "=", "l"], ["laptop"]),  # as bash parts it
        (["load", "--feed", "binance-t"], ["binance-trades"]),
        (["load", "--shape", "s"], ["step", "spike", "sine"]),
        (["query", "recent", "BHP", "--format", "a"], ["arrow", "arrows"]),
        (["config", "set", "en"], ["engine"]),
        (["config", "set", "engine", "em"], ["embedded"]),
        (["query", "shell", "--mode", "c"], ["csv"]),
        (["query", "follow", "--format", "j"], ["json"]),
        (["query", "follow", "--where", "price > 5 AND si"], ["price > 5 AND side"]),
        (["query", "recent", "BHP", "--fields", "symbol,pri"], ["symbol,price"]),
        (["query", "ohlcv", "BHP", "--bar", "1m"], ["1m", "1mo"]),
        (["topic", "tail", "--raw", ""], ["text", "hex"]),
        (["help", "query", "rec"], ["recent"]),
        (["nonsense", "--x", "sta"], ["stack", "state"]),
        (["query", "recent", "BH"], []),  # there is no stack
        ([], None),
    ],
)
def test_what_a_word_may_become(capsys: pytest.CaptureFixture[str], line: list[str], found: list[str] | None) -> None:
    assert words(capsys, *line) == found or found is None


@pytest.mark.parametrize(
    "line", [["load", "--replay", ""], ["stack", "up", "--profile", "./m"], ["api", "--key-file", ""]]
)
def test_files_are_asked_for_where_a_file_is_meant(capsys: pytest.CaptureFixture[str], line: list[str]) -> None:
    assert called(capsys, QUESTION, *line)[:2] == (0, f"{FILES}\n")


def test_symbols_and_topics_are_those_of_the_stack(
    capsys: pytest.CaptureFixture[str], stack_with_trades: Endpoints
) -> None:
    known_names.look_up(stack_with_trades)
    # Others may have trades on the same stack.
    assert {"A1", "A2"} <= {*words(capsys, "query", "recent", "BHP", "")}
    assert {"a1", "a2"} <= {*words(capsys, "gaps", "--symbol", "a")}
    assert {"A1,A1", "A1,A2"} <= {*words(capsys, "load", "--replay", "x.csv", "--symbols", "A1,A")}
    assert TOPIC in words(capsys, "consume", "--topic", "market.")
    assert TOPIC in words(capsys, "topic", "tail", "market.equities.trades.a")
    assert words(capsys, "topic", "tail", TOPIC, "--from", "")[:5] == ["start", "0:0", "1:0", "2:0", "3:0"]
    assert {"a1", "a2"} <= {*words(capsys, "query", "follow", "a")}
    assert {"symbol=A1", "symbol=A2"} <= {*words(capsys, "query", "shell", "--param", "symbol=A")}
    assert f"A={TOPIC}" in words(capsys, "gaps", "--line", "A=market.")


def test_the_first_question_looks_them_up_and_later_ones_are_quick(stack_with_trades: Endpoints, home: Path) -> None:
    def asked() -> str:
        line = [PROGRAM, QUESTION, "query", "recent", "A"]
        return subprocess.run(line, capture_output=True, text=True, check=True, timeout=60).stdout

    until(lambda: {"A1", "A2"} <= {*asked().splitlines()}, 30, lambda: "no symbols")
    assert {"A1", "A2"} <= {*json.loads((home / known_names.FILE).read_text())["symbols"]}


def test_a_question_costs_little_more_than_help() -> None:
    asked_s, help_s = least_cpu_s(["-m", "k2ctl", QUESTION, "query", "recent", "--win"], ["-m", "k2ctl", "--help"])
    assert asked_s <= 3 * help_s


@pytest.mark.parametrize("broken", ["config", "home", "endpoints", "names"])
def test_nothing_that_is_broken_is_said(
    capfd: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    if broken == "config":
        Path(os.environ["K2CTL_CONFIG"]).write_text("engine = ")
    elif broken == "home":
        monkeypatch.setenv("K2CTL_HOME", "/dev/null/home")
    else:
        (home / ("endpoints.json" if broken == "endpoints" else known_names.FILE)).write_text("{")
    done = subprocess.run(
        [PROGRAM, QUESTION, "query", "recent", "B"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout in ("", f"{WORDS}\n")


def test_bash_replaces_what_was_typed(home: Path) -> None:
    script = f"""
        source <({PROGRAM} completion bash)
        for line in "k2ctl sta" "k2ctl stack up --profile lap" "k2ctl query recent --format arrow"; do
            COMP_WORDS=($line); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); _k2ctl {PROGRAM}; echo "${{COMPREPLY[*]}}"
        done"""
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout.splitlines(), done.stderr) == (["stack state", "laptop", "arrow arrows"], "")


BEGINNINGS: dict[Shell, tuple[list[str], str]] = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <({program} completion bash)"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -u -D; source <({program} completion zsh)"),
    "fish": (["fish", "--no-config", "-i"], "{program} completion fish | source"),
}


@pytest.mark.parametrize("shell", list(SCRIPTS))
def test_tab_in_a_shell_on_a_terminal_completes_a_command_and_a_profile(home: Path, shell: Shell) -> None:
    command, beginning = BEGINNINGS[shell]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{shell} is not installed")
    process, terminal = pty.fork()
    if not process:
        os.environ.update(TERM="xterm", PATH=f"{PROGRAM.parent}:{os.environ['PATH']}", HOME=str(home), PS1="> ")
        os.execvp(command[0], command)  # noqa: S606
    try:
        os.write(terminal, f"{beginning.format(program=PROGRAM)}; echo re''ady\n".encode())
        seen = read_until(terminal, "ready")
        os.write(terminal, b"k2ctl stack rend\t--prof\tlap\t")
        seen = read_until(terminal, "laptop")
        assert "render" in seen
        assert "--profile" in seen
    finally:
        os.kill(process, 9)
        os.waitpid(process, 0)
        os.close(terminal)


def read_until(terminal: int, wanted: str) -> str:
    seen, until_s = "", time.monotonic() + TYPED_WITHIN_S
    while wanted not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, until_s - time.monotonic()))
        assert ready, seen
        seen += os.read(terminal, 65_536).decode(errors="replace")
    return seen
