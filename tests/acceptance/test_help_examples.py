"""Every example in the help: its options and values are understood, and it runs on a stack with trades."""

import shlex
import zipfile
from pathlib import Path
from typing import Any

import pytest
import typer

from k2ctl.cli import app, main
from k2ctl.endpoints import Endpoints, save_endpoints
from tests.made_trades import quick_profile
from tests.support.cli import called
from tests.support.examples import all_examples
from tests.support.platforms import catch_up, with_lake

EXAMPLES = all_examples()
ELSEWHERE = (
    *("demo --quick", "stack up", "stack logs", "stack down", "validate", "bench", "lake maintain", "doctor", "api"),
    *("load --rate", "load --from-lake", "consume", "--log-level INFO --log-format json consume"),
    *("query follow", "query shell", "topic tail market.equities.trades.asx -f"),
    "dead-letters show",
)
"""They start a stack, take long, do not end by themselves, or find what others left: each has tests of its own."""
REFUSED = {
    "stack render --kubernetes": 2,  # there is no ./prod.yaml
    "query recent BHP --window all --as-of": 1,  # the table is younger
    "feed check trades.raw": 2,  # there is no my.yaml
    "topic tail market.equities.trades.asx --from": 2,  # so many records are not there
    "lake accept-rollback": 1,  # nobody has rolled the table back
    "lake undo-rollback": 1,
    "lake restore-offsets": 1,  # nobody has changed them
    "gaps --line": 1,  # there is one line
}
"""Beginning → exit code of what the stack of this test has no reason for."""


@pytest.fixture
def stack_with_trades(embedded_stack: Endpoints, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoints = with_lake(embedded_stack, home)
    save_endpoints(endpoints)
    monkeypatch.chdir(tmp_path)
    row = "4359917573,93576.00000000,0.00043000,40.23768000,1735689600034511,True,True\n"
    Path("BTCUSDT-trades-2025-01-01.csv").write_text(row)
    with zipfile.ZipFile("BTCUSDT-trades-2025-01-01.zip", "w") as file:
        file.writestr("BTCUSDT-trades-2025-01-01.csv", row)
    assert main(["load", "--rate", "2k", "--duration", "1"]) == 0
    catch_up(endpoints, quick_profile())


@pytest.mark.parametrize("words", EXAMPLES, ids=shlex.join)
def test_an_example_is_understood(words: list[str]) -> None:
    context: Any = typer.main.get_command(app).make_context("k2ctl", list(words))
    while hasattr(context.command, "resolve_command") and (rest := [*context._protected_args, *context.args]):
        name, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


def test_every_example_runs(capsys: pytest.CaptureFixture[str], stack_with_trades: None) -> None:
    wrong = []
    for words in EXAMPLES:
        line = shlex.join(words)
        if line.startswith(ELSEWHERE):
            continue
        wanted = next((code for begin, code in REFUSED.items() if line.startswith(begin)), 0)
        code, _, complained = called(capsys, *words)
        if code != wanted or "Traceback" in complained:
            wrong.append(f"{line} ends with {code}: {complained[-300:]}")
    assert not wrong, "\n".join(wrong)
