"""What a person finds without a document: the help of each command, its defaults, and the manual page."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from k2ctl.cli import COMMANDS, app
from k2ctl.console import out
from k2ctl.views.manual import manual
from tests.support.cli import called


def contexts(command: Any, name: str, parent: Any = None) -> Iterator[Any]:
    """A command and all below it."""
    context = typer.Context(command, info_name=name, parent=parent)
    yield context
    for below, child in getattr(command, "commands", {}).items():
        yield from contexts(COMMANDS[below].load() if parent is None else child, below, context)


EVERY = list(contexts(typer.main.get_command(app), "k2ctl"))


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.parametrize("context", EVERY, ids=lambda context: context.command_path)
def test_every_option_that_takes_a_value_says_what_holds_without_it(context: Any) -> None:
    records = [
        one.get_help_record(context)
        for one in context.command.params
        if one.param_type_name == "option" and not one.is_flag
    ]
    assert [record for record in records if not re.search(r"default: |required\]", record[1])] == []


@pytest.mark.parametrize("context", EVERY, ids=lambda context: context.command_path)
def test_every_command_has_an_example(context: Any) -> None:
    assert re.search(r"Examples?:|First steps:", context.get_help())


@pytest.mark.parametrize("names", [[], ["load"], ["query", "recent"]])
def test_help_of_a_command_is_what_it_says_by_itself(capsys: pytest.CaptureFixture[str], names: list[str]) -> None:
    out.cache_clear()
    assert called(capsys, "help", *names) == called(capsys, *names, "--help")


def test_the_manual_page_has_every_command_and_option_and_only_plain_signs() -> None:
    page = manual(EVERY[0])
    shown = page.replace("\\-", "-")
    assert page.isascii()
    for context in EVERY:
        assert f'.SS "{context.command_path}"' in shown or context.parent is None
        assert all(name in shown for one in context.command.params for name in one.opts if one.name != "help")


def test_a_version_names_the_libraries_too(capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = called(capsys, "version")
    assert code == 0
    assert re.match(r"k2ctl [0-9.]+\nPython 3.*pyiceberg [0-9.]+", said)
