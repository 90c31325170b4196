"""What a person finds without a document: the help of each command, its defaults, and the manual page."""

import re
from typing import Any

import pytest

from k2ctl.views.manual import manual
from tests.support.cli import called
from tests.support.examples import contexts, examples_of

EVERY = list(contexts())


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


def test_every_command_has_an_example() -> None:
    assert [context.command_path for context in EVERY if not examples_of(context)] == []


@pytest.mark.parametrize("names", [[], ["load"], ["query", "recent"]])
def test_help_of_a_command_is_what_it_says_by_itself(capsys: pytest.CaptureFixture[str], names: list[str]) -> None:
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
