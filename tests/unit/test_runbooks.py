"""Runbooks: every alert has its section in the README, and every command in there exists as it is written."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from k2ctl.cli import COMMANDS

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
RUNBOOKS = {
    heading: text.split("\n## ")[0]
    for heading, text in re.findall(r"#### (K2\w+)\n(.*?)(?=\n#### |\n## )", README, re.S)
}
COMMAND_LINES = sorted({line for text in RUNBOOKS.values() for line in re.findall(r"`(k2ctl [^`]+)`", text)})


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((ROOT / "stack" / "prometheus" / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_every_alert_leads_to_a_runbook_and_every_runbook_belongs_to_an_alert() -> None:
    assert list(RUNBOOKS) == [rule["alert"] for rule in alerts()]
    for rule in alerts():
        assert rule["annotations"]["runbook_url"] == f"README.md#{rule['alert'].lower()}"


def test_every_runbook_says_what_to_type_in_a_few_lines() -> None:
    for name, text in RUNBOOKS.items():
        assert "`k2ctl " in text, name
        assert 2 <= len(text.strip().splitlines()) <= 4, name


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_a_command_in_a_runbook_exists_with_its_options(line: str) -> None:
    _, name, *words = line.split()
    command: Any = typer.main.get_command(import_module(f"k2ctl.commands.{COMMANDS[name].module}").app)
    if words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert getattr(command, "invoke_without_command", True), "it wants a subcommand"
    known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= known
